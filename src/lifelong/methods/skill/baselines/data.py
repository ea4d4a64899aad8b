"""The tasks of a sequence as the learning loop takes them, made of cached features or of images for a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lifelong.backbones.images import normalised, resized
from lifelong.config.skill import Backbone
from lifelong.data.tensors import Split, Task
from lifelong.device import placed
from lifelong.methods.skill.selection import TaskData, validation_split

CHUNK = 64
"""Images that are resized together."""


@dataclass(frozen=True)
class Features(Split):
    """Features float32 [n, d] in the place of the images; a batch is drawn as it is."""

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.index_select(0, chosen), self.targets.index_select(0, chosen)


@dataclass(frozen=True)
class Pictures(Split):
    """Images uint8 [n, 3, size, size] of the backbone's size; a batch is normalised as the backbone wants it."""

    settings: Backbone

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        pixels = self.images.index_select(0, chosen).float()
        return normalised(pixels, self.settings), self.targets.index_select(0, chosen)


@dataclass(frozen=True)
class Course:
    """All tasks, each with as many outputs as the largest has; outputs beyond a task's classes are never asked.

    `classes` [T] are the true numbers. `tests` are for evaluation alone.
    """

    tasks: tuple[Task, ...]
    tests: tuple[Split, ...]
    classes: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Outputs of each task."""
        return max(self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a feature vector, or of an image."""
        return tuple(self.tasks[0].train.images.shape[1:])


def course(
    train: Sequence[TaskData],
    test: Sequence[TaskData],
    validation: float,
    validation_seed: int,
    split_of: Callable[[TaskData], Split],
) -> Course:
    """Tasks with the same validation images as SKILL's heads have."""
    classes = tuple(len(data.names) for data in train)
    tasks = []
    for index, data in enumerate(train):
        kept, held = validation_split(data.labels, validation, validation_seed)
        tasks.append(Task(index, split_of(data.at(kept)), split_of(data.at(held)), torch.arange(max(classes))))
    return Course(tuple(tasks), tuple(map(split_of, test)), classes)


def features_of(data: TaskData) -> Features:
    return Features(placed(data.rows), placed(data.labels))


def pictures_of(data: TaskData, settings: Backbone) -> Pictures:
    """Images of any size, resized once and rounded; grey ones with three equal channels."""
    parts = [resized(part, settings).round().to(torch.uint8) for part in placed(data.rows).split(CHUNK)]
    images = torch.cat(parts)
    return Pictures(images.expand(-1, 3, -1, -1).contiguous(), placed(data.labels), settings)
