"""Multi-layer perceptron with one or several linear heads, and its named initialisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.config.schema import Heads, Network
from lifelong.networks.gates import Gate
from lifelong.networks.layers import Linear, dropout


class Mlp(nn.Module):
    """ReLU layers with dropout behind each while training, and linear heads without activation.

    Where a task has gates, `gate` gives them, and the outputs of each hidden layer are multiplied by its own.

    ANPyC's 784-512-256 has `hidden=[512, 256]`, `dropout=.5` (dossier 3.1).
    """

    def __init__(self, inputs: int, hidden: Sequence[int], head_sizes: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(Linear(widths[-1], size) for size in head_sizes)
        self.dropout = dropout
        self.gate: Gate | None = None

    def features(self, images: Tensor) -> Tensor:
        """[n, ...] -> [n, last hidden width]."""
        x = images.flatten(1)
        for number, layer in enumerate(self.hidden):
            x = dropout(F.relu(layer(x)), self.dropout, self.training)
            if self.gate is not None:
                x = x * self.gate(number)
        return x

    def forward(self, images: Tensor, head: int) -> Tensor:
        """Logits [n, size of the head]."""
        return self.heads[head](self.features(images))

    def all_logits(self, images: Tensor) -> Tensor:
        """Logits of all heads side by side [n, sum of sizes]; the features are computed once."""
        features = self.features(images)
        return torch.cat([head(features) for head in self.heads], dim=1)


def shared_names(network: nn.Module) -> list[str]:
    """Names of the parameters that all tasks share: everything but the heads."""
    return [name for name, _ in network.named_parameters() if not name.startswith("heads.")]


def head_sizes(heads: Heads, tasks: int, classes_per_task: int) -> list[int]:
    """Outputs of each head: one head a task, one head that all tasks share, or one head over all classes."""
    return {
        "per-task": [classes_per_task] * tasks,
        "shared": [classes_per_task],
        "all-classes": [classes_per_task * tasks],
    }[heads]


def build(settings: Network, inputs: int, sizes: Sequence[int], generator: torch.Generator) -> Mlp:
    """An initialised network."""
    network = Mlp(inputs, settings.hidden, sizes, settings.dropout)
    initialise(network, settings.initialisation, generator)
    return network


@torch.no_grad()
def initialise(network: nn.Module, rule: str, generator: torch.Generator) -> None:
    """Draw every parameter (dossier 3.1).

    `truncated-normal`: weights normal with deviation 0.1, redrawn beyond two deviations; biases 0.1.
    `uniform-fan-in`: weights uniform in +-1/sqrt(fan-in); biases 0 (the released SI).
    """
    for name, parameter in network.named_parameters():
        is_bias = name.endswith("bias")
        if rule == "truncated-normal":
            if is_bias:
                parameter.fill_(0.1)
            else:
                nn.init.trunc_normal_(parameter, std=0.1, a=-0.2, b=0.2, generator=generator)
        elif rule == "uniform-fan-in":
            if is_bias:
                parameter.zero_()
            else:
                bound = 1 / math.sqrt(parameter[0].numel())
                parameter.uniform_(-bound, bound, generator=generator)
        else:
            raise ValueError(rule)
