"""Which images of a data set a tier uses, and which of those are one task's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lifelong.params.sequences import TaskEntry, Tier
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.randomness import generator


def choose_classes(count: int, tier: Tier) -> list[int]:
    """At most `tier.classes` of a data set's classes, drawn by the tier's seed, in their own order."""
    if tier.classes is None or count <= tier.classes:
        return list(range(count))
    order = torch.randperm(count, generator=generator(tier.seed, "classes"), device="cpu")
    return sorted(order[: tier.classes].tolist())


def choose_images(labels: np.ndarray, classes: Sequence[int], split: str, tier: Tier) -> np.ndarray:
    """Indices, ascending, of the images that a tier uses: for each class the beginning of one seeded order.

    A total is spread over the classes as round(total / classes) (reading S23).
    """
    total, most = (tier.train, tier.train_per_class) if split == "train" else (tier.test, tier.test_per_class)
    limits = [limit for limit in (most, round(total / len(classes)) if total else None) if limit is not None]
    if 0 in limits:
        raise UserError(f"tiers: {total} {split} images for {len(classes)} classes are none of each; give more")
    parts = []
    for label in classes:
        own = np.flatnonzero(labels == label)
        order = torch.randperm(len(own), generator=generator(tier.seed, "images", split, int(label)), device="cpu").numpy()
        parts.append(own[order[: min(limits, default=len(own))]])
    return np.sort(np.concatenate(parts))


@dataclass(frozen=True)
class TaskData:
    """One split of one task: rows, labels 0..classes-1 and what the classes are called."""

    rows: np.ndarray  # features float32 [n, d], or images uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n]
    names: tuple[str, ...]
    backbone: str = ""  # the fingerprint, for features

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: np.ndarray) -> TaskData:
        return TaskData(self.rows[index], self.labels[index], self.names, self.backbone)


def task_features(path: Path, entry: TaskEntry) -> TaskData:
    """A task's part of the features of a data set; UserError where a class it names is not there."""
    arrays, info = read_tensors(path, "features")
    kept, labels, names = rows_of_task(arrays["labels"], info["classes"], info["class_names"], entry)
    rows = arrays["features"][kept].astype(np.float32)
    return TaskData(rows, labels, names, info["backbone"])


def task_images(path: Path, entry: TaskEntry, split: str, tier: Tier) -> TaskData:
    """The same images as those behind `task_features`, in the same order."""
    arrays, info = read_tensors(path, "images", [f"{split}_images", f"{split}_labels"])
    classes = choose_classes(len(info["class_names"]), tier)
    chosen = choose_images(arrays[f"{split}_labels"], classes, split, tier)
    kept, labels, names = rows_of_task(arrays[f"{split}_labels"][chosen], classes, info["class_names"], entry)
    return TaskData(arrays[f"{split}_images"][chosen[kept]], labels, names)


def validation_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and for validation: of each class round(fraction * n) for validation, but always some of both.

    A class of one image is for training alone.

    Raises:
        UserError: there is no image for validation, as no class has two.
    """
    held = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        order = torch.randperm(len(own), generator=generator(seed, "validation", int(label)), device="cpu").numpy()
        count = min(max(round(fraction * len(own)), 1), len(own) - 1)
        held.append(own[order[:count]])
    validation = np.sort(np.concatenate(held))
    if not len(validation):
        raise UserError("no class has two images, one of which could be for validation; give more images, or a larger tier")
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def rows_of_task(
    labels: np.ndarray, classes: Sequence[int], class_names: Sequence[str], entry: TaskEntry
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Rows of the task's classes, their labels 0..c-1 in the order of the task's list, and the names."""
    requested: Any = entry.classes if entry.classes is not None else list(classes)
    numbers = []
    for item in requested:
        number = item if isinstance(item, int) else (class_names.index(item) if item in class_names else -1)
        if number not in classes:
            raise UserError(
                f"skill task {entry.name!r}: {entry.dataset} has no class {item!r}; {did_you_mean(str(item), class_names)}"
            )
        numbers.append(number)
    place = np.full(len(class_names), -1)
    place[numbers] = np.arange(len(numbers))
    own = place[labels]
    kept = np.flatnonzero(own >= 0)
    return kept, own[kept], tuple(class_names[number] for number in numbers)
