"""Heads, tasks and validation splits of SKILL, and heads used again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.elsewhere import elsewhere
from torch.nn import functional

from lifelong.data.selection import TaskData, choose_classes, choose_images, rows_of_task, validation_split
from lifelong.methods.skill import names, reuse
from lifelong.methods.skill.evaluate import _scores
from lifelong.methods.skill.heads import biased_logits, initial_head, linear, train_biased, train_linear
from lifelong.methods.skill.reuse import normalised, train_normalised
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.load import load_backbone
from lifelong.networks.backbones.random_network import RandomNetwork
from lifelong.params.backbones import RandomBackbone
from lifelong.params.sequences import TaskEntry, Tier
from lifelong.params.skill import BiasHead, LinearHead
from lifelong.params.skill_reuse import ClassOf, Harvest, Reuse
from lifelong.runtime.device import computing_on
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import generator
from lifelong.training.checkpoints import Checkpoints

NEVER = Checkpoints(Path("none"), seconds=float("inf"))


def task_data(seed: int, count: int = 40, width: int = 5, classes: int = 3) -> TaskData:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    centres = 2 * np.random.default_rng(0).standard_normal((classes, width))
    rows = (centres[labels] + random.standard_normal((count, width))).astype(np.float32)
    return TaskData(rows, labels, tuple("abc"[:classes]))


def reference(
    train: TaskData, judged: TaskData, settings: LinearHead, seed: int
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Adam as its authors write it, on autograd's gradients of the cross-entropy."""
    layer = initial_head(3, 5, seed, "t")
    m, v = ({name: torch.zeros_like(tensor) for name, tensor in layer.items()} for _ in range(2))
    x, y = torch.from_numpy(train.rows), torch.from_numpy(train.labels)
    scores: list[float] = []
    kept: dict[str, torch.Tensor] = {}
    t = 0
    for epoch in range(1, settings.epochs + 1):
        for index in torch.randperm(len(y), generator=generator(seed, "t", "order", epoch)).split(settings.batch_size):
            t += 1
            leaves = {name: tensor.requires_grad_() for name, tensor in layer.items()}
            loss = functional.cross_entropy(linear(leaves, x[index]), y[index])
            for (name, leaf), g in zip(leaves.items(), torch.autograd.grad(loss, list(leaves.values())), strict=True):
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.999 * v[name] + 0.001 * g * g
                step = (m[name] / (1 - 0.9**t)) / ((v[name] / (1 - 0.999**t)).sqrt() + 1e-8)
                layer[name] = leaf.detach() - settings.learning_rate * step
        guessed = linear(layer, torch.from_numpy(judged.rows)).argmax(1).numpy()
        scores.append(float((guessed == judged.labels).mean()))
        if scores[-1] > max(scores[:-1], default=-1):
            kept = dict(layer)
    return kept, scores


def test_a_head_is_trained_by_adam_and_the_first_best_epoch_kept() -> None:
    settings = LinearHead(kind="linear", learning_rate=0.05, batch_size=16, epochs=6)
    train, judged = task_data(1), task_data(2)
    found = train_linear(train, judged, settings, 3, "t")
    expected, scores = reference(train, judged, settings, 3)
    assert [row["accuracy"] for row in found.curve] == pytest.approx(scores)
    assert found.epoch == 1 + int(np.argmax(scores))
    for name in expected:
        torch.testing.assert_close(found.parameters[name], expected[name], rtol=1e-4, atol=1e-5)


def test_training_stops_after_more_than_patience_epochs_without_a_better_score() -> None:
    one_class = task_data(0)
    judged = one_class.at(np.flatnonzero(one_class.labels == 0)[:1])
    found = train_linear(one_class, judged, LinearHead(kind="linear", epochs=50, patience=3), 0, "t")
    assert len(found.curve) == found.epoch + 4


SETTINGS = RandomBackbone(kind="random", image_size=8, widths=[4, 6])


def images(seed: int, count: int = 12) -> TaskData:
    random = np.random.default_rng(seed)
    return TaskData(random.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8), random.integers(0, 2, count), ("a", "b"))


