"""The exemplar memory: a few training images of every class seen, under a total that the classes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.runtime.errors import UserError

Memory = dict[str, Tensor]
"""`images` uint8 [m, C, H, W] and `labels` int64 [m], numbered over the tasks; class by class, best first."""


def quota(total: int, classes: int) -> int:
    """floor(M / classes seen): how many images a class may keep (reading A20)."""
    if total < classes:
        raise UserError(f"options.memory: found {total} for {classes} classes; give at least one image a class")
    return total // classes


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


def cut_memory(memory: Memory, count: int) -> Memory:
    """The first `count` images of each class, and what is kept beside them: what stays when the quota falls."""
    labels = memory["labels"]
    # Position of each image within its class; the classes lie one behind the other.
    starts = torch.cat([torch.tensor([True]), labels[1:] != labels[:-1]]).nonzero().flatten()
    lengths = torch.diff(torch.cat([starts, torch.tensor([len(labels)])]))
    kept = torch.arange(len(labels)) - torch.repeat_interleave(starts, lengths) < count
    return {name: tensor[kept] for name, tensor in memory.items()}


def keep_exemplars(
    memory: Memory | None,
    train: Split,
    task: int,
    classes: Classes,
    count: int,
    choose: Callable[[Tensor], Tensor],
) -> Memory:
    """The memory after a task: older classes cut to `count` images, and as many of each of the task's own classes.

    `train` are all of the task's training images, with labels within the task; `choose` puts the indices of one class's
    images among them in the order in which they are kept.
    """
    parts = [cut_memory(memory, count)] if memory else []
    for label in range(classes.sizes[task]):
        members = (train.targets == label).nonzero().flatten()
        images = train.images[choose(members)[:count]]
        parts.append({"images": images, "labels": torch.full((len(images),), classes.offset(task) + label)})
    return {name: torch.cat([part[name] for part in parts]) for name in ("images", "labels")}


def join_memory(train: Split, task: int, classes: Classes, memory: Memory | None) -> Split:
    """The task's images and those remembered as one split, whose targets number the classes over the tasks."""
    own = train.targets + classes.offset(task)
    if memory is None:
        return replace(train, targets=own)
    return replace(train, images=torch.cat([train.images, memory["images"]]), targets=torch.cat([own, memory["labels"]]))


def split_of_task(memory: Memory, task: int, classes: Classes, like: Split) -> Split:
    """What is remembered of one task, with labels over all tasks, drawn as those of `like` are."""
    own = classes.owner(memory["labels"]) == task
    return replace(like, images=memory["images"][own], targets=memory["labels"][own])
