"""Initial weights of networks with batch normalisation."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def torch_default(network: nn.Module, generator: torch.Generator) -> None:
    """What torch draws by default: weights and biases uniform in +-1/sqrt(fan-in); scales 1, shifts 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=generator)
