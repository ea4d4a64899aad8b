"""What every network of the pipeline is: shared features and one or several linear heads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lifelong.data.classes import Classes
from lifelong.networks.gates import Gate
from lifelong.params.methods import Heads
from lifelong.runtime.errors import UserError


class Network(nn.Module):
    """Features [n, d] of images [n, C, H, W], and `heads`: linear layers on them.

    Attributes:
        gate: the gates of the task at hand, for networks that can be gated.
        dropout_at_test: keeps dropout on in evaluation mode, as some released code did (reading N27).
        noise: where this is several networks side by side, each one's source of dropout.
    """

    heads: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.gate: Gate | None = None
        self.dropout_at_test = False
        self.noise: Sequence[torch.Generator] | None = None

    @property
    def drops(self) -> bool:
        """Whether dropout acts now."""
        return self.training or self.dropout_at_test

    @property
    def stacked(self) -> bool:
        """Whether this is several networks side by side: parameters, images and logits have a first dimension more."""
        return self.noise is not None

    def hidden_widths(self) -> list[int]:
        """Widths of the hidden layers that `gate` acts on."""
        raise UserError(f"a network of kind {type(self).__name__} has no gates; take a multi-layer perceptron")

    def features(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor, head: int) -> Tensor:
        """Logits [n, size of the head]."""
        return self.heads[head](self.features(images))

    def all_logits(self, images: Tensor) -> Tensor:
        """Logits of all heads side by side [n, sum of sizes]; the features are computed once."""
        features = self.features(images)
        return torch.cat([head(features) for head in self.heads], dim=-1)


def shared_names(network: nn.Module) -> list[str]:
    """Names of the parameters that all tasks share: everything but the heads."""
    return [name for name, _ in network.named_parameters() if not name.startswith("heads.")]


def head_sizes(heads: Heads, classes: Classes) -> list[int]:
    """Outputs of each head: one head a task, one head that all tasks share, or one head over all classes."""
    return {
        "per-task": list(classes.sizes),
        "shared": [classes.largest],
        "all-classes": [classes.total],
    }[heads]


@torch.no_grad()
def initialise(network: nn.Module, rule: str, generator: torch.Generator) -> None:
    """Draw every parameter (reading N26).

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
