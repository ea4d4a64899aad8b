"""Updates of the optimiser projected on each layer's kept directions: the slow model's training step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lifelong.methods.split2meta.layers import as_matrix, write_matrix
from lifelong.methods.split2meta.null_space import Subspace
from lifelong.training.fit import StepHook


class ProjectedUpdates(StepHook):
    """W <- W_before + rate * (W - W_before) P after every step: the update itself is projected, whatever made it (M5).

    Attributes:
        subspaces: layer -> kept directions; layers without are not projected.
        rates: parameter -> what its update is multiplied by; others by 1.
        normalised: P / ||P|| with the Frobenius norm sqrt(k), as released (reading M4).
    """

    def __init__(self, subspaces: Mapping[str, Subspace], rates: Mapping[str, float], normalised: bool = False) -> None:
        self.subspaces = subspaces
        self.rates = {name: rate for name, rate in rates.items() if rate != 1}
        self.normalised = normalised
        self._names: list[str] = []
        self._before: list[Tensor] = []

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Keeps the parameters as they are before the update."""
        if not self._names:
            projected = {f"{layer}.{part}" for layer in self.subspaces for part in ("weight", "bias")}
            self._names = [name for name in parameters if name in projected or name in self.rates]
            self._before = [torch.empty_like(parameters[name]) for name in self._names]
        if self._names:
            torch._foreach_copy_(self._before, [parameters[name] for name in self._names])

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        """Replaces the update by what it may be."""
        if not self._names:
            return
        now = [parameters[name] for name in self._names]
        torch._foreach_sub_(now, self._before)
        for name, update in zip(self._names, now, strict=True):
            if name in self.rates:
                update.mul_(self.rates[name])
        for layer, subspace in self.subspaces.items():
            matrix = subspace.project(as_matrix(layer, parameters))
            write_matrix(layer, matrix / math.sqrt(max(subspace.dimensions, 1)) if self.normalised else matrix, parameters)
        torch._foreach_add_(now, self._before)
