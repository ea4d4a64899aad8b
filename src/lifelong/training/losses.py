"""Losses of images whose labels number the classes over the tasks."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong.data.classes import ABSENT, Classes
from lifelong.params.methods import Heads


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits [n, c] and targets [n]; of s models side by side, [s, n, c] and [s, n], each's: [s]."""
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets)
    each = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(-1)


def task_slice(all_logits: Tensor, labels: Tensor, classes: Classes) -> Tensor:
    """Each image's logits within its own task [..., n, largest task], of logits [..., n, total]."""
    return classes.by_task(all_logits).take_along_dim(classes.owner(labels)[..., None, None], dim=-2).squeeze(-2)


def slice_cross_entropy(all_logits: Tensor, labels: Tensor, classes: Classes) -> Tensor:
    """Binary cross-entropy of sigmoid outputs within each image's own task, averaged over images and that task's classes.

    The other tasks' logits are left alone. This is ARI's Eq. 4 as released: y log p + (1 - y) log(1 - p) (reading A1).
    """
    own = task_slice(all_logits, labels, classes)
    targets = F.one_hot(classes.within(labels), classes.largest).to(own.dtype)
    if classes.equal:
        return F.binary_cross_entropy_with_logits(own, targets)
    known = own > ABSENT
    return F.binary_cross_entropy_with_logits(own[known], targets[known])


def cross_entropy_over_tasks(all_logits: Tensor, labels: Tensor, heads: Heads, classes: Classes) -> Tensor:
    """Mean cross-entropy of images of several tasks.

    `per-task`: each image's softmax runs over the logits of its own task's head; `all-classes`: over all classes; `shared`:
    over the shared head, by the label within the task. Of several models side by side: each's.
    """
    if heads == "shared":
        return cross_entropy(all_logits, classes.within(labels))
    if heads == "per-task":
        return cross_entropy(task_slice(all_logits, labels, classes), classes.within(labels))
    return cross_entropy(all_logits, labels)
