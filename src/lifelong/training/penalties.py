"""Penalties that hold weights near old values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class QuadraticPenalty:
    """strength * sum over parameters of importance * (W - anchor)^2, with its gradient in closed form.

    EWC and ANPyC share it: reading N1 takes ANPyC's Eq. 6 as this penalty, whose gradient is
    2 * strength * importance * (W - anchor); EWC's lambda/2 is a strength of lambda/2.

    It acts by its gradient, or `proximal`: by its own minimum near where the loss's step led, exact at any strength
    (reading B16).
    """

    def __init__(
        self, strength: float, importance: Mapping[str, Tensor], anchor: Mapping[str, Tensor], proximal: bool = False
    ) -> None:
        self.names = list(importance)
        self.strength = strength
        self.proximal = proximal
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

    @torch.no_grad()
    def shares(self, rate: float, masks: Mapping[str, Tensor]) -> list[Tensor]:
        """How much of its way to the anchor each weight goes in a proximal step, in [0, 1); 0 where a mask is 0.

        The minimum over V of (V - W)^2 / (2 * rate) + strength * importance * (V - anchor)^2 is
        W + a / (1 + a) * (anchor - W) with a = 2 * rate * strength * importance.
        """
        result = []
        for name, twice in zip(self.names, self._twice, strict=True):
            a = rate * twice
            share = a.div_(1 + a)
            result.append(share.mul_(masks[name]) if name in masks else share)
        return result

    @torch.no_grad()
    def pull_(self, names: Sequence[str], parameters: Sequence[Tensor], shares: Sequence[Tensor]) -> None:
        """Move the parameters by `shares` of their way to the anchor, in place; those without importance stay."""
        where = {name: i for i, name in enumerate(names)}
        for name, anchor, share in zip(self.names, self.anchor, shares, strict=True):
            parameters[where[name]].lerp_(anchor, share)
