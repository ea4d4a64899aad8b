"""A convolutional network that a processor trains in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.base import Network
from lifelong.networks.initialisation import torch_default
from lifelong.params.networks import SmallConvNetwork


class SmallConv(Network):
    """3x3 convolutions, each with batch normalisation and ReLU, 2x2 max pooling between, mean over the map, linear heads.

    Attributes:
        followed: normalisation -> the convolution it follows.
    """

    def __init__(self, channels: int, widths: Sequence[int], head_sizes: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise([channels, *widths]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.heads = nn.ModuleList(nn.Linear(widths[-1], size) for size in head_sizes)
        self.followed = {f"norms.{i}": f"convs.{i}" for i in range(len(widths))}

    def features(self, images: Tensor) -> Tensor:
        """[n, C, H, W] -> [n, last width]."""
        x = images.contiguous(memory_format=torch.channels_last)
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(F.max_pool2d(x, 2) if number else x)))
        return x.mean((2, 3))


def build(
    settings: SmallConvNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> SmallConv:
    """An initialised network."""
    network = SmallConv(image_shape[0], settings.widths, head_sizes)
    torch_default(network, generator)
    return network.to(memory_format=torch.channels_last)
