"""The images of a task in memory: one uint8 tensor a split, indexed by permutation; a batch becomes float when drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lifelong.artifacts import read_tensors
from lifelong.data.backgrounds import Backgrounds, on_backgrounds
from lifelong.data.scenarios import task_key
from lifelong.device import placed
from lifelong.errors import UserError


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, C, H, W] and targets int64 [n]: the label within the task."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen images as float32 in [0, 1], and their targets."""
        return as_float(self.images.index_select(0, chosen)), self.targets.index_select(0, chosen)


@dataclass(frozen=True)
class Task:
    """What a stage may see of a task. `classes` int64 [c]: the data set's labels in the order of the task's outputs."""

    index: int
    train: Split
    validation: Split
    classes: Tensor


def as_float(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255)


def load_task(images_file: Path, tasks_file: Path, task: int) -> Task:
    """The training and validation images of a task. Test images are not here: only evaluation may read them."""
    keys = [task_key(task, part) for part in ("train", "validation", "classes")]
    index, permutation, backgrounds = _indices(images_file, tasks_file, task, keys)
    images, _ = read_tensors(images_file, "images", ["train_images", "train_labels"])
    classes = index[keys[2]]
    train, validation = (
        _split(
            _picked(images["train_images"], index[key], backgrounds),
            images["train_labels"][index[key]],
            classes,
            permutation,
        )
        for key in keys[:2]
    )
    return Task(task, train, validation, placed(classes))


def load_test(images_file: Path, tasks_file: Path, task: int) -> Split:
    """The test images of a task."""
    keys = [task_key(task, part) for part in ("test", "classes")]
    index, permutation, backgrounds = _indices(images_file, tasks_file, task, keys)
    images, _ = read_tensors(images_file, "images", ["test_images", "test_labels"])
    chosen, classes = index[keys[0]], index[keys[1]]
    picked = _picked(images["test_images"], chosen, backgrounds, test=True)
    return _split(picked, images["test_labels"][chosen], classes, permutation)


def _indices(
    images_file: Path, tasks_file: Path, task: int, keys: list[str]
) -> tuple[dict, Tensor | None, Backgrounds | None]:
    arrays, info = read_tensors(tasks_file, "tasks")
    if not 0 <= task < info["tasks"]:
        raise UserError(f"{tasks_file}: has tasks 0 to {info['tasks'] - 1}; found task {task}")
    _, images_info = read_tensors(images_file, "images", [])
    if images_info["content"] != info["content"]:
        raise UserError(
            f"{tasks_file}: was cut from images of content {info['content'][:12]}; found {images_info['content'][:12]} "
            f"in {images_file}: delete the tasks file and run snakemake again"
        )
    order = arrays.get(task_key(task, "permutation"))
    permutation = None if order is None else placed(order)
    return {key: arrays[key] for key in keys}, permutation, info.get("backgrounds")


def _picked(images: np.ndarray, chosen: np.ndarray, backgrounds: Backgrounds | None, test: bool = False) -> np.ndarray:
    return on_backgrounds(images, chosen, backgrounds, test) if backgrounds else images[chosen]


def _split(images: np.ndarray, labels: np.ndarray, classes: np.ndarray, permutation: Tensor | None) -> Split:
    position = torch.full((int(classes.max()) + 1,), -1)
    position[placed(classes)] = torch.arange(len(classes))
    picked = placed(images)
    if permutation is not None:
        picked = picked.flatten(1)[:, permutation].view(picked.shape)
    return Split(picked, position[placed(labels)])
