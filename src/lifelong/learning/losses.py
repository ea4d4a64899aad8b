"""Losses that several methods share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def slice_cross_entropy(all_logits: Tensor, labels: Tensor, task: int, classes_per_task: int) -> Tensor:
    """Binary cross-entropy of sigmoid outputs within the slice of one task, averaged over images and its classes.

    all_logits [n, total]; labels int64 [n] number the classes over the tasks and belong to `task`. The other tasks' logits
    are left alone. This is ARI's Eq. 4 as released: y log p + (1 - y) log(1 - p) (dossier 1.3, A1).
    """
    first = task * classes_per_task
    own = all_logits[:, first : first + classes_per_task]
    return F.binary_cross_entropy_with_logits(own, F.one_hot(labels - first, classes_per_task).to(own.dtype))
