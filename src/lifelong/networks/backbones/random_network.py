"""A small random convolutional network: every part of a separable backbone at a thousandth of its cost."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from lifelong.runtime.randomness import generator


class RandomNetwork(nn.Module):
    """3x3 convolution of stride 2, then blocks of a depthwise 3x3 of stride 2 and a pointwise convolution, pooled.

    The depthwise convolutions have no normalisation of their own, as in Xception's separable ones. Features are
    [n, widths[-1]].
    """

    def __init__(self, widths: list[int], seed: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, before, 3, 2, 1, groups=before, bias=False),
                nn.Conv2d(before, after, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        source = generator(seed, "random backbone")
        for module in self.layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=source)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean((2, 3))
