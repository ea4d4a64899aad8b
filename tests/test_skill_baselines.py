"""Learners of one network on features: superposition, supermasks, a memory that grows, and how all of them are judged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collectives import three_folders
from conftest import until_done
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lifelong import config, layout
from lifelong.artifacts import read_json, write_tensors
from lifelong.config import Experiment
from lifelong.config.networks import MlpNetwork
from lifelong.config.skill_baselines import Baseline, Baselines
from lifelong.config.skill_methods import Learner, learner
from lifelong.errors import UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.job import Job, State
from lifelong.methods.skill.baselines import psp, replay, supsup
from lifelong.methods.skill.baselines import run as runner
from lifelong.methods.skill.baselines.data import Course, course, features_of
from lifelong.methods.skill.selection import TaskData
from lifelong.networks.base import Network

NEVER = Checkpoints(Path("none"), seconds=math.inf)
WIDTH, HIDDEN = 6, 5
CLASSES = (2, 3, 2)


def data(task: int, seed: int, count: int = 40) -> TaskData:
    random = np.random.default_rng([task, seed])
    labels = random.permutation(np.arange(count) % CLASSES[task])
    centres = 3 * np.random.default_rng(task).standard_normal((CLASSES[task], WIDTH))
    rows = (centres[labels] + random.standard_normal((count, WIDTH))).astype(np.float32)
    return TaskData(rows, labels, tuple(f"{task}-{label}" for label in range(CLASSES[task])))


def three() -> Course:
    return course([data(t, 0) for t in range(3)], [data(t, 1) for t in range(3)], 0.2, 0, features_of)


def settings(**budget: Any) -> Baselines:
    written: dict[str, Any] = {"hidden": [HIDDEN], "epochs": 2, "batch_size": 8, "learning_rate": 0.01} | budget
    return Baselines(**written, learners={"unused": Baseline(method="finetune")})


def named(method: str, **entry: Any) -> Learner:
    return learner(Baseline(method=method, **entry), "here")


def experiment_of(chosen: Learner, tasks: Course, budget: Baselines) -> Experiment:
    network = MlpNetwork(kind="mlp", hidden=budget.hidden, initialisation="uniform-fan-in")
    return runner.experiment("tiny", budget, chosen, chosen.candidates[0], tasks, network)


def job_of(
    method: str, task: int, stage: str = "learn", seed: int = 0, budget: dict[str, Any] | None = None, **entry: Any
) -> Job:
    chosen, tasks = named(method, **entry), three()
    made = experiment_of(chosen, tasks, settings(**(budget or {})))
    return Job(made, seed, stage, [tasks.tasks[task]], 3, tasks.outputs, (WIDTH,), NEVER)


# PSP


def test_superposed_layers_are_products_with_the_diagonal_of_their_key() -> None:
    job = job_of("psp", 0)
    network = job.network(None)
    x = three().tests[0].images
    found = psp.network_of(job, {"network": network.state_dict()}, 1)(x, 0)
    one, two = (key.double().numpy() for key in psp.keys([WIDTH, HIDDEN], 0, 1))
    w = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    inner = np.maximum(x.double().numpy() @ (w["hidden.0.weight"] @ np.diag(one)).T + w["hidden.0.bias"], 0)
    expected = inner @ (w["heads.0.weight"] @ np.diag(two)).T + w["heads.0.bias"]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 50), st.integers(0, 50))
def test_keys_are_signs_of_their_task_and_nearly_orthogonal(task: int, other: int) -> None:
    width = 4096
    one, two = psp.keys([width], 0, task)[0], psp.keys([width], 0, other)[0]
    assert torch.equal(one.abs(), torch.ones(width))
    assert abs(float(one.mean())) < 5 / math.sqrt(width)
    if task == other:
        assert torch.equal(one, two)
    else:
        assert abs(float(one @ two)) / width < 5 / math.sqrt(width)


def test_superposition_learns_the_shared_weights_behind_the_key() -> None:
    """One batch of one epoch: Adam's first step goes by the learning rate against the sign of the gradient."""
    job = job_of("psp", 1, budget={"epochs": 1, "batch_size": 1000})
    before = {name: tensor.clone() for name, tensor in job.network(None).state_dict().items()}
    after = psp.learn(job, {"network": before})["network"]
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in before.items()}
    one, two = psp.keys([WIDTH, HIDDEN], 0, 1)
    x, y = job.task.train.images, job.task.train.targets
    inner = torch.relu((x * one) @ leaves["hidden.0.weight"].T + leaves["hidden.0.bias"]) * two
    F.cross_entropy(inner @ leaves["heads.0.weight"].T + leaves["heads.0.bias"], y).backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        clear = leaf.grad.abs() > 1e-5
        assert clear.any()
        moved = (after[name] - before[name])[clear]
        torch.testing.assert_close(moved, -0.01 * leaf.grad[clear].sign(), rtol=1e-2, atol=1e-5)


