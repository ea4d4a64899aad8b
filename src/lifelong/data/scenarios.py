"""Scenarios: a data set cut into a sequence of tasks. A task is a set of indices and a label map; no pixel is copied.

The file of a scenario holds for task t (two digits) the arrays `task-t.train`, `.validation`, `.test` (int64 indices; the
first two into the training images, the last into the test images), `.classes` (int64 [c]: the data set's labels in the
task's own order, so that label `classes[k]` becomes k) and, for permuted tasks, `.permutation` (int64 [pixels]).
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from lifelong.artifacts import read_info, read_tensors, write_tensors
from lifelong.config.schema import Scenario, Validation
from lifelong.errors import UserError


def task_key(task: int, part: str) -> str:
    return f"task-{task:02d}.{part}"


def build(scenario: Scenario, images_file: Path, output: Path) -> None:
    """Write the tasks of a scenario over prepared images."""
    labels, info = read_tensors(images_file, "images", ["train_labels", "test_labels"])
    with_shape, _ = read_tensors(images_file, "images", ["test_images"])
    shape = list(with_shape["test_images"].shape[1:])
    arrays = cut(scenario, labels["train_labels"], labels["test_labels"], len(info["class_names"]), int(np.prod(shape)))
    write_tensors(
        output,
        "tasks",
        arrays,
        {
            "dataset": scenario.dataset,
            "content": info["content"],
            "tasks": scenario.tasks,
            "classes_per_task": len(arrays[task_key(0, "classes")]),
            "image_shape": shape,
            "class_names": info["class_names"],
        },
    )


def cut(
    scenario: Scenario, train_labels: np.ndarray, test_labels: np.ndarray, classes: int, pixels: int
) -> dict[str, np.ndarray]:
    """The index arrays of every task (see the module's text); labels are int [N], each in 0..classes-1."""
    held_out = validation_indices(scenario.validation, train_labels)
    is_held_out = np.zeros(len(train_labels), dtype=bool)
    is_held_out[held_out] = True
    arrays: dict[str, np.ndarray] = {}
    for task, own in enumerate(task_classes(scenario, classes)):
        train = np.isin(train_labels, own)
        arrays[task_key(task, "classes")] = own
        arrays[task_key(task, "train")] = np.flatnonzero(train & ~is_held_out)
        arrays[task_key(task, "validation")] = np.flatnonzero(train & is_held_out)
        arrays[task_key(task, "test")] = np.flatnonzero(np.isin(test_labels, own))
        if scenario.permutation is not None:
            arrays[task_key(task, "permutation")] = permutation(scenario, task, pixels)
        for part in ("train", "validation", "test"):
            if not len(arrays[task_key(task, part)]):
                raise UserError(
                    f"scenario over {scenario.dataset}: task {task} has no {part} image (classes {own.tolist()}); "
                    f"give more images, other classes or a larger 'validation'"
                )
    return arrays


def task_classes(scenario: Scenario, classes: int) -> list[np.ndarray]:
    """The data set's labels of each task, in the order of the task's outputs."""
    if scenario.kind in ("permuted", "repeated"):
        return [np.arange(classes)] * scenario.tasks
    per_task = scenario.classes_per_task
    assert per_task is not None
    if scenario.tasks * per_task > classes:
        raise UserError(
            f"{scenario.tasks} tasks of {per_task} classes want {scenario.tasks * per_task} classes; "
            f"{scenario.dataset} has {classes}: lower 'tasks' or 'classes_per_task'"
        )
    order = np.arange(classes)
    if scenario.class_order_seed is not None:
        order = np.random.default_rng(scenario.class_order_seed).permutation(classes)
    return [order[task * per_task : (task + 1) * per_task] for task in range(scenario.tasks)]


def permutation(scenario: Scenario, task: int, pixels: int) -> np.ndarray:
    """The order of the pixels in a permuted task: pixel i of the task is pixel permutation[i] of the image.

    `released`: the rule of ANPyC's code, `random.seed(task); random.shuffle(range(pixels))`, which permutes the first
    task too (dossier 3.1). `numpy`: drawn from a generator seeded by (permutation_seed, task).
    """
    if scenario.permutation == "released":
        order = list(range(pixels))
        random.Random(task).shuffle(order)
        return np.array(order)
    return np.random.default_rng([scenario.permutation_seed or 0, task]).permutation(pixels)


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


def describe(tasks_file: Path) -> dict[str, object]:
    """The header of a scenario's file: number of tasks, classes a task, image shape, class names."""
    return read_info(tasks_file, "tasks")
