"""A pre-trained backbone: frozen, with a perceptron on its features; or learning as a whole (reading S22).

Batch normalisation keeps the published statistics: it is folded into the convolutions, whose weights and biases learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lifelong.networks.backbones.fuse import fuse
from lifelong.networks.backbones.images import normalise
from lifelong.networks.backbones.load import load_backbone
from lifelong.networks.backbones.padding import with_explicit_padding
from lifelong.networks.base import Network, initialise
from lifelong.networks.layers import Linear
from lifelong.networks.mlp import Mlp
from lifelong.params.backbones import Backbone
from lifelong.params.networks import PretrainedNetwork
from lifelong.runtime.places import RAW, search_directories

CHUNK = 32
"""Images that pass together where no gradient is asked for."""


class LearningBackbone(Network):
    """Features [n, d] of images [n, 3, size, size] in 0..1, which it normalises itself."""

    def __init__(self, body: nn.Module, width: int, head_sizes: Sequence[int], settings: Backbone) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(Linear(width, size) for size in head_sizes)
        self._settings = settings

    def features(self, images: Tensor) -> Tensor:
        prepared = normalise(images * 255, self._settings)
        if torch.is_grad_enabled():
            result: Tensor = self.body(prepared)
            return result
        return torch.cat([self.body(part) for part in prepared.split(CHUNK)])


@torch.no_grad()
def build(
    settings: PretrainedNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> Network:
    """Frozen: a perceptron on features of shape `image_shape`. Else the published weights with new heads.

    Heads are uniform in +-1/sqrt(fan-in), their biases 0, as are the perceptron's layers.

    Raises:
        UserError: the backbone's weights are absent or are not those of the checksum.
    """
    if settings.frozen:
        perceptron = Mlp(math.prod(image_shape), settings.hidden, head_sizes, 0.0)
        initialise(perceptron, "uniform-fan-in", generator)
        return perceptron
    published = load_backbone(settings.name, settings.backbone, RAW, search_directories())
    fused, _ = fuse(published, settings.backbone.image_size)
    body = with_explicit_padding(fused, settings.backbone.image_size)
    width = body(torch.zeros(1, *image_shape)).shape[1]
    network = LearningBackbone(body, width, head_sizes, settings.backbone)
    for head in network.heads:
        bound = 1 / math.sqrt(width)
        head.get_parameter("weight").uniform_(-bound, bound, generator=generator)
        head.get_parameter("bias").zero_()
    return network.requires_grad_()
