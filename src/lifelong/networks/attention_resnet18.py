"""ResNet-18 with spatial attention behind its first convolution, narrow for small images and as usual for 224 px.

The narrow one is ARI's "ResNet-18(1/3)": widths 21-42-85-170, convolutions with bias and stride 1, 2x2 maximum pooling
behind the second and third stage alone, 3x3 shortcuts, GeM pooling, a double sigmoid in its attention: 1,401,553 parameters
with 100 classes (reading A19). The usual one has He et al.'s 7x7 stem, strides and heads with bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.attention import AttentiveNetwork, SpatialAttention, normalisation
from lifelong.networks.layers import Linear, PointwiseConvolution
from lifelong.params.networks import AttentionResNet18Network


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, bias: bool, pointwise: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = (
                PointwiseConvolution(inputs, outputs, stride, bias)
                if pointwise
                else nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)
            )
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class GeneralisedMean(nn.Module):
    """GeM pooling: (mean of max(x, 1e-6)^p)^(1/p) over pixels, p learnt from 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)


class AttentionResNet18(AttentiveNetwork):
    """Four stages of two basic blocks; `narrow` chooses between the two shapes of the module's text."""

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        head_sizes: Sequence[int],
        narrow: bool,
        shrink: int = 1,
        normalise: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.narrow = narrow
        self.shrink = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        self.normalise = normalise or nn.Identity()
        kernel, stride = (3, 1) if narrow else (7, 2)
        self.conv0 = nn.Conv2d(channels, widths[0], kernel, stride, padding=kernel // 2, bias=narrow)
        self.attend = SpatialAttention(double=narrow)
        self.bn0 = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        before = widths[0]
        for number, width in enumerate(widths):
            first_stride = 1 if narrow or number == 0 else 2
            self.stages.append(
                nn.Sequential(
                    BasicBlock(before, width, first_stride, narrow, pointwise=not narrow),
                    BasicBlock(width, width, 1, narrow, pointwise=not narrow),
                )
            )
            before = width
        self.pool: nn.Module = GeneralisedMean() if narrow else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleList(Linear(before, size, bias=not narrow) for size in head_sizes)

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv0(self.normalise(self.shrink(images)).contiguous(memory_format=torch.channels_last))
        attention = self.attend(x)
        x = F.relu(self.bn0(attention * x))
        if not self.narrow:
            x = F.max_pool2d(x, 3, 2, padding=1)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if self.narrow and number in (1, 2):
                x = F.max_pool2d(x, 2)
        return self.pool(x), attention


def build(
    settings: AttentionResNet18Network, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> AttentionResNet18:
    """An initialised network: convolutions normal with deviation sqrt(2 / fan-out), all else uniform in +-1/sqrt(fan-in)."""
    narrow = settings.shape == "narrow"
    normalise = normalisation(settings.normalise)
    network = AttentionResNet18(image_shape[0], settings.widths, head_sizes, narrow, settings.shrink, normalise)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                if isinstance(layer, nn.Conv2d):
                    fan_out = layer.weight.shape[0] * layer.weight[0, 0].numel()
                    layer.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
                else:
                    layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
    return network