def biased() -> BiasedBackbone:
    return BiasedBackbone(load_backbone("x", SETTINGS, Path(), []), 8)


def test_biases_learn_with_the_head_and_the_backbone_does_not() -> None:
    backbone = biased()
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    head = BiasHead(kind="beneficial-biases", epochs=2, batch_size=4, learning_rate=0.01)
    found = train_biased(backbone, SETTINGS, images(0), images(1), head, 0, "t", 6, NEVER)
    assert found.parameters["biases"].shape == (4 + 4 + 6,)
    assert found.parameters["biases"].abs().max() > 1e-4
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.network.state_dict().items())
    logits = biased_logits(backbone, SETTINGS, found.parameters, images(1).rows)
    assert (logits.argmax(1) == images(1).labels).mean() == pytest.approx(found.score)


def test_elsewhere_the_same_is_learnt() -> None:
    head = BiasHead(kind="beneficial-biases", epochs=2, batch_size=4, learning_rate=0.01)
    here = train_biased(biased(), SETTINGS, images(0), images(1), head, 0, "t", 6, NEVER)
    with elsewhere() as device, computing_on(device):
        there = train_biased(biased(), SETTINGS, images(0), images(1), head, 0, "t", 6, NEVER)
        near = {name: tensor.cpu() for name, tensor in there.parameters.items()}
    torch.testing.assert_close(near, here.parameters, rtol=1e-3, atol=1e-4)


def test_a_killed_head_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = BiasHead(kind="beneficial-biases", epochs=4, batch_size=4)
    arguments = (SETTINGS, images(0), images(1))
    at_once = train_biased(biased(), *arguments, whole, 0, "t", 6, NEVER)
    kept = Checkpoints(tmp_path, seconds=0)
    train_biased(biased(), *arguments, whole.model_copy(update={"epochs": 2}), 0, "t", 6, kept)
    resumed = train_biased(biased(), *arguments, whole, 0, "t", 6, kept)
    assert resumed.curve == at_once.curve
    assert all(torch.equal(resumed.parameters[name], tensor) for name, tensor in at_once.parameters.items())


