"""What a network answers for every pixel: counts, shares, and intersection over union."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.data.dense import VOID
from lifelong.data.tensors import Split
from lifelong.networks.base import Network

BATCH = 20


@torch.no_grad()
def pixel_accuracy(network: Network, split: Split, head: int) -> float:
    """Share of the pixels of a task's own classes that are answered rightly."""
    network.eval()
    right = total = 0
    for chosen in torch.arange(len(split)).split(BATCH):
        images, labels = split.batch(chosen)
        own = (labels > 0) & (labels != VOID)
        right += int((network(images, head).argmax(1) == labels)[own].sum())
        total += int(own.sum())
    return right / max(total, 1)


@torch.no_grad()
def count_confusion(network: Network, split: Split, head: int, classes: int) -> Tensor:
    """Counts [true, answer] over all pixels but void ones, with `classes` rows: the background and every class."""
    network.eval()
    total = torch.zeros(classes, classes, dtype=torch.int64)
    for chosen in torch.arange(len(split)).split(BATCH):
        images, labels = split.batch(chosen)
        total += confusion(labels.long(), network(images, head).argmax(1), classes)
    return total


def confusion(labels: Tensor, answers: Tensor, classes: int) -> Tensor:
    """Counts [true, answer] of all pixels but void ones."""
    known = labels != VOID
    flat = labels[known] * classes + answers[known]
    return torch.bincount(flat, minlength=classes * classes).view(classes, classes)


def intersection_over_union(counts: np.ndarray) -> np.ndarray:
    """Of each class, from counts [true, answer]; NaN where it neither is nor is answered."""
    right = np.diag(counts).astype(float)
    either = counts.sum(0) + counts.sum(1) - right
    return np.divide(right, either, out=np.full(len(right), np.nan), where=either > 0)


def mean_iou(counts: np.ndarray, classes: Classes, task: int) -> float | None:
    """Mean over a task's classes that are or are answered, of counts [true, answer] with the background first."""
    span = classes.span(task)
    own = intersection_over_union(counts)[1 + span.start : 1 + span.stop]
    return float(np.nanmean(own)) if (~np.isnan(own)).any() else None
