"""Quota, choice and shrinking of the exemplar memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.runtime.errors import UserError
from lifelong.training.exemplars import Memory, cut_memory, herding, join_memory, keep_exemplars, quota, split_of_task


def task_split(task: int, targets: list[int]) -> Split:
    """Image i of a task is one pixel of value 50 * task + i."""
    images = (50 * task + torch.arange(len(targets))).to(torch.uint8).view(-1, 1, 1, 1)
    return Split(images, torch.tensor(targets))


TWOS = Classes((2, 2))


def keep(
    memory: Memory | None, train: Split, task: int, per_task: int, total: int, features: torch.Tensor | None = None
) -> Memory:
    """A memory of `total` images, the first of each class or those that herding takes."""
    count = quota(total, (task + 1) * per_task)

    def choose(members: torch.Tensor) -> torch.Tensor:
        return members if features is None else members[herding(features[members], count)]

    return keep_exemplars(memory, train, task, Classes((per_task,) * 2), count, choose)


def pixels(memory: Memory) -> dict[int, list[int]]:
    return {
        int(label): memory["images"][memory["labels"] == label].flatten().tolist() for label in memory["labels"].unique()
    }


def test_the_first_of_each_class_in_the_order_of_the_data_set_under_a_shrinking_quota() -> None:
    first_task = keep(None, task_split(0, [0, 1, 0, 0, 1, 1, 0]), 0, 2, total=6)
    assert pixels(first_task) == {0: [0, 2, 3], 1: [1, 4, 5]}
    second = keep(first_task, task_split(1, [1, 1, 0]), 1, 2, total=7)
    assert pixels(second) == {0: [0], 1: [1], 2: [52], 3: [50]}
    both = keep(first_task, task_split(1, [1, 1, 0]), 1, 2, total=8)
    assert pixels(both) == {0: [0, 2], 1: [1, 4], 2: [52], 3: [50, 51]}
    assert both["labels"].tolist() == sorted(both["labels"].tolist())


def test_a_memory_smaller_than_the_classes_is_refused() -> None:
    assert [quota(2000, classes) for classes in (10, 30, 100)] == [200, 66, 20]
    with pytest.raises(UserError, match=r"memory.*found 3 for 4 classes"):
        keep(None, task_split(0, [0, 1, 2, 3]), 0, 4, total=3)


def test_rehearsal_joins_memory_and_task_with_labels_over_tasks() -> None:
    memory = keep(None, task_split(0, [1, 0, 1]), 0, 2, total=4)
    both = join_memory(task_split(1, [0, 1]), 1, TWOS, memory)
    assert both.images.flatten().tolist() == [50, 51, 1, 0, 2]
    assert both.targets.tolist() == [2, 3, 0, 1, 1]
    assert join_memory(task_split(1, [0, 1]), 1, TWOS, None).targets.tolist() == [2, 3]
    later = keep(memory, task_split(1, [0, 1]), 1, 2, total=4)
    assert split_of_task(later, 1, TWOS, task_split(0, [0])).targets.tolist() == [2, 3]
    assert split_of_task(later, 0, TWOS, task_split(0, [0])).images.flatten().tolist() == [1, 0]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_herding_takes_the_best_next_image_each_time(seed: int, images: int, count: int) -> None:
    features = np.random.default_rng(seed).normal(size=(images, 3))
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = herding(torch.from_numpy(features), count).tolist()
    assert len(set(found)) == len(found) == min(count, images)
    for place, image in enumerate(found):  # of two images as good, as any two alone are, either may come first
        scores = {
            i: float(np.linalg.norm(x.mean(0) - x[[*found[:place], i]].mean(0)))
            for i in range(images)
            if i not in found[:place]
        }
        assert scores[image] == pytest.approx(min(scores.values()), rel=0, abs=1e-12)


def test_herding_orders_so_that_a_prefix_can_stay() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 4)))
    long = herding(features, 10)
    assert torch.equal(herding(features, 4), long[:4])
    memory = keep(None, task_split(0, [0] * 20), 0, 1, total=10, features=features)
    assert memory["images"].flatten().tolist() == long.tolist()
    assert cut_memory(memory, 4)["images"].flatten().tolist() == long[:4].tolist()
