"""Eq. 7's regulariser: task models are kept near each other and near the base (readings A2, A3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def regulariser(model: Tensor, others: Sequence[Tensor], coefficient: float) -> Tensor:
    """coefficient * sum over ordered pairs of |d|^2, of which only those with the task model under way are live.

    model [P], others: the earlier task models and the base, [P] each, held constant. d = mean |difference|, not the sum:
    with a million weights the square of the sum drowns the loss (reading A2). Each pair stands twice in the matrix `dif`.
    """
    return 2 * coefficient * sum(((model - other).abs().mean().square() for other in others), torch.zeros(()))


@torch.no_grad()
def add_regulariser_gradient_(gradient: Tensor, model: Tensor, others: Sequence[Tensor], coefficient: float) -> None:
    """Add d regulariser / d model, 4 * coefficient * sum d * sgn(difference) / P, in place.

    It is 0 towards a model that equals this one: a task model that has not moved yet is not pulled back to its base.
    """
    for other in others:
        difference = model - other
        slope = 4 * coefficient * difference.abs().mean() / len(model)
        gradient += slope * difference.sign_()
