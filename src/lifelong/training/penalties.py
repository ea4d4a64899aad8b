"""Penalties that hold weights near old values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class QuadraticPenalty:
    """strength * sum over parameters of importance * (W - anchor)^2, with its gradient in closed form.

    EWC and ANPyC share it: reading N1 takes ANPyC's Eq. 6 as this penalty, whose gradient is
    2 * strength * importance * (W - anchor); EWC's lambda/2 is a strength of lambda/2.
    """

    def __init__(self, strength: float, importance: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> None:
        self.names = list(importance)
        self.strength = strength
        self.importance = [importance[name] for name in self.names]
        self.anchor = [anchor[name] for name in self.names]
        self._twice = [2 * strength * tensor for tensor in self.importance]

    def value(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The penalty itself, a scalar; autograd can differentiate it."""
        terms = zip(self.names, self.importance, self.anchor, strict=True)
        each = [(weight * (parameters[name] - anchor).square()).sum() for name, weight, anchor in terms]
        return self.strength * torch.stack(each).sum()

    @torch.no_grad()
    def add_gradient_(self, names: Sequence[str], parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Add the penalty's gradient to `gradients`, in place; parameters without importance are left alone."""
        where = {name: i for i, name in enumerate(names)}
        held = [where[name] for name in self.names]
        pull = torch._foreach_sub([parameters[i] for i in held], self.anchor)
        torch._foreach_mul_(pull, self._twice)
        torch._foreach_add_([gradients[i] for i in held], pull)
