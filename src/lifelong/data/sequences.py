"""Sequences: data sets cut into tasks. A task is a set of indices and a label map; no pixel is copied.

The file of a sequence holds for task t (two digits) the arrays `task-t.train`, `.validation`, `.test` (int64 indices; the
first two into the training images of the task's data set, the last into its test images), `.classes` (int64 [c]: the data
set's labels in the task's own order, so that label `classes[k]` becomes k) and, for permuted tasks, `.permutation` (int64
[pixels]). Of dense tasks it holds the indices, and `.classes` are the values of annotations.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.data.dense import dense_arrays
from lifelong.data.selection import choose_classes, choose_images, rows_of_task, validation_split
from lifelong.params.sequences import DataSets, Dense, OneDataSet, Permuted, Split, TaskEntry, Tier, Validation
from lifelong.runtime.artifacts import read_info, read_tensors, write_tensors
from lifelong.runtime.errors import UserError


def task_key(task: int, part: str) -> str:
    return f"task-{task:02d}.{part}"


@dataclass(frozen=True)
class Outline:
    """What the header of a sequence's file says.

    Attributes:
        sizes: how many classes each task has.
        datasets: the data set of each task.
        contents: of each data set, the digest of its images.
        image_shape: [channels, height, width]; none where data sets differ and nothing says what they are brought to.
    """

    sizes: tuple[int, ...]
    datasets: tuple[str, ...]
    contents: Mapping[str, str]
    image_shape: tuple[int, ...] | None
    class_names: tuple[tuple[str, ...], ...]
    backgrounds: Any = None


def read_outline(tasks_file: Path) -> Outline:
    info = read_info(tasks_file, "tasks")
    return Outline(
        tuple(info["sizes"]),
        tuple(info["datasets"]),
        info["contents"],
        tuple(info["image_shape"]) if info["image_shape"] else None,
        tuple(map(tuple, info["class_names"])),
        info["backgrounds"],
    )


def build(
    sequence: Any, images: Mapping[str, Path], output: Path, tier: Tier | None = None, entries: Sequence[TaskEntry] = ()
) -> None:
    """Write the tasks of a sequence over the prepared images of its data sets, by name."""
    if isinstance(sequence, DataSets):
        arrays, about = _cut_data_sets(sequence, images, tier or Tier(), entries)
    elif isinstance(sequence, Dense):
        arrays, about = _cut_dense(sequence, images[sequence.dataset])
    else:
        arrays, about = _cut_one(sequence, images[sequence.dataset])
    write_tensors(output, "tasks", arrays, about)


def _cut_one(sequence: OneDataSet, file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    labels, info = read_tensors(file, "images", ["train_labels", "test_labels"])
    with_shape, _ = read_tensors(file, "images", ["test_images"])
    shape = list(with_shape["test_images"].shape[1:])
    arrays = cut(sequence, labels["train_labels"], labels["test_labels"], len(info["class_names"]), int(np.prod(shape)))
    classes = [arrays[task_key(task, "classes")] for task in range(sequence.count)]
    where = f"sequence over {sequence.dataset}"
    for task, own in enumerate(classes):
        of_parts = {part: labels[f"{of}_labels"][arrays[task_key(task, part)]] for part, of in _LEARNT_FROM.items()}
        refuse_vanished(f"{where}: task {task}", of_parts, own, info["class_names"])
    unused = sorted({*range(len(info["class_names"]))} - {int(label) for own in classes for label in own})
    if unused:
        named = ", ".join(repr(info["class_names"][label]) for label in unused)
        print(f"{where}: {len(unused)} classes are in no task and go unused: {named}", file=sys.stderr)
    return arrays, {
        "sizes": [len(own) for own in classes],
        "datasets": [sequence.dataset] * sequence.count,
        "contents": {sequence.dataset: info["content"]},
        "image_shape": shape,
        "class_names": [[info["class_names"][label] for label in own] for own in classes],
        "backgrounds": sequence.backgrounds,
    }


def _cut_data_sets(
    sequence: DataSets, images: Mapping[str, Path], tier: Tier, entries: Sequence[TaskEntry]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The same images for each task as SKILL's agents have, the same of them kept apart."""
    arrays: dict[str, np.ndarray] = {}
    contents: dict[str, str] = {}
    names: list[list[str]] = []
    for task, entry in enumerate(entries):
        labels, info = read_tensors(images[entry.dataset], "images", ["train_labels", "test_labels"])
        contents[entry.dataset] = info["content"]
        classes = choose_classes(len(info["class_names"]), tier)
        for split in ("train", "test"):
            of_images = labels[f"{split}_labels"]
            chosen = choose_images(of_images, classes, split, tier)
            rows, own, task_names = rows_of_task(of_images[chosen], classes, info["class_names"], entry)
            if split == "test":
                arrays[task_key(task, "test")] = chosen[rows]
                continue
            train, validation = validation_split(own, sequence.validation, sequence.validation_seed)
            arrays[task_key(task, "train")] = chosen[rows[train]]
            arrays[task_key(task, "validation")] = chosen[rows[validation]]
            arrays[task_key(task, "classes")] = np.array([info["class_names"].index(name) for name in task_names])
            names.append(list(task_names))
        of_parts = {p: labels[f"{of}_labels"][arrays[task_key(task, p)]] for p, of in _LEARNT_FROM.items()}
        where = f"task {entry.name!r} over {entry.dataset}"
        refuse_vanished(where, of_parts, arrays[task_key(task, "classes")], info["class_names"])
    return arrays, {
        "sizes": [len(own) for own in names],
        "datasets": [entry.dataset for entry in entries],
        "contents": contents,
        "image_shape": list(sequence.shape) if sequence.shape else None,
        "class_names": names,
        "backgrounds": None,
    }


