"""ResNet-18 with pre-activation for small images (He et al. 2016b; reading M25)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.base import Network
from lifelong.networks.initialisation import torch_default
from lifelong.networks.layers import PointwiseConvolution
from lifelong.params.networks import PreActResNetNetwork


class Block(nn.Module):
    """Twice batch normalisation, ReLU, 3x3 convolution, added to the input; a 1x1 convolution where the shape changes.

    That one takes what the first normalisation and ReLU leave.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = PointwiseConvolution(inputs, outputs, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        around = x if self.shortcut is None else self.shortcut(y)
        return around + self.conv2(F.relu(self.norm2(self.conv1(y))))


class PreActResNet(Network):
    """3x3 stem without pooling, four stages of two blocks, normalisation, ReLU, mean over the map, linear heads.

    `width` is that of the first stage, the others double it: 64 gives 11,172,170 parameters with one head of ten.

    Attributes:
        followed: normalisation -> the convolution whose outputs alone it takes; the others take sums.
    """

    def __init__(self, channels: int, head_sizes: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        blocks, inputs = [], width
        for stage, outputs in enumerate(widths):
            for number in range(2):
                blocks.append(Block(inputs, outputs, 2 if stage and not number else 1))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.heads = nn.ModuleList(nn.Linear(inputs, size) for size in head_sizes)
        self.followed = {f"blocks.{i}.norm2": f"blocks.{i}.conv1" for i in range(len(blocks))} | {"blocks.0.norm1": "stem"}

    def features(self, images: Tensor) -> Tensor:
        """[n, C, H, W] -> [n, 8 * width]."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        return F.relu(self.norm(x)).mean((2, 3))


def build(
    settings: PreActResNetNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> PreActResNet:
    """An initialised network."""
    network = PreActResNet(image_shape[0], head_sizes, settings.width)
    torch_default(network, generator)
    return network.to(memory_format=torch.channels_last)