def test_the_random_backbone_depends_on_its_seed_alone() -> None:
    one, two = (RandomNetwork([4, 6], 1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_smaller_tier_is_part_of_a_larger_one(few: int, many: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 60)
    few, many = sorted((few, many))
    small, large = (choose_images(labels, range(3), "train", Tier(train_per_class=n)) for n in (few, many))
    assert set(small) <= set(large)
    assert all((labels[small] == c).sum() == min(few, (labels == c).sum()) for c in range(3))
    assert sorted(small) == list(small)


def test_a_total_is_spread_over_the_classes() -> None:
    """round(54000 / c) a class, reading S23."""
    labels = np.repeat(np.arange(4), 20)
    chosen = choose_images(labels, range(4), "train", Tier(train=30))
    assert np.bincount(labels[chosen]).tolist() == [round(30 / 4)] * 4
    assert not np.array_equal(chosen, choose_images(labels, range(4), "train", Tier(train=30, seed=1)))
    assert len(choose_images(labels, range(4), "test", Tier(train=30))) == 80
    assert len(choose_classes(2526, Tier(classes=500))) == 500
    assert choose_classes(3, Tier(classes=500)) == [0, 1, 2]


def test_classes_of_a_task_by_name_in_the_order_of_its_list() -> None:
    labels = np.array([2, 0, 1, 2, 0])
    entry = TaskEntry(name="t", dataset="d", classes=["c", "a"])
    kept, own, class_names = rows_of_task(labels, [0, 1, 2], ["a", "b", "c"], entry)
    assert kept.tolist() == [0, 1, 3, 4] and own.tolist() == [0, 1, 0, 1] and class_names == ("c", "a")
    with pytest.raises(UserError, match="d has no class 'x'"):
        rows_of_task(labels, [0, 1, 2], ["a", "b", "c"], TaskEntry(name="t", dataset="d", classes=["a", "x"]))


@given(st.integers(2, 30), st.floats(0.01, 0.99))
def test_validation_has_some_of_each_class_and_leaves_some(count: int, fraction: float) -> None:
    labels = np.repeat([0, 1], [count, 2])
    train, validation = validation_split(labels, fraction, 0)
    assert sorted([*train, *validation]) == list(range(count + 2))
    assert set(labels[train]) == set(labels[validation]) == {0, 1}


def test_scores_ask_for_the_right_task_and_the_right_class() -> None:
    owners = np.array([0, 0, 1, 1])
    guessed = np.array([[0, 0, 0, 0], [0, 1, 1, 1]])
    right = np.array([True, True, True, False])
    found = _scores(guessed, owners, right)
    assert found["mapper"] == [[1.0], [0.5, 1.0]]
    assert found["final"] == [[1.0], [0.5, 0.5]]
    assert found["oracle"] == [1.0, 0.5]
    assert found["mapper_pooled"] == [1.0, 0.75]


def test_rows_are_used_divided_by_their_largest_entry() -> None:
    weight = torch.tensor([[2.0, -4.0], [0.5, 0.25]])
    torch.testing.assert_close(normalised(weight), torch.tensor([[0.5, -1.0], [1.0, 0.5]]))
    train, test = task_data(1), task_data(2)
    settings = Reuse(variant="x", pairs=["a", "b"], learning_rate=0.05)
    found, curve = train_normalised(torch.randn(3, 5), train, test, 5, settings, (0, "t"))
    torch.testing.assert_close(found.abs().amax(1), torch.ones(3))
    assert len(curve) == 6
    assert curve[-1] == pytest.approx(((test.rows @ found.numpy().T).argmax(1) == test.labels).mean())


def test_rows_start_a_union_at_what_they_know() -> None:
    """Epoch 0 of two heads together is each head's own answer, where the other does not interfere."""
    train, test = task_data(1), task_data(2)
    settings = Reuse(variant="x", pairs=["a", "b"], learning_rate=0.05)
    head, curve = train_normalised(torch.randn(3, 5), train, test, 5, settings, (0, "t"))
    _, again = train_normalised(head, train, test, 1, settings, (0, "t"))
    assert again[0] == curve[-1]


def test_a_harvest_starts_each_class_at_the_row_of_its_match() -> None:
    """No epoch: the accuracy is that of the old rows on the images of the new classes, in the order of the matches."""
    splits = {task: (task_data(number), task_data(number + 10)) for number, task in enumerate(("old", "new"))}
    heads = {"old": torch.randn(3, 5, generator=generator(0))}
    chosen = [(("new", "c"), ("old", "a")), (("new", "a"), ("old", "b"))]
    matches = [{"new": {"task": new[0], "label": new[1]}, "old": {"task": old[0], "label": old[1]}} for new, old in chosen]
    harvest = Harvest.model_validate({"name": "h", "matches": matches})
    settings = Reuse(variant="v", pairs=["old", "new"], harvests=[harvest], epochs=1)
    found = reuse._harvest(splits, heads, settings, 0, harvest)
    rows = (heads["old"] / heads["old"].abs().amax(1, keepdim=True)).numpy()[[0, 1]]
    test = splits["new"][1]
    right = [
        (rows @ row).argmax() == {2: 0, 0: 1}[int(label)]
        for row, label in zip(test.rows, test.labels, strict=True)
        if label in (2, 0)
    ]
    assert found["reused"][0] == pytest.approx(np.mean(right))
    assert found["matched"] == [["c", "a"], ["a", "b"]]
    assert len(found["reused"]) == len(found["random"]) == 2
    with pytest.raises(UserError, match="new has no class 'd'"):
        reuse.place(splits, ClassOf(task="new", label="d"))


def test_names_are_compared_as_plain_words() -> None:
    assert names.plain("maple_tree") == "maple tree"
    assert names.plain("Sunflowers") == "sunflower"
    assert names.plain("T-shirt/top") == "t shirt top"
    assert names.plain("glass") == "glass"
    found = names.same_name(["Roses", "glass"], ["rose", "glasses"])
    assert found.tolist() == [[True, False], [False, False]]