# SupSup


@given(st.integers(2, 40), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_a_mask_keeps_the_largest_scores(count: int, kept: float, seed: int) -> None:
    scores = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    mask = supsup.mask_of(scores, kept)
    chosen = round(kept * scores.numel())
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert int(mask.sum()) == chosen
    if 0 < chosen < scores.numel():
        assert scores[mask == 1].min() >= scores[mask == 0].max()


def test_scores_learn_straight_through_the_mask() -> None:
    random = torch.Generator().manual_seed(0)
    weight, scores = torch.randn(4, 3, generator=random), torch.randn(4, 3, generator=random)
    x, g = torch.randn(7, 3, generator=random), torch.randn(7, 4, generator=random)
    layer = supsup.MaskedLinear(weight, scores.clone(), 0.5)
    found = layer(x)
    order = np.argsort(-scores.numpy().ravel())[:6]
    mask = np.zeros(12)
    mask[order] = 1
    np.testing.assert_allclose(
        found.detach().numpy(), x.numpy() @ (mask.reshape(4, 3) * weight.numpy()).T, rtol=1e-5, atol=1e-6
    )
    (found * g).sum().backward()
    assert layer.scores.grad is not None
    np.testing.assert_allclose(layer.scores.grad.numpy(), (g.T @ x * weight).numpy(), rtol=1e-5, atol=1e-6)


def test_random_weights_are_one_size_of_either_sign_and_every_tasks() -> None:
    networks = [supsup.random_network(job_of("supsup", task, options={"kept": 0.25}), task) for task in (0, 2)]
    layers = [[*network.hidden, *network.heads] for network in networks]
    for one, two, fan_in in zip(*layers, (WIDTH, HIDDEN), strict=True):
        assert torch.equal(one.weight, two.weight)
        assert not torch.equal(one.scores, two.scores)
        torch.testing.assert_close(one.weight.abs(), torch.full_like(one.weight, math.sqrt(2 / (fan_in * 0.25))))
        assert 0 < int((one.weight > 0).sum()) < one.weight.numel()


def test_another_tasks_mask_leaves_the_first_tasks_answers_as_they_are() -> None:
    first: State = supsup.learn(job_of("supsup", 0), None)
    second = supsup.learn(job_of("supsup", 1), first)
    x = three().tests[0].images
    with torch.no_grad():
        before = supsup.network_of(job_of("supsup", 0), first, 0)(x, 0)
        after = supsup.network_of(job_of("supsup", 1), second, 0)(x, 0)
        other = supsup.network_of(job_of("supsup", 1), second, 1)(x, 0)
    assert torch.equal(before, after)
    assert not torch.equal(before, other)


# ER


def test_the_memory_grows_by_so_many_of_each_class_and_forgets_none() -> None:
    entry: dict[str, Any] = {"options": {"per_class": 4}}
    state: State = {"network": {}, "memory": {}}
    state = replay.remember(job_of("er", 0, "remember", **entry), state)
    first = state["memory"]
    state = replay.remember(job_of("er", 1, "remember", **entry), state)
    memory = state["memory"]
    assert memory["labels"].tolist() == [0] * 4 + [1] * 4 + [3] * 4 + [4] * 4 + [5] * 4  # three outputs a task
    assert torch.equal(memory["images"][:8], first["images"])
    train = three().tasks[1].train
    for row, label in zip(memory["images"][8:], memory["labels"][8:], strict=True):
        place = (train.images == row).all(1).nonzero().flatten()
        assert train.targets[place].tolist() == [int(label) - 3]


def test_fewer_images_than_asked_are_all_kept() -> None:
    job = job_of("er", 0, "remember", options={"per_class": 1000})
    memory = replay.remember(job, {"network": {}, "memory": {}})["memory"]
    assert len(memory["labels"]) == len(job.task.train)


# How learners are run and judged


class Fixed(Network):
    """Answers with given logits."""

    def __init__(self, found: torch.Tensor) -> None:
        super().__init__()
        self.found = found

    def all_logits(self, images: torch.Tensor) -> torch.Tensor:
        return self.found


def test_told_only_the_tasks_own_classes_answer_and_untold_all_so_far_but_no_padding() -> None:
    tasks = three()
    random = np.random.default_rng(0)
    for task, last in ((0, 0), (0, 2), (1, 1), (2, 2)):
        count = len(tasks.tests[task])
        z = random.standard_normal((count, 9)).astype(np.float32)
        z[:, [2, 8]] += 100  # outputs of tasks 0 and 2 that stand for no class
        told, free = runner.accuracies(Fixed(torch.from_numpy(z)), tasks, "all-classes", task, last)
        real = [3 * t + c for t in range(last + 1) for c in range(CLASSES[t])]
        labels = tasks.tests[task].targets.numpy()
        own = [max(range(CLASSES[task]), key=lambda c: row[3 * task + c]) for row in z]
        every = [max(real, key=lambda k: row[k]) for row in z]
        assert told == pytest.approx(np.mean(own == labels))
        assert free == pytest.approx(np.mean(np.array(every) == labels + 3 * task))
    shared = random.standard_normal((len(tasks.tests[0]), 3)).astype(np.float32)
    told, free = runner.accuracies(Fixed(torch.from_numpy(shared)), tasks, "shared", 0, 0)
    assert told == pytest.approx(np.mean(shared[:, :2].argmax(1) == tasks.tests[0].targets.numpy()))
    assert free is None


ENTRIES: dict[str, dict[str, Any]] = {
    "sgd": {"heads": "all-classes"},
    "finetune": {},
    "ewc": {"options": {"strength": 5}},
    "ewc-online": {"options": {"strength": 5, "gamma": 0.9}},
    "si": {},
    "mas": {"options": {"strength": 0.1}},
    "lwf": {"options": {"strength": 1}},
    "er": {},
    "joint": {},
    "psp": {},
    "supsup": {},
}


@pytest.mark.parametrize("method", ENTRIES)
def test_every_method_learns_the_course(method: str) -> None:
    """Better than chance on the last task; rows as they must be; only what has no shared outputs answers untold."""
    chosen, tasks = named(method, **ENTRIES[method]), three()
    made = experiment_of(chosen, tasks, settings(epochs=15, hidden=[24]))
    told, free = runner.run(made, chosen, 0, tasks, NEVER)
    lengths = [3] if method == "joint" else [1, 2, 3]
    assert [len(row) for row in told] == lengths
    assert told[-1][2] > 0.7
    assert (free is None) == (chosen.heads == "shared")
    if free is not None:
        assert [len(row) for row in free] == lengths
        assert all(b <= a for one, two in zip(told, free, strict=True) for a, b in zip(one, two, strict=True))
    if method == "supsup":
        assert told[2][0] == told[1][0] == told[0][0]


# The job


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Features of three data sets as the extraction leaves them."""
    monkeypatch.chdir(tmp_path)
    for task in range(3):
        for seed, split in enumerate(("train", "test")):
            write_features(task, split, data(task, seed))
    yield tmp_path


def write_features(task: int, split: str, found: TaskData) -> None:
    about = {"class_names": list(found.names), "classes": list(range(CLASSES[task])), "backbone": "b"}
    digest = str(hash(found.rows.tobytes()))
    arrays = {"features": found.rows, "labels": found.labels}
    write_tensors(layout.features("random", "all", f"set-{task}", split), "features", arrays, {**about, "sha256": digest})


def written(**learners: Any) -> config.Settings:
    budget = {"hidden": [HIDDEN], "epochs": 2, "batch_size": 8, "tuning_tasks": 2}
    return three_folders({"kind": "random", "image_size": 8, "widths": [4]}, budget | {"learners": learners})


def result(label: str) -> Any:
    return read_json(layout.baseline("tiny", 0, label))


def test_a_grid_is_decided_on_validation_images_alone(place: Path) -> None:
    settings = written(EWC={"method": "ewc", "grid": {"strength": [1.0, 1e30, 2.0]}})
    runner.baseline(settings.skill, "tiny", 0, "EWC")
    before = result("EWC")
    values = [candidate["validation"] for candidate in before["candidates"]]
    best = values.index(max(value for value in values if value is not None))
    assert before["options"] == before["candidates"][best]["options"]
    for task in range(3):  # other test images: other scores, the same choice
        write_features(task, "test", data(task, 7))
    runner.baseline(settings.skill, "tiny", 0, "EWC")
    after = result("EWC")
    assert after["candidates"] == before["candidates"]
    assert after["told"] != before["told"]


@pytest.mark.parametrize("label", ["ER", "SupSup"])
def test_a_killed_course_goes_on_where_it_was(place: Path, monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    settings = written(ER={"method": "er", "grid": {"per_class": [2, 3]}}, SupSup={"method": "supsup"})
    runner.baseline(settings.skill, "tiny", 0, label)
    path = layout.baseline("tiny", 0, label)
    whole = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(Checkpoints, "due", lambda self: self.seconds != math.inf)
    learnt: list[int] = []
    module = replay if label == "ER" else supsup
    learn = module.learn

    def dying(job: Job, state: State | None) -> State:
        learnt.append(job.task.index)
        if len(learnt) % 3 == 0:
            raise KeyboardInterrupt
        return learn(job, state)

    monkeypatch.setattr(module, "learn", dying)
    until_done(lambda: runner.baseline(settings.skill, "tiny", 0, label))
    assert path.read_bytes() == whole
    assert len(learnt) > 3
    assert not list(layout.CHECKPOINTS.iterdir())


def test_what_params_say_wrongly_is_named() -> None:
    for entry, message in (
        ({"method": "pspp"}, "learners.X.method: 'pspp' is no baseline of SKILL; allowed: "),
        ({"method": "psp", "heads": "per-task"}, "learners.X.heads: 'per-task' does not fit method 'psp'"),
        ({"method": "supsup", "options": {"keep": 0.5}}, "learners.X.options.keep: unknown key"),
        ({"method": "si", "options": {"strength": 1}, "grid": {"strength": [1]}}, "'strength' is also in 'options'"),
        ({"method": "ewc"}, "learners.X.options.strength: this key is missing"),
    ):
        with pytest.raises(UserError) as caught:
            written(X=entry)
        assert str(caught.value).startswith("params.yaml: skill.collectives.tiny.baselines.learners.X.")
        assert message in str(caught.value)


def test_an_unknown_learner_is_named(place: Path) -> None:
    with pytest.raises(UserError, match=r"baselines has no 'ERR'; allowed: ER\. Did you mean 'ER'\?"):
        runner.baseline(written(ER={"method": "er"}).skill, "tiny", 0, "ERR")
