"""Multiply-accumulates of one forward pass, counted without computing anything."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn


def forward_macs(network: nn.Module, image_size: int) -> int:
    """Of every convolution and linear layer for one image: output values x weights behind each; biases count nothing."""
    total = 0

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.Linear)
        total += output.numel() * math.prod(module.weight.shape[1:])

    network = copy.deepcopy(network).to("meta")
    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network(torch.empty(1, 3, image_size, image_size, device="meta"))
    for handle in handles:
        handle.remove()
    return total


def convolution_channels(network: nn.Module) -> int:
    """How many beneficial biases a network has: the output channels of all its convolutions."""
    return sum(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d))
