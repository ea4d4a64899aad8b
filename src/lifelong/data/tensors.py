"""The images of a task in memory: one uint8 tensor a split, indexed by permutation; a batch becomes float when drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lifelong.data.backgrounds import Backgrounds, put_on_backgrounds
from lifelong.data.dense import VOID
from lifelong.data.sequences import task_key
from lifelong.runtime.artifacts import read_info, read_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import UserError

KINDS = ("images", "features", "dense")
"""Kinds of files that tasks are cut from."""

CHUNK = 64
"""Images that are resized together."""


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, C, H, W] and targets int64 [n]: the label within the task; of dense tasks uint8 [n, H, W]."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen images as float32 in [0, 1], and their targets."""
        return as_float(self.images.index_select(0, chosen)), self.targets.index_select(0, chosen)


@dataclass(frozen=True)
class Features(Split):
    """Features float32 [n, d] of a frozen backbone in the place of the images; a batch is drawn as it is."""

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.index_select(0, chosen), self.targets.index_select(0, chosen)


@dataclass(frozen=True)
class Task:
    """What a stage may see of a task. `classes` int64 [c]: the data set's labels in the order of the task's outputs."""

    index: int
    train: Split
    validation: Split
    classes: Tensor


def as_float(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255)


def load_task(source: Path, tasks_file: Path, task: int, shape: Sequence[int] | None = None, crop: float = 1.0) -> Task:
    """The training and validation images of a task. Test images are not here: only evaluation may read them.

    `source` holds the images of the task's data set, or their features. Images are brought to `shape` [C, H, W], if given,
    the middle cut out of shape / crop.
    """
    cut = _Cut.read(source, tasks_file, task, ("train", "validation", "classes"))
    train, validation = (cut.split(source, "train", part, shape, crop) for part in ("train", "validation"))
    return Task(task, train, validation, to_device(cut.arrays["classes"]))


def load_test(source: Path, tasks_file: Path, task: int, shape: Sequence[int] | None = None, crop: float = 1.0) -> Split:
    """The test images of a task; of a dense one with the labels of all classes."""
    return _Cut.read(source, tasks_file, task, ("test", "classes")).split(source, "test", "test", shape, crop)


@dataclass(frozen=True)
class _Cut:
    """A task's part of a sequence's file."""

    arrays: dict[str, np.ndarray]
    backgrounds: Backgrounds | None

    @classmethod
    def read(cls, source: Path, tasks_file: Path, task: int, parts: Sequence[str]) -> _Cut:
        arrays, info = read_tensors(tasks_file, "tasks")
        if not 0 <= task < len(info["sizes"]):
            raise UserError(f"{tasks_file}: has tasks 0 to {len(info['sizes']) - 1}; found task {task}")
        cut_from, result = info["contents"][info["datasets"][task]], read_info(source, KINDS)["content"]
        if cut_from != result:
            raise UserError(
                f"{tasks_file}: was cut from images of content {cut_from[:12]}; found {result[:12]} in {source}: delete the "
                f"tasks file and run snakemake again"
            )
        own = {part: arrays[task_key(task, part)] for part in parts}
        if (order := arrays.get(task_key(task, "permutation"))) is not None:
            own["permutation"] = order
        return cls(own, info.get("backgrounds"))

    def split(self, source: Path, of: str, part: str, shape: Sequence[int] | None, crop: float) -> Split:
        """The part of the task from the data set's split `of`."""
        index, kind = self.arrays[part], read_info(source, KINDS)["kind"]
        if kind == "features":
            arrays, _ = read_tensors(source, kind, ["features", "labels", "index"])
            rows = np.searchsorted(arrays["index"], index)
            return Features(to_device(arrays["features"][rows].astype(np.float32)), self._labels(arrays["labels"][rows]))
        arrays, _ = read_tensors(source, kind, [f"{of}_images", f"{of}_labels"])
        if kind == "dense":
            labels = to_device(arrays[f"{of}_labels"][index])
            own = labels if of == "test" else only(labels, self.arrays["classes"])
            return Split(to_device(arrays[f"{of}_images"][index]), own)
        images = arrays[f"{of}_images"]
        picked = put_on_backgrounds(images, index, self.backgrounds, of == "test") if self.backgrounds else images[index]
        tensor = to_device(picked)
        if shape is not None and (crop != 1 or tuple(tensor.shape[1:]) != tuple(shape)):
            tensor = bring_to_shape(tensor, shape, crop)
        if "permutation" in self.arrays:
            tensor = tensor.flatten(1)[:, to_device(self.arrays["permutation"])].view(tensor.shape)
        return Split(tensor, self._labels(arrays[f"{of}_labels"][index]))

    def _labels(self, labels: np.ndarray) -> Tensor:
        """The data set's labels as those of the task."""
        classes = self.arrays["classes"]
        position = torch.full((int(classes.max()) + 1,), -1)
        position[to_device(classes)] = torch.arange(len(classes))
        return position[to_device(labels)]


def only(labels: Tensor, classes: np.ndarray) -> Tensor:
    """Of dense labels, those of other classes become 0; void stays."""
    known = torch.isin(labels, to_device(classes).to(labels.dtype))
    return torch.where(known | (labels == VOID), labels, torch.zeros_like(labels))


def bring_to_shape(images: Tensor, shape: Sequence[int], crop: float = 1.0) -> Tensor:
    """uint8 [n, C, h, w] -> uint8 [n, *shape]: resized (bicubic, antialiased) to cover shape / crop, the middle cut out.

    Grey images of which colour is asked get three equal channels; colour becomes grey by the channels' mean.
    """
    channels, height, width = shape
    parts = []
    for part in images.split(CHUNK):
        scale = max(round(height / crop) / part.shape[2], round(width / crop) / part.shape[3])
        size = (max(height, round(part.shape[2] * scale)), max(width, round(part.shape[3] * scale)))
        pixels = part.float()
        if size != tuple(part.shape[2:]):
            pixels = functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp_(0, 255)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        pixels = pixels[:, :, top : top + height, left : left + width]
        if pixels.shape[1] != channels:
            pixels = pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        parts.append(pixels.round().to(torch.uint8))
    return torch.cat(parts).contiguous()
