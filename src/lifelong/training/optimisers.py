"""One update of all trained parameters, with what the optimiser remembers between updates.

The library's update functions are called without its optimiser objects, whose construction imports torch's compiler (4 s a
job); what they remember is kept by name, so that checkpoints hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.radam import radam
from torch.optim.sgd import sgd

from lifelong.params.schema import Training


class Optimiser:
    """SGD (Polyak's momentum), Adam or RAdam, with weight decay added to the gradients."""

    def __init__(self, budget: Training, names: Sequence[str], parameters: Sequence[Tensor]) -> None:
        self.budget = budget
        self.names = list(names)
        self.parameters = list(parameters)
        self._momentum: list[Tensor | None] = [None] * len(self.parameters)
        if budget.optimiser != "sgd":
            self._first = [torch.zeros_like(p) for p in self.parameters]
            self._second = [torch.zeros_like(p) for p in self.parameters]
            # Adam asks for the number at every step; elsewhere that would wait for the device.
            self._steps = [torch.zeros((), device="cpu") for _ in self.parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Change the parameters in place."""
        if self.budget.optimiser == "sgd":
            sgd(
                self.parameters,
                gradients,
                self._momentum,
                foreach=True,
                weight_decay=self.budget.weight_decay,
                momentum=self.budget.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
            return
        remembered = (self.parameters, gradients, self._first, self._second)
        decay = self.budget.weight_decay
        usual: dict[str, Any] = {
            "foreach": True,
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-8,
            "lr": rate,
            "weight_decay": decay,
        }
        if self.budget.optimiser == "adam":
            adam(*remembered, [], self._steps, amsgrad=False, maximize=False, **usual)
        else:
            radam(*remembered, self._steps, **usual)

    def tensors(self) -> dict[str, Tensor]:
        """What is remembered, by name."""
        if self.budget.optimiser == "sgd":
            pairs = zip(self.names, self._momentum, strict=True)
            return {f"momentum/{name}": kept for name, kept in pairs if kept is not None}
        return {
            f"{what}/{name}": kept
            for what, all_kept in (("first", self._first), ("second", self._second), ("steps", self._steps))
            for name, kept in zip(self.names, all_kept, strict=True)
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        if self.budget.optimiser == "sgd":
            self._momentum = [tensors.get(f"momentum/{name}") for name in self.names]
            return
        for key, kept in self.tensors().items():
            kept.copy_(tensors[key])