def _cut_dense(sequence: Dense, file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    labels, info = read_tensors(file, "dense", ["train_labels", "test_labels"])
    sizes = sequence.task_sizes()
    arrays: dict[str, np.ndarray] = {}
    for task in range(len(sizes)):
        classes = range(1 + sum(sizes[:task]), 1 + sum(sizes[: task + 1]))
        parts = dense_arrays(labels["train_labels"], labels["test_labels"], classes, f"sequence over {sequence.dataset}")
        arrays |= {task_key(task, part): array for part, array in parts.items()}
    return arrays, {
        "sizes": sizes,
        "datasets": [sequence.dataset] * len(sizes),
        "contents": {sequence.dataset: info["content"]},
        "image_shape": info["image_shape"],
        "class_names": [[str(label) for label in arrays[task_key(task, "classes")]] for task in range(len(sizes))],
        "backgrounds": None,
    }


_LEARNT_FROM = {"train": "train", "test": "test"}
"""Parts of a task in which each of its classes must be, and the data set's split that they are of."""


def refuse_vanished(
    where: str, of_parts: Mapping[str, np.ndarray], classes: Sequence[int] | np.ndarray, names: Sequence[str]
) -> None:
    """Every class of a task must be learnt and tested: a split may have taken the last image of one.

    Raises:
        UserError: a part, given by its images' labels, lacks some of the classes; they are named.
    """
    for part, labels in of_parts.items():
        absent = [names[int(label)] for label in classes if label not in labels]
        if absent:
            raise UserError(
                f"{where} has no {part} image of {', '.join(map(repr, absent))}; give more images, other classes or another "
                f"'validation' (of images sorted by class: 'fraction' and not 'first')"
            )


def cut(
    sequence: OneDataSet, train_labels: np.ndarray, test_labels: np.ndarray, classes: int, pixels: int
) -> dict[str, np.ndarray]:
    """The index arrays of every task (see the module's text); labels are int [N], each in 0..classes-1."""
    for part, labels in (("training", train_labels), ("test", test_labels)):
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise UserError(
                f"sequence over {sequence.dataset}: {part} labels run from {labels.min()} to {labels.max()}; its {classes} "
                f"classes are 0 to {classes - 1}"
            )
    held_out = validation_indices(sequence.validation, train_labels)
    is_held_out = np.zeros(len(train_labels), dtype=bool)
    is_held_out[held_out] = True
    arrays: dict[str, np.ndarray] = {}
    for task, own in enumerate(task_classes(sequence, classes)):
        train = np.isin(train_labels, own)
        arrays[task_key(task, "classes")] = own
        arrays[task_key(task, "train")] = np.flatnonzero(train & ~is_held_out)
        arrays[task_key(task, "validation")] = np.flatnonzero(train & is_held_out)
        arrays[task_key(task, "test")] = np.flatnonzero(np.isin(test_labels, own))
        if isinstance(sequence, Permuted):
            arrays[task_key(task, "permutation")] = permutation(sequence, task, pixels)
        for part in ("train", "validation", "test"):
            if not len(arrays[task_key(task, part)]):
                raise UserError(
                    f"sequence over {sequence.dataset}: task {task} has no {part} image (classes {own.tolist()}); "
                    f"give more images, other classes or a larger 'validation'"
                )
    return arrays


def task_classes(sequence: OneDataSet, classes: int) -> list[np.ndarray]:
    """The data set's labels of each task, in the order of the task's outputs."""
    if not isinstance(sequence, Split):
        return [np.arange(classes)] * sequence.count
    sizes = sequence.task_sizes()
    if sum(sizes) > classes:
        raise UserError(
            f"tasks of {sizes} classes need {sum(sizes)}; {sequence.dataset} has {classes}: take fewer tasks or classes"
        )
    order = np.arange(classes)
    if sequence.class_order_seed is not None:
        order = np.random.default_rng(sequence.class_order_seed).permutation(classes)
    return np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])


def permutation(sequence: Permuted, task: int, pixels: int) -> np.ndarray:
    """The order of the pixels in a permuted task: pixel i of the task is pixel permutation[i] of the image.

    `released`: the rule of ANPyC's code, `random.seed(task); random.shuffle(range(pixels))`, which permutes the first
    task too (reading N28). `numpy`: drawn from a generator seeded by (permutation_seed, task).
    """
    if sequence.permutation == "released":
        order = list(range(pixels))
        random.Random(task).shuffle(order)
        return np.array(order)
    return np.random.default_rng([sequence.permutation_seed or 0, task]).permutation(pixels)


def validation_indices(rule: Validation, train_labels: np.ndarray) -> np.ndarray:
    """Which training images are kept apart: the first so many, or a seeded share of each class (at least one)."""
    if rule.first is not None:
        if rule.first >= len(train_labels):
            raise UserError(f"validation.first: found {rule.first}; the data set has {len(train_labels)} training images")
        return np.arange(rule.first)
    assert rule.fraction is not None
    generator = np.random.default_rng(rule.seed)
    chosen = []
    for label in np.unique(train_labels):
        members = np.flatnonzero(train_labels == label)
        count = max(1, round(rule.fraction * len(members)))
        chosen.append(generator.permutation(members)[:count])
    return np.sort(np.concatenate(chosen))
