"""Multi-layer perceptron with one or several linear heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.networks.base import Network, initialise
from lifelong.networks.layers import Linear, dropout
from lifelong.params.networks import MlpNetwork


class Mlp(Network):
    """ReLU layers with dropout behind each while training, and linear heads without activation.

    Where a task has gates, `gate` gives them, and the outputs of each hidden layer are multiplied by its own.

    ANPyC's 784-512-256 has `hidden=[512, 256]`, `dropout=.5` (reading N26).
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], head_sizes: Sequence[int], dropout: float | Sequence[float]
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(Linear(widths[-1], size) for size in head_sizes)
        self.widths = list(hidden)
        self.dropout = list(dropout) if isinstance(dropout, Sequence) else [dropout] * len(hidden)

    def hidden_widths(self) -> list[int]:
        return self.widths

    def features(self, images: Tensor) -> Tensor:
        """[n, ...] -> [n, last hidden width]; of s networks side by side, [s, n, ...] -> [s, n, last hidden width]."""
        x = images.flatten(1 + self.stacked)
        for number, (layer, share) in enumerate(zip(self.hidden, self.dropout, strict=True)):
            x = dropout(F.relu(layer(x)), share, self.drops, self.noise)
            if self.gate is not None:
                x = x * self.gate(number)
        return x


def build(settings: MlpNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator) -> Mlp:
    """An initialised network."""
    network = Mlp(math.prod(image_shape), settings.hidden, head_sizes, settings.dropout)
    initialise(network, settings.initialisation, generator)
    return network
