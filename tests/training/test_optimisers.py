"""Updates beside the library's optimiser objects, and what survives a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lifelong.params.schema import Training
from lifelong.training.optimisers import Optimiser

STEPS = 12
CASES = [
    ({"momentum": 0.0}, torch.optim.SGD, {}),
    ({"momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    ({"optimiser": "adam"}, torch.optim.Adam, {}),
    ({"optimiser": "adam", "weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
    ({"optimiser": "radam", "weight_decay": 0.1}, torch.optim.RAdam, {"weight_decay": 0.1}),
]


def budget(**changes: Any) -> Training:
    return Training.model_validate({"learning_rate": 0.05, "batch_size": 1, "epochs": 1} | changes)


def start() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in ((3, 2), (4,))]


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(shape, generator=generator) for shape in ((3, 2), (4,))]


@pytest.mark.parametrize(("settings", "library", "arguments"), CASES)
def test_updates_are_the_library_s(settings: dict[str, Any], library: Any, arguments: dict[str, Any]) -> None:
    parameters = start()
    optimiser = Optimiser(budget(**settings), ["a", "b"], parameters)
    expected = [nn.Parameter(p) for p in start()]
    reference = library(expected, lr=0.05, **arguments)
    for step in range(STEPS):
        rate = 0.05 / (1 + step)
        optimiser.step(gradients(step), rate)
        reference.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(expected, gradients(step), strict=True):
            parameter.grad = gradient
        reference.step()
    for found, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found, wanted.detach())


@pytest.mark.parametrize(("settings", "library", "arguments"), CASES)
def test_restored_memory_goes_on_bit_for_bit(settings: dict[str, Any], library: Any, arguments: dict[str, Any]) -> None:
    whole, cut = start(), start()
    first = Optimiser(budget(**settings), ["a", "b"], whole)
    before = Optimiser(budget(**settings), ["a", "b"], cut)
    for step in range(STEPS):
        first.step(gradients(step), 0.05)
    for step in range(5):
        before.step(gradients(step), 0.05)
    kept = {name: tensor.clone() for name, tensor in before.tensors().items()}
    after = Optimiser(budget(**settings), ["a", "b"], cut)
    after.restore(kept)
    for step in range(5, STEPS):
        after.step(gradients(step), 0.05)
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))
