"""Losses of images whose labels number the classes over the tasks."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong.config.schema import Heads


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits [n, c] and targets [n]; of s models side by side, [s, n, c] and [s, n], each's: [s]."""
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets)
    each = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(-1)


def task_slice(all_logits: Tensor, labels: Tensor, classes_per_task: int) -> Tensor:
    """Each image's logits within its own task [..., n, classes a task], of logits [..., n, total]."""
    by_task = all_logits.unflatten(-1, (-1, classes_per_task))
    return by_task.take_along_dim((labels // classes_per_task)[..., None, None], dim=-2).squeeze(-2)


def slice_cross_entropy(all_logits: Tensor, labels: Tensor, classes_per_task: int) -> Tensor:
    """Binary cross-entropy of sigmoid outputs within each image's own task, averaged over images and that task's classes.

    The other tasks' logits are left alone. This is ARI's Eq. 4 as released: y log p + (1 - y) log(1 - p) (dossier 1.3, A1).
    """
    own = task_slice(all_logits, labels, classes_per_task)
    wanted = F.one_hot(labels % classes_per_task, classes_per_task).to(own.dtype)
    return F.binary_cross_entropy_with_logits(own, wanted)


def cross_entropy_over_tasks(all_logits: Tensor, labels: Tensor, heads: Heads, classes_per_task: int) -> Tensor:
    """Mean cross-entropy of images of several tasks.

    `per-task`: each image's softmax runs over the logits of its own task's head; `all-classes`: over all classes; `shared`:
    over the shared head, by the label within the task. Of several models side by side: each's.
    """
    if heads == "shared":
        return cross_entropy(all_logits, labels % classes_per_task)
    if heads == "per-task":
        return cross_entropy(task_slice(all_logits, labels, classes_per_task), labels % classes_per_task)
    return cross_entropy(all_logits, labels)
