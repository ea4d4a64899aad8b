"""LeNet as ANPyC prunes it: two convolutions, two hidden layers, linear heads (reading N23)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.base import Network, initialise
from lifelong.networks.layers import Linear, dropout
from lifelong.params.networks import LeNetNetwork


class LeNet(Network):
    """5x5x32 and 5x5x64 convolutions that keep the size, each with ReLU and 2x2 max pooling; 512 and 256 units; heads.

    Images of 28x28 give the 3136 inputs of the first hidden layer.
    """

    def __init__(self, image_shape: Sequence[int], head_sizes: Sequence[int], dropout: float) -> None:
        super().__init__()
        channels, height, width = image_shape
        flat = 64 * (height // 4) * (width // 4)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5, padding=2) for a, b in ((channels, 32), (32, 64)))
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in ((flat, 512), (512, 256)))
        self.heads = nn.ModuleList(Linear(256, size) for size in head_sizes)
        self.dropout = dropout

    def features(self, images: Tensor) -> Tensor:
        """[n, C, H, W] -> [n, 256]."""
        x = images
        for layer in self.convolutions:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        x = x.flatten(1)
        for layer in self.hidden:
            x = dropout(F.relu(layer(x)), self.dropout, self.drops)
        return x


def build(
    settings: LeNetNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> LeNet:
    """An initialised network."""
    network = LeNet(image_shape, head_sizes, settings.dropout)
    initialise(network, settings.initialisation, generator)
    return network
