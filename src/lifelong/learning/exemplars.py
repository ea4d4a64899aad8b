"""The exemplar memory: a few training images of every class seen, under a total that the classes share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.errors import UserError

Memory = dict[str, Tensor]
"""`images` uint8 [m, C, H, W] and `labels` int64 [m], numbered over the tasks; class by class, best first."""


def quota(total: int, classes: int) -> int:
    """floor(M / classes seen): how many images a class may keep (dossier 1.2)."""
    if total < classes:
        raise UserError(f"options.memory: found {total} for {classes} classes; give at least one image a class")
    return total // classes


def first(count: int, available: int) -> Tensor:
    """The first `count` images in the order of the data set (as released)."""
    return torch.arange(min(count, available))


def herding(features: Tensor, count: int) -> Tensor:
    """Indices whose running mean of features stays nearest to the mean of all, chosen one by one (iCaRL, Algorithm 4).

    features [n, d]; rows are brought to length 1. p_k = argmin over the rest of |mu - (sum of chosen + x) / k|.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    mean = unit.mean(0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(unit), dtype=torch.bool)
    chosen = []
    for k in range(1, min(count, len(unit)) + 1):
        distances = (mean - (total + unit) / k).square().sum(1).masked_fill(~free, torch.inf)
        best = int(distances.argmin())
        chosen.append(best)
        free[best] = False
        total += unit[best]
    return torch.tensor(chosen, dtype=torch.int64)


def shrunk(memory: Memory, count: int) -> Memory:
    """The first `count` images of each class: what stays when the quota falls."""
    labels = memory["labels"]
    # Position of each image within its class; the classes lie one behind the other.
    starts = torch.cat([torch.tensor([True]), labels[1:] != labels[:-1]]).nonzero().flatten()
    lengths = torch.diff(torch.cat([starts, torch.tensor([len(labels)])]))
    kept = torch.arange(len(labels)) - torch.repeat_interleave(starts, lengths) < count
    return {"images": memory["images"][kept], "labels": labels[kept]}


def grown(
    memory: Memory | None, train: Split, task: int, classes_per_task: int, total: int, features: Tensor | None = None
) -> Memory:
    """The memory after a task: older classes cut to the new quota, the task's own added.

    `train` are all of the task's training images, with labels within the task. With `features` [n, d] of those images the
    choice is by `herding`, else by `first`.
    """
    count = quota(total, (task + 1) * classes_per_task)
    parts = [shrunk(memory, count)] if memory else []
    for label in range(classes_per_task):
        members = (train.targets == label).nonzero().flatten()
        order = first(count, len(members)) if features is None else herding(features[members], count)
        images = train.images[members[order]]
        parts.append({"images": images, "labels": torch.full((len(images),), task * classes_per_task + label)})
    return {name: torch.cat([part[name] for part in parts]) for name in ("images", "labels")}


def rehearsed(train: Split, task: int, classes_per_task: int, memory: Memory | None) -> Split:
    """The task's images and those remembered as one split, whose targets number the classes over the tasks."""
    own = train.targets + task * classes_per_task
    if memory is None:
        return Split(train.images, own)
    return Split(torch.cat([train.images, memory["images"]]), torch.cat([own, memory["labels"]]))


def of_task(memory: Memory, task: int, classes_per_task: int) -> Split:
    """What is remembered of one task, with labels over all tasks."""
    own = memory["labels"] // classes_per_task == task
    return Split(memory["images"][own], memory["labels"][own])


Selection = Literal["first", "herding"]
