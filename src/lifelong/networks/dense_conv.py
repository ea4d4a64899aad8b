"""A small fully convolutional network for labels of every pixel, whose classes come task by task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.base import Network
from lifelong.networks.initialisation import torch_default
from lifelong.params.networks import DenseConvNetwork


class DenseConv(Network):
    """3x3 convolutions with batch normalisation and ReLU, the first two halving the size, later ones dilated by 2.

    A head a task, 1x1 convolutions on the last map; the first head has the background too.
    """

    def __init__(self, widths: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        reach = [1, 1, *[2] * (len(widths) - 2)]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=3 - wide, padding=wide, dilation=wide, bias=False)
            for (a, b), wide in zip(pairwise([3, *widths]), reach, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.heads = nn.ModuleList(nn.Conv2d(widths[-1], size, 1) for size in head_sizes)
        torch_default(self, generator)

    def levels(self, images: Tensor) -> list[Tensor]:
        """The map behind each convolution, [n, width, h, w]."""
        result, x = [], images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
            result.append(x)
        return result

    def features(self, images: Tensor) -> Tensor:
        """The last map."""
        return self.levels(images)[-1]

    def answers(self, features: Tensor, head: int) -> Tensor:
        """Logits of the background and of all classes up to those of head `head`, [n, classes, h, w]."""
        return torch.cat([one(features) for one in list(self.heads)[: head + 1]], dim=1)

    def forward(self, images: Tensor, head: int) -> Tensor:
        """`answers` at the size of the images, [n, classes, H, W]."""
        return enlarge(self.answers(self.features(images), head), images)

    def answered(self, head: int) -> int:
        """How many classes there are up to those of head `head`, the background among them."""
        return sum(len(one.get_parameter("bias")) for one in list(self.heads)[: head + 1])

    @torch.no_grad()
    def share_background(self, task: int) -> None:
        """New classes start as equal parts of the background (Cermelli et al. 2020); no other probability changes."""
        first, new = self.heads[0], self.heads[task]
        assert isinstance(first, nn.Conv2d) and isinstance(new, nn.Conv2d)
        assert first.bias is not None and new.bias is not None
        first.bias[0] -= math.log(new.out_channels + 1)
        new.weight.copy_(first.weight[:1].expand_as(new.weight))
        new.bias.fill_(float(first.bias[0]))


def build(
    settings: DenseConvNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> DenseConv:
    """An initialised network for images of three channels; the first of the head sizes counts the background."""
    return DenseConv(settings.widths, head_sizes, generator)


def enlarge(logits: Tensor, images: Tensor) -> Tensor:
    """[n, classes, h, w] at the size of images [n, 3, H, W], bilinear."""
    return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
