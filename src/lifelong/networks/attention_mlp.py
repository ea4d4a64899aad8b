"""ARI's network for MNIST: attention on the image, then a perceptron without bias in its last layer (reading A19)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.attention import AttentiveNetwork, SpatialAttention, normalisation
from lifelong.networks.layers import FewChannelConvolution, Linear
from lifelong.params.networks import AttentionMlpNetwork


class AttentionMlp(AttentiveNetwork):
    """x := A(conv3x3(x)) * x with the convolution 1 -> 3 channels used for A alone, ReLU layers, heads without bias."""

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int], head_sizes: Sequence[int], normalise: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.normalise = normalise or nn.Identity()
        self.stem = FewChannelConvolution(shape[0], 3, 3)
        self.attend = SpatialAttention()
        widths = [math.prod(shape), *hidden]
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(Linear(widths[-1], size, bias=False) for size in head_sizes)

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.normalise(images)
        attention = self.attend(self.stem(x))
        x = (attention * x).flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return x, attention


def build(
    settings: AttentionMlpNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> AttentionMlp:
    """An initialised network: weights and biases uniform in +-1/sqrt(fan-in), torch's default."""
    network = AttentionMlp(image_shape, settings.hidden, head_sizes, normalisation(settings.normalise))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
    return network
