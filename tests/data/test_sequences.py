"""A data set cut into tasks: which classes, which images, which order of pixels, and what a stage may see."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lifelong.data.sequences import build, cut, permutation, read_outline, task_classes, validation_indices
from lifelong.data.tensors import Split, load_task, load_test
from lifelong.params.sequences import Permuted, Repeated, Validation
from lifelong.params.sequences import Split as SplitSequence
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.errors import UserError

PARTS = ("train", "validation", "test")


def split_sequence(tasks: int, per_task: int, order_seed: int | None = None, **validation: Any) -> SplitSequence:
    written = {
        "dataset": "mine",
        "kind": "split",
        "tasks": tasks,
        "classes_per_task": per_task,
        "class_order_seed": order_seed,
    }
    return SplitSequence.model_validate(written | {"validation": validation or {"fraction": 0.2}})


def permuted_sequence(rule: str, tasks: int = 3, seed: int | None = None) -> Permuted:
    written = {"dataset": "mine", "kind": "permuted", "tasks": tasks, "permutation": rule, "permutation_seed": seed}
    return Permuted.model_validate(written | {"validation": {"fraction": 0.25}})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 3))
def test_sizes_may_differ(sizes: list[int], spare: int) -> None:
    ways: list[dict[str, Any]] = [{"sizes": sizes}]
    if len(set(sizes[1:])) == 1:
        ways.append({"tasks": len(sizes), "first": sizes[0], "each": sizes[1]})
    for way in ways:
        sequence = SplitSequence.model_validate({"dataset": "mine", "kind": "split", "validation": {"first": 1}} | way)
        found = task_classes(sequence, sum(sizes) + spare)
        assert [own.tolist() for own in found] == [
            list(range(sum(sizes[:task]), sum(sizes[: task + 1]))) for task in range(len(sizes))
        ]


@pytest.mark.parametrize("way", [{}, {"tasks": 2}, {"first": 2, "each": 1}, {"sizes": [1], "tasks": 1}])
def test_a_split_is_written_in_one_way(way: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a split sequence needs"):
        SplitSequence.model_validate({"dataset": "mine", "kind": "split", "validation": {"first": 1}} | way)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.none() | st.integers(0, 99))
def test_each_class_is_in_one_task(tasks: int, per_task: int, spare: int, seed: int | None) -> None:
    classes = tasks * per_task + spare
    found = task_classes(split_sequence(tasks, per_task, seed), classes)
    order = list(range(classes)) if seed is None else np.random.default_rng(seed).permutation(classes).tolist()
    assert [label for own in found for label in own] == order[: tasks * per_task]
    assert {len(own) for own in found} == {per_task} and len(found) == tasks


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.none() | st.integers(0, 9),
    st.lists(st.integers(3, 9), min_size=10, max_size=10),
    st.integers(0, 2**32),
    st.one_of(
        st.builds(lambda n: {"first": n}, st.integers(1, 20)), st.builds(lambda f: {"fraction": f}, st.floats(0.05, 0.6))
    ),
)
def test_parts_are_disjoint_and_complete(
    tasks: int, per_task: int, order_seed: int | None, counts: list[int], seed: int, validation: dict[str, Any]
) -> None:
    """Ten classes of a few images each, in any order; every image of the chosen classes is in one part of one task."""
    train_labels, test_labels = np.random.default_rng(seed).permuted([np.repeat(np.arange(10), counts)] * 2, axis=1)
    sequence = split_sequence(tasks, per_task, order_seed, **validation)
    try:
        arrays = cut(sequence, train_labels, test_labels, 10, 4)
    except UserError as error:
        assume("no train image" not in str(error) and "no validation image" not in str(error))
        raise
    for labels, parts in ((train_labels, ("train", "validation")), (test_labels, ("test",))):
        seen: list[int] = []
        for task in range(tasks):
            own = arrays[f"task-{task:02d}.classes"]
            for part in parts:
                chosen = arrays[f"task-{task:02d}.{part}"].tolist()
                assert all(labels[index] in own for index in chosen)
                seen += chosen
        used = task_classes(sequence, 10)
        assert sorted(seen) == [index for index, label in enumerate(labels) if label in np.concatenate(used)]
    held_out = set(validation_indices(sequence.validation, train_labels).tolist())
    for task in range(tasks):
        assert set(arrays[f"task-{task:02d}.validation"].tolist()) <= held_out
        assert not set(arrays[f"task-{task:02d}.train"].tolist()) & held_out


def test_validation_is_the_first_images() -> None:
    labels = np.array([2, 0, 1, 2, 0, 1])
    assert validation_indices(Validation(first=4), labels).tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"validation\.first: found 6; the data set has 6"):
        validation_indices(Validation(first=6), labels)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.floats(0.01, 0.9), st.integers(0, 99))
def test_validation_is_a_share_of_each_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    rule = Validation(fraction=fraction, seed=seed)
    chosen = validation_indices(rule, labels)
    assert len(set(chosen.tolist())) == len(chosen)
    for label, count in enumerate(counts):
        held = (labels[chosen] == label).sum()
        assert held == 1 or abs(held - fraction * count) <= 0.5
        assert held >= 1
    assert (validation_indices(rule, labels) == chosen).all()


def test_a_repeated_sequence_is_the_whole_data_set_every_time() -> None:
    written = {"dataset": "mine", "kind": "repeated", "tasks": 3, "validation": {"first": 10}}
    labels = np.arange(60) % 4
    arrays = cut(Repeated.model_validate(written), labels, labels[:20], 4, 6)
    for task in range(3):
        assert arrays[f"task-{task:02d}.train"].tolist() == list(range(10, 60))
        assert arrays[f"task-{task:02d}.validation"].tolist() == list(range(10))
        assert arrays[f"task-{task:02d}.test"].tolist() == list(range(20))
        assert arrays[f"task-{task:02d}.classes"].tolist() == [0, 1, 2, 3]
    assert not any("permutation" in key for key in arrays)
    with pytest.raises(ValueError, match="permutation"):
        Repeated.model_validate(written | {"permutation": "released"})


def test_validation_share_is_seeded() -> None:
    labels = np.arange(200) % 4
    found = [validation_indices(Validation(fraction=0.3, seed=seed), labels).tolist() for seed in (0, 1)]
    assert found[0] != found[1]


@pytest.mark.parametrize("task", [0, 1, 9])
@pytest.mark.parametrize("pixels", [6, 784])
def test_released_permutation(task: int, pixels: int) -> None:
    """Reading N28: random.seed(k); shuffle(range(784)); the first task is permuted too."""
    state = random.getstate()
    order = list(range(pixels))
    random.seed(task)
    random.shuffle(order)
    random.setstate(state)
    assert permutation(permuted_sequence("released"), task, pixels).tolist() == order != list(range(pixels))
    assert random.getstate() == state


def test_numpy_permutation_is_seeded_by_seed_and_task() -> None:
    sequence = permuted_sequence("numpy", seed=3)
    found = [permutation(permuted_sequence("numpy", seed=s), task, 50).tolist() for s in (3, 4) for task in (0, 1)]
    assert len({tuple(order) for order in found}) == 4
    assert all(sorted(order) == list(range(50)) for order in found)
    assert permutation(sequence, 0, 50).tolist() == found[0]
    assert found[1] == np.random.default_rng([3, 1]).permutation(50).tolist()


def written(
    folder: Path, sequence: SplitSequence | Permuted, content: str = "c" * 64
) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """Images of six classes, training pixels below 128 and test pixels above; the files and their arrays."""
    generator = np.random.default_rng(1)
    arrays = {
        "train_images": generator.integers(0, 128, (60, 2, 2, 3), dtype=np.uint8),
        "test_images": generator.integers(128, 256, (30, 2, 2, 3), dtype=np.uint8),
        "train_labels": generator.permutation(np.arange(60) % 6),
        "test_labels": generator.permutation(np.arange(30) % 6),
    }
    images, tasks = folder / "images.safetensors", folder / "tasks.safetensors"
    write_tensors(images, "images", arrays, {"content": content, "class_names": list("abcdef")})
    build(sequence, {"mine": images}, tasks)
    return images, tasks, arrays


def rows(split: Split) -> list[tuple[bytes, int]]:
    return [(image.numpy().tobytes(), int(target)) for image, target in zip(split.images, split.targets, strict=True)]


@pytest.mark.parametrize(
    "sequence",
    [
        split_sequence(3, 2, order_seed=1),
        split_sequence(2, 3),
        permuted_sequence("released"),
        permuted_sequence("numpy", seed=5),
    ],
    ids=["seeded order", "own order", "released", "numpy"],
)
def test_loaded_images_and_targets(tmp_path: Path, sequence: SplitSequence | Permuted) -> None:
    """Label classes[k] becomes k; pixel i is pixel order[i] of the image; a stage sees no test image."""
    images, tasks, arrays = written(tmp_path, sequence)
    for task, own in enumerate(task_classes(sequence, 6)):
        order = permutation(sequence, task, 12) if isinstance(sequence, Permuted) else np.arange(12)
        label_map = {int(label): place for place, label in enumerate(own)}
        loaded = load_task(images, tasks, task)
        test = load_test(images, tasks, task)
        assert loaded.index == task and loaded.classes.tolist() == own.tolist()
        for part, found in (("train", rows(loaded.train) + rows(loaded.validation)), ("test", rows(test))):
            expected = [
                (bytes(image.ravel()[order[i]] for i in range(12)), label_map[int(label)])
                for image, label in zip(arrays[f"{part}_images"], arrays[f"{part}_labels"], strict=True)
                if label in own
            ]
            assert sorted(found) == sorted(expected)
        assert loaded.train.images.shape[1:] == test.images.shape[1:] == (2, 2, 3)
        assert int(loaded.train.images.max()) < 128 <= int(test.images.min())
        if sequence.kind == "permuted":
            assert sorted(rows(loaded.train)) != sorted(rows(load_task(images, tasks, (task + 1) % 3).train))
    outline = read_outline(tasks)
    assert (len(outline.sizes), outline.image_shape) == (sequence.count, (2, 2, 3))
    assert outline.sizes == tuple(len(own) for own in task_classes(sequence, 6))
    assert outline.class_names[0] == tuple("abcdef"[label] for label in task_classes(sequence, 6)[0])


def test_batches_are_floats_from_0_to_1() -> None:
    split = Split(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.tensor([4, 5, 6]))
    images, targets = split.batch(torch.tensor([2, 1]))
    assert images.dtype == torch.float32
    assert images.flatten().tolist() == pytest.approx([1.0, 0.2])
    assert targets.tolist() == [6, 5]


@pytest.mark.parametrize("load", [load_task, load_test])
def test_what_does_not_fit_is_refused(tmp_path: Path, load: Any) -> None:
    images, tasks, _ = written(tmp_path, split_sequence(2, 3))
    for task in (-1, 2):
        with pytest.raises(UserError, match=rf"tasks.safetensors: has tasks 0 to 1; found task {task}"):
            load(images, tasks, task)
    images = written(tmp_path / "new", split_sequence(2, 3), content="d" * 64)[0]
    with pytest.raises(UserError, match=r"cut from images of content c+; found d+ .*delete the tasks file"):
        load(images, tasks, 0)


def test_a_task_without_images_is_refused() -> None:
    labels = np.arange(30) % 6
    with pytest.raises(UserError, match=r"task 1 has no test image \(classes \[2, 3\]\)"):
        cut(split_sequence(2, 2), labels, labels % 2, 6, 4)
    with pytest.raises(UserError, match=r"tasks of \[2, 2, 2, 2\] classes need 8; mine has 6"):
        task_classes(split_sequence(4, 2), 6)
