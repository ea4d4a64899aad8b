"""Spatial attention: one weight in (0, 1) a pixel, from the mean and the maximum over channels (CBAM; reading A19)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifelong.networks.base import Network
from lifelong.networks.layers import FewChannelConvolution
from lifelong.params.networks import Normalisation


class SpatialAttention(nn.Module):
    """A = sigmoid(conv7x7([mean; max])), or sigmoid(BN(sigmoid(conv7x7(...)))) where `double` (ARI's ResNet as released).

    The convolution has no bias. [n, C, H, W] -> [n, 1, H, W].
    """

    def __init__(self, double: bool = False) -> None:
        super().__init__()
        self.convolution = FewChannelConvolution(2, 1, 7)
        self.norm = nn.BatchNorm2d(1) if double else None

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        attention = torch.sigmoid(self.convolution(pooled))
        return attention if self.norm is None else torch.sigmoid(self.norm(attention))


class AttentiveNetwork(Network):
    """A network that weighs its first layer by spatial attention."""

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, d] of images [n, C, H, W] in [0, 1], and the attention A [n, 1, h, w] in (0, 1) behind them."""
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        return self.attended(images)[0]


class Normalise(nn.Module):
    """(x - mean) / deviation by channel, inside the network: so an attack and its bounds are in units of the image."""

    def __init__(self, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.get_buffer("mean")) / self.get_buffer("deviation")


def normalisation(settings: Normalisation | None) -> nn.Module | None:
    return Normalise(settings.mean, settings.deviation) if settings else None
