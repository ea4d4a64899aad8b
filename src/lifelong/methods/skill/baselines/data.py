"""The tasks of a sequence as the learning loop takes them, made of cached features instead of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lifelong.data.tensors import Split, Task
from lifelong.methods.skill.selection import TaskData, validation_split


@dataclass(frozen=True)
class Features(Split):
    """Features float32 [n, d] in the place of the images; a batch is drawn as it is."""

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.index_select(0, chosen), self.targets.index_select(0, chosen)


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
    def width(self) -> int:
        """Numbers a feature vector has."""
        return self.tasks[0].train.images.shape[1]


def course(train: Sequence[TaskData], test: Sequence[TaskData], validation: float, validation_seed: int) -> Course:
    """Tasks with the same validation images as SKILL's heads have."""
    classes = tuple(len(data.names) for data in train)
    tasks = []
    for index, data in enumerate(train):
        kept, held = validation_split(data.labels, validation, validation_seed)
        tasks.append(Task(index, features_of(data.at(kept)), features_of(data.at(held)), torch.arange(max(classes))))
    return Course(tuple(tasks), tuple(map(features_of, test)), classes)


def features_of(data: TaskData) -> Features:
    return Features(torch.from_numpy(data.rows), torch.from_numpy(data.labels))
