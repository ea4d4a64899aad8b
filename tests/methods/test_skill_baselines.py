"""Learners of one network on features of data sets: superposition, supermasks, a memory that grows, and their scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.collectives import three_sets
from support.jobs import run_job
from support.resuming import kill_after_saves
from support.tiny import call, forward, identical, until_done
from torch.nn import functional as F

from lifelong import params
from lifelong.data import sequences
from lifelong.data.classes import Classes
from lifelong.data.selection import TaskData, validation_split
from lifelong.data.tensors import Features, Task
from lifelong.evaluation.answers import class_answers, task_answers
from lifelong.evaluation.protocols import CHUNKS
from lifelong.methods.psp import stages as psp
from lifelong.methods.supsup import SupSupOptions
from lifelong.methods.supsup import stages as supsup
from lifelong.params import Experiment, Settings
from lifelong.pipeline.choose import choose
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.fingerprints import fingerprint
from lifelong.pipeline.graph import final_state, source_files, stages_of
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.stages import scores_parts, stage_fingerprint
from lifelong.pipeline.states import read_state
from lifelong.pipeline.summarise import summarise
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_record, read_result, write_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import generator
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit
from lifelong.training.job import Job, State
from lifelong.training.rehearsal import remember

WIDTH, HIDDEN = 6, 5
CLASSES = (2, 3, 2)
FIRST = (0, 2, 5)
"""Where each task's classes begin among all."""
NETWORK = {"kind": "backbone", "backbone": "random", "hidden": [HIDDEN]}
RANDOM = {"kind": "random", "image_size": 8, "widths": [4]}


def data(task: int, seed: int, count: int = 40) -> TaskData:
    random = np.random.default_rng([task, seed])
    labels = random.permutation(np.arange(count) % CLASSES[task])
    centres = 3 * np.random.default_rng(task).standard_normal((CLASSES[task], WIDTH))
    rows = (centres[labels] + random.standard_normal((count, WIDTH))).astype(np.float32)
    return TaskData(rows, labels, tuple(f"{task}-{label}" for label in range(CLASSES[task])))


def written(network: dict[str, Any] | None = None, **experiments: Any) -> Settings:
    return three_sets(experiments, network or NETWORK, RANDOM)


def features_of(found: TaskData) -> Features:
    return Features(torch.from_numpy(found.rows), torch.from_numpy(found.labels))


def task_of(index: int) -> Task:
    found = data(index, 0)
    train, held = validation_split(found.labels, 0.2, 0)
    return Task(index, features_of(found.at(train)), features_of(found.at(held)), torch.arange(CLASSES[index]))


def job_of(method: str, task: int, stage: str = "learn", budget: dict[str, Any] | None = None, **entry: Any) -> Job:
    settings = three_sets({"x": {"method": method} | entry}, NETWORK, RANDOM, **(budget or {}))
    return Job(
        experiment=settings.experiment("x"),
        seed=0,
        classes=Classes(CLASSES),
        image_shape=(WIDTH,),
        stage=stage,
        data=[task_of(task)],
        checkpoints=Checkpoints(Path("none"), seconds=math.inf),
    )


def options_of(job: Job) -> SupSupOptions:
    assert isinstance(job.experiment.options, SupSupOptions)
    return job.experiment.options


# PSP


def test_superposed_layers_are_products_with_the_diagonal_of_their_key() -> None:
    job = job_of("psp", 0)
    network = job.network(None)
    x = torch.from_numpy(data(0, 1).rows)
    found = psp.network_of(job, job.experiment.options, {"network": network.state_dict()}, 1)(x, 0)
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
    after = call(psp.learn, job, {"network": before})["network"]
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
    jobs = [job_of("supsup", task, options={"kept": 0.25}) for task in (0, 2)]
    networks = [supsup.random_network(job, options_of(job), task) for job, task in zip(jobs, (0, 2), strict=True)]
    layers = [[*network.hidden, *network.heads] for network in networks]
    for one, two, fan_in in zip(*layers, (WIDTH, HIDDEN), strict=True):
        assert torch.equal(one.weight, two.weight)
        assert not torch.equal(one.scores, two.scores)
        torch.testing.assert_close(one.weight.abs(), torch.full_like(one.weight, math.sqrt(2 / (fan_in * 0.25))))
        assert 0 < int((one.weight > 0).sum()) < one.weight.numel()


def test_another_tasks_mask_leaves_the_first_tasks_answers_as_they_are() -> None:
    job, next_job = job_of("supsup", 0), job_of("supsup", 1)
    options = options_of(job)
    first: State = supsup.learn(job, options, None)
    second = supsup.learn(next_job, options, first)
    x = torch.from_numpy(data(0, 1).rows)
    with torch.no_grad():
        before = supsup.network_of(job, options, first, 0)(x, 0)
        after = supsup.network_of(next_job, options, second, 0)(x, 0)
        other = supsup.network_of(next_job, options, second, 1)(x, 0)
    assert torch.equal(before, after)
    assert not torch.equal(before, other)


# ER


GROWING: dict[str, Any] = {"options": {"per_class": 4, "selection": "random"}}


def test_the_memory_grows_by_so_many_of_each_class_and_forgets_none() -> None:
    state: State = {"network": {}, "memory": {}}
    state = call(remember, job_of("er", 0, "remember", **GROWING), state)
    first = state["memory"]
    state = call(remember, job_of("er", 1, "remember", **GROWING), state)
    memory = state["memory"]
    assert memory["labels"].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert torch.equal(memory["images"][:8], first["images"])
    train = task_of(1).train
    for row, label in zip(memory["images"][8:], memory["labels"][8:], strict=True):
        place = (train.images == row).all(1).nonzero().flatten()
        assert train.targets[place].tolist() == [int(label) - FIRST[1]]
    assert len(memory["images"].unique(dim=0)) == len(memory["images"])


def test_what_is_remembered_is_drawn_by_the_seed() -> None:
    def chosen(seed: int) -> torch.Tensor:
        job = job_of("er", 0, "remember", **GROWING)
        job.seed = seed
        return call(remember, job, {"network": {}, "memory": {}})["memory"]["images"]

    assert torch.equal(chosen(0), chosen(0))
    assert not torch.equal(chosen(0), chosen(1))


def test_fewer_images_than_asked_are_all_kept() -> None:
    job = job_of("er", 0, "remember", options={"per_class": 1000, "selection": "random"})
    memory = call(remember, job, {"network": {}, "memory": {}})["memory"]
    assert len(memory["labels"]) == len(job.task.train)


# How learners are run and judged


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1000))
def test_told_only_the_tasks_own_classes_answer_and_untold_all_so_far(task: int, last: int, seed: int) -> None:
    """Tasks of 2, 3 and 2 classes."""
    z = np.random.default_rng(seed).standard_normal((5, 7)).astype(np.float32)
    rows, classes = torch.from_numpy(z), Classes(CLASSES)
    own = [max(range(CLASSES[task]), key=lambda c: row[FIRST[task] + c]) for row in z]
    for heads in ("all-classes", "per-task"):
        assert task_answers(rows, heads, task, classes).tolist() == own
        every = class_answers(rows, heads, last + 1, classes)
        assert every is not None
        count = sum(CLASSES[: last + 1])
        assert every.tolist() == [max(range(count), key=lambda k: row[k]) for row in z]
    shared = rows[:, :3]
    assert task_answers(shared, "shared", task, classes).tolist() == z[:, : CLASSES[task]].argmax(1).tolist()
    assert class_answers(shared, "shared", last + 1, classes) is None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Images and features of three data sets as the jobs leave them, and the sequence of them."""
    monkeypatch.chdir(tmp_path)
    for task in range(3):
        arrays: dict[str, np.ndarray] = {}
        for seed, split in enumerate(("train", "test")):
            write_features(task, split, data(task, seed))
            arrays[f"{split}_labels"] = data(task, seed).labels
            arrays[f"{split}_images"] = np.zeros((len(arrays[f"{split}_labels"]), 1, 2, 2), np.uint8)
        about = {"class_names": list(data(task, 0).names), "content": str(task) * 64}
        write_tensors(paths.images(f"set-{task}"), "images", arrays, about)
    cut(written(x={"method": "finetune"}).experiment("x"))
    yield tmp_path


def write_features(task: int, split: str, found: TaskData) -> None:
    about = {"class_names": list(found.names), "classes": list(range(CLASSES[task])), "backbone": "b", "width": WIDTH}
    arrays = {"features": found.rows, "labels": found.labels, "index": np.arange(len(found))}
    path = paths.features("random", "all", f"set-{task}", split)
    write_tensors(path, "features", arrays, {**about, "content": str(task) * 64})


def cut(experiment: Experiment) -> None:
    images = {name: paths.images(name) for name in experiment.datasets}
    sequences.build(experiment.sequence, images, paths.tasks("three"), experiment.tier, experiment.entries)


def learn(experiment: Experiment, seed: int = 0) -> dict[str, Any]:
    """Every stage of every task, and the evaluation; returns the scores."""
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            run_job(experiment, seed, task, stage)
    evaluate(experiment, seed)
    found: dict[str, Any] = read_result(paths.scores(experiment.name, seed))
    return found


ENTRIES: dict[str, dict[str, Any]] = {
    "sgd": {"heads": "all-classes"},
    "sgd, shared": {"heads": "shared"},
    "finetune": {},
    "ewc": {"options": {"strength": 5}},
    "ewc, all": {"options": {"strength": 5}, "heads": "all-classes"},
    "ewc-online": {"options": {"strength": 5, "gamma": 0.9}},
    "si": {},
    "mas": {"options": {"strength": 0.1}},
    "lwf": {"options": {"strength": 1}},
    "lwf, all": {"options": {"strength": 1}, "heads": "all-classes"},
    "lwf, shared": {"options": {"strength": 1}, "heads": "shared"},
    "er": {"heads": "per-task"} | GROWING,
    "er, all": GROWING,
    "er, shared": {"heads": "shared", "options": {"memory": 21}},
    "gem": {"options": {"memory": 60}, "heads": "per-task"},
    "agem": {"options": {"memory": 60, "reference_batch": 16}},
    "joint": {},
    "joint, all": {"heads": "all-classes"},
    "joint, shared": {"heads": "shared"},
    "psp": {},
    "supsup": {},
}


@pytest.mark.parametrize("label", ENTRIES)
def test_every_method_learns_tasks_of_unequal_sizes(place: Path, label: str) -> None:
    """Better than chance on the last task, and every accuracy is that of the weights in the state files."""
    entry = {"method": label.partition(",")[0]} | ENTRIES[label]
    experiment = three_sets({"x": entry}, NETWORK | {"hidden": [24]}, RANDOM, epochs=15).experiment("x")
    scores = learn(experiment)
    for split, seed in (("test", 1), ("validation", 0)):
        expected = accuracies(experiment, split, seed)
        assert set(scores[split]) == set(expected)
        for protocol, rows in expected.items():
            assert scores[split][protocol] == [
                [value if value is None else pytest.approx(value) for value in r] for r in rows
            ]
    told = scores["test"]["task_incremental"]
    assert told[2][2] > 0.7
    if label == "supsup":
        assert told[2][0] == told[1][0] == told[0][0]
    fresh = {name: tensor.numpy() for name, tensor in Inputs(experiment).network(0).state_dict().items()}
    for j in range(3):
        z = plain_logits(fresh, images_of("test", j, 1)[0].astype(np.float64), experiment.heads)
        assert scores["initial"][j] == pytest.approx(share_told(z, experiment.heads, j, images_of("test", j, 1)[1]))


def images_of(split: str, task: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the test images, or of the validation images."""
    found = data(task, seed)
    own = np.arange(len(found)) if split == "test" else validation_split(found.labels, 0.15, 0)[1]
    return found.rows[own], found.labels[own]


def plain_logits(weights: dict[str, np.ndarray], x: np.ndarray, heads: str) -> np.ndarray:
    """Logits of all heads side by side, in float64."""
    doubled = {name: array.astype(np.float64) for name, array in weights.items()}
    return np.concatenate([forward(doubled, x, head) for head in range(3 if heads == "per-task" else 1)], 1)


def share_told(z: np.ndarray, heads: str, task: int, labels: np.ndarray) -> float:
    first = 0 if heads == "shared" else FIRST[task]
    return float(np.mean(z[:, first : first + CLASSES[task]].argmax(1) == labels))


def logits_after(experiment: Experiment, arrays: dict[str, np.ndarray], task: int, x: np.ndarray) -> np.ndarray:
    """What the tensors of a state answer, on x in float64; the task is told to PSP and SupSup."""
    if experiment.method_name == "psp":
        widths = [WIDTH, 24]
        keys = [
            2.0 * torch.randint(0, 2, (width,), generator=generator(0, "key", task, n)).numpy() - 1
            for n, width in enumerate(widths)
        ]
        w = {name.removeprefix("network/"): array.astype(np.float64) for name, array in arrays.items()}
        inner = np.maximum((x * keys[0]) @ w["hidden.0.weight"].T + w["hidden.0.bias"], 0)
        return np.asarray((inner * keys[1]) @ w["heads.0.weight"].T + w["heads.0.bias"])
    if experiment.method_name == "supsup":
        for n, name in enumerate(("hidden.0", "heads.0")):
            scores = arrays[f"masks/{task}/{name}.scores"]
            signs = 2.0 * torch.randint(0, 2, scores.shape, generator=generator(0, "signs", n)).numpy() - 1
            mask = np.zeros(scores.size)
            mask[np.argsort(-scores.ravel())[: round(0.5 * scores.size)]] = 1
            x = x @ (mask.reshape(scores.shape) * signs * math.sqrt(2 / (scores.shape[1] * 0.5))).T
            x = np.maximum(x, 0) if n == 0 else x
        return x
    return plain_logits({name.removeprefix("network/"): array for name, array in arrays.items()}, x, experiment.heads)


def accuracies(experiment: Experiment, split: str, seed: int) -> dict[str, list[list[float | None]]]:
    """R of each protocol from the state files and the features."""
    heads = experiment.heads
    guessing = [f"{what}_{p}" for p in CHUNKS for what in ("chunk", "task_prediction")] if heads == "all-classes" else []
    found: dict[str, list[list[float | None]]] = {
        protocol: [[None] * 3 for _ in range(3)] for protocol in ("task_incremental", "class_incremental", *guessing)
    }
    for i in experiment.tasks:
        arrays = safetensors.numpy.load_file(paths.state(experiment.name, 0, i, stages_of(experiment, i)[-1]))
        for j in range(3 if not experiment.method.network_of else i + 1):
            x, labels = images_of(split, j, seed)
            z = logits_after(experiment, arrays, j, x.astype(np.float64))
            found["task_incremental"][i][j] = share_told(z, heads, j, labels)
            if j <= i and heads != "shared":
                found["class_incremental"][i][j] = float(
                    np.mean(z[:, : sum(CLASSES[: i + 1])].argmax(1) == labels + FIRST[j])
                )
            right = z[:, FIRST[j] : FIRST[j] + CLASSES[j]].argmax(1) == labels if heads == "all-classes" else None
            order = torch.randperm(len(labels), generator=generator(0, "chunks", split, j)).numpy()
            for chunk in CHUNKS if right is not None else ():
                guesses = np.zeros(len(labels), int)
                for start in range(0, len(order), chunk):
                    rows = order[start : start + chunk]
                    candidates = range(max(i, j) + 1)
                    best = [np.mean([z[r, FIRST[t] : FIRST[t] + CLASSES[t]].max() for r in rows]) for t in candidates]
                    guesses[rows] = int(np.argmax(best))
                found[f"task_prediction_{chunk}"][i][j] = float(np.mean(guesses == j))
                found[f"chunk_{chunk}"][i][j] = float(np.mean((guesses == j) & right))
    return found


OTHERS: dict[str, dict[str, Any]] = {
    "sgd-f": {},
    "hat": {},
    "xdg": {"options": {"fraction_off": 0.3}},
    "icarl": {"options": {"memory": 60}},
    "itaml": {"options": {"memory": 60}},
    "anpyc": {"options": {"strength": 0.01, "importance_batch": 16}},
    "nsp": {"options": {"null_space": {"threshold": 0.01}}},
}


@pytest.mark.parametrize("method", OTHERS)
def test_further_methods_learn_on_features(place: Path, method: str) -> None:
    experiment = three_sets({"x": {"method": method} | OTHERS[method]}, NETWORK | {"hidden": [24]}, RANDOM, epochs=15)
    assert learn(experiment.experiment("x"))["test"]["task_incremental"][2][2] > 0.7


def test_a_learner_reads_the_features_of_its_own_tasks_alone(place: Path) -> None:
    experiment = written(x={"method": "finetune"}).experiment("x")
    assert source_files(experiment, [1, 1], ["train", "test"]) == [
        paths.features("random", "all", "set-1", split) for split in ("train", "test")
    ]
    for task in (0, 2):
        paths.features("random", "all", f"set-{task}", "train").unlink()
        paths.features("random", "all", f"set-{task}", "test").unlink()
    assert len(Inputs(experiment).test(1)) == 40


def test_features_of_other_images_are_refused(place: Path) -> None:
    path = paths.features("random", "all", "set-1", "train")
    found = data(1, 0)
    about = {"class_names": list(found.names), "classes": [0, 1, 2], "backbone": "b", "width": WIDTH, "content": "other"}
    write_tensors(path, "features", {"features": found.rows, "labels": found.labels, "index": np.arange(40)}, about)
    with pytest.raises(UserError, match=r"was cut from images of content 1111.*found other in .*set-1-train"):
        Inputs(written(x={"method": "finetune"}).experiment("x")).task(1)


# A grid


def grid(*strengths: float, tasks: int | None = 2) -> Settings:
    written_grid: dict[str, Any] = {"options": {"strength": list(strengths)}} | ({"tasks": tasks} if tasks else {})
    return written(EWC={"method": "ewc", "grid": written_grid})


def try_candidates(settings: Settings) -> dict[str, Any]:
    """The choice among the candidates."""
    for name in settings.experiment("EWC").candidates:
        learn(settings.experiment(name))
        summarise(settings.experiment(name))
    choose(settings, settings.experiment("EWC"))
    found: dict[str, Any] = read_result(paths.chosen("EWC"))
    return found


def test_a_grid_is_decided_on_validation_images_of_the_first_tasks_alone(place: Path) -> None:
    settings = grid(1.0, 1e39, 2.0)
    before = try_candidates(settings)
    values = [candidate["acc"] for candidate in before["candidates"]]
    assert values[1] is None
    best = values.index(max(value for value in values if value is not None))
    assert before["options"] == before["candidates"][best]["options"]
    for number in (0, 2):
        found = read_result(paths.scores(f"EWC_grid-{number}", 0))
        assert values[number] == pytest.approx(np.mean(found["validation"]["task_incremental"][1]))
    tests = [read_result(paths.scores(f"EWC_grid-{number}", 0))["test"] for number in (0, 2)]
    for task in range(3):  # other test images: other scores, the same choice
        write_features(task, "test", data(task, 7))
    assert try_candidates(settings) == before
    assert [read_result(paths.scores(f"EWC_grid-{number}", 0))["test"] for number in (0, 2)] != tests


def test_candidates_stop_early_and_what_the_chosen_one_learnt_is_adopted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = grid(1.0, 2.0)
    chosen = try_candidates(settings)
    candidate = next(one["experiment"] for one in chosen["candidates"] if one["options"] == chosen["options"])
    first = settings.experiment(candidate)
    assert list(first.tasks) == [0, 1]
    scores = read_result(paths.scores(candidate, 0))
    assert [len(row) for row in scores["test"]["task_incremental"]] == [2, 2]
    assert not paths.state(candidate, 0, 2, "learn").exists()
    with pytest.raises(UserError, match=r"has no stage 'learn' of task 2; its tasks are \[0, 1\]"):
        run_job(first, 0, 2, "learn")

    learnt: list[Any] = []  # the task of each epoch
    epoch = Fit._epoch

    def counted(self: Fit, *arguments: Any) -> torch.Tensor:
        learnt.append(self.seed[1])
        return epoch(self, *arguments)

    monkeypatch.setattr(Fit, "_epoch", counted)
    experiment = settings.experiment("EWC")
    assert [len(row) for row in learn(experiment)["test"]["task_incremental"]] == [3, 3, 3]
    assert learnt == [2, 2]
    for task in range(2):
        for stage in stages_of(experiment, task):
            own, theirs = (read_state(paths.state(name, 0, task, stage)) for name in ("EWC", candidate))
            assert own.keys() == theirs.keys()
            assert all(identical(own[group], theirs[group]) for group in own)
            path = paths.state("EWC", 0, task, stage)
            assert read_record(path)["made"]["path"] == str(path)

    # Learnt without anything to adopt, the last task's state is the same.
    for path in paths.RESULTS.glob("EWC_grid-*"):
        path.rename(path.with_name(f"gone-{path.name}"))
    kept = {task: read_state(final_state(experiment, 0, task)) for task in range(3)}
    learn(experiment)
    assert learnt == [2, 2, 0, 0, 1, 1, 2, 2]
    for task, state in kept.items():
        again = read_state(final_state(experiment, 0, task))
        assert all(identical(again[group], state[group]) for group in state)


def test_how_many_tasks_candidates_learn_changes_their_scores_alone() -> None:
    one, two, everything = (grid(1.0, 2.0, tasks=n).experiment("EWC_grid-0") for n in (1, 2, None))
    assert stage_fingerprint(one, "learn") == stage_fingerprint(two, "learn") == stage_fingerprint(everything, "learn")
    assert len({fingerprint(*scores_parts(each)) for each in (one, two, everything)}) == 3


# The jobs


@pytest.mark.parametrize(("method", "entry"), [("er", GROWING), ("supsup", {}), ("psp", {})])
def test_killed_within_a_task_it_goes_on_where_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, method: str, entry: dict[str, Any]
) -> None:
    experiment = written(x={"method": method} | entry).experiment("x")
    learn(experiment)
    paths_of_states = [paths.state("x", 0, task, stage) for task in range(3) for stage in stages_of(experiment, task)]
    whole = {path: path.read_bytes() for path in paths_of_states}
    saved = kill_after_saves(monkeypatch, every=2)
    for task in range(3):
        for stage in stages_of(experiment, task):
            until_done(partial(run_job, experiment, 0, task, stage))
    assert {path: path.read_bytes() for path in paths_of_states} == whole
    assert len(saved) > 3
    assert not list(paths.CHECKPOINTS.iterdir())


MLP = {"kind": "mlp", "hidden": [4], "initialisation": "uniform-fan-in"}
TRAINED = {"kind": "backbone", "backbone": "random", "frozen": False}


@pytest.mark.parametrize(
    ("entry", "network", "message"),
    [
        ({"method": "pspp"}, NETWORK, "method: 'pspp' is unknown; "),
        ({"method": "psp", "heads": "per-task"}, NETWORK, "heads: 'per-task' does not fit method 'psp'"),
        ({"method": "supsup", "options": {"keep": 0.5}}, NETWORK, "options.keep: unknown key"),
        (
            {"method": "si", "options": {"strength": 1}, "grid": {"options": {"strength": [1]}}},
            NETWORK,
            "is also in 'options'",
        ),
        ({"method": "ewc"}, NETWORK, "options.strength: this key is missing"),
        (
            {"method": "ewc", "grid": {"options": {"strength": [1]}, "tasks": 4}},
            NETWORK,
            "grid.tasks: found 4; 'three' has 3",
        ),
        ({"method": "psp"}, TRAINED, "network: 'net' is of kind 'backbone'; method 'psp' works with mlp"),
        ({"method": "supsup"}, TRAINED, "network: 'net' is of kind 'backbone'; method 'supsup' works with mlp"),
        (
            {"method": "plop"},
            NETWORK,
            "sequence: 'three' is of kind 'data-sets'; method 'plop' learns dense: its loss is of",
        ),
        (
            {"method": "ewc", "options": {"strength": 1}},
            MLP,
            "network: 'net' takes images of one shape; give the sequence a",
        ),
        ({"method": "finetune"}, NETWORK | {"backbone": "ramdom"}, "names the backbone 'ramdom', which is unknown; "),
        ({"method": "finetune"}, {"kind": "dense-conv", "widths": [3, 4]}, "labels of pixels go with a network of kind"),
    ],
)
def test_what_does_not_fit_is_refused(entry: dict[str, Any], network: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        three_sets({"X": entry}, network, RANDOM)
    assert str(caught.value).startswith("params.yaml: experiments.X.")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"tiers": {"all": {"train_per_class": 3}}}, "tiers.all: this name stands for whole data sets"),
        ({"sequences": {"s": {"tier": "smal"}}}, "sequences.s.tier: 'smal' is unknown; "),
        ({"sequences": {"s": {"tasks": [{"name": "t", "dataset": "digit"}]}}}, "sequences.s.tasks: 'digit' is unknown; "),
        ({"sequences": {"s": {"tasks": [{"name": "t", "dataset": "digits"}] * 2}}}, "two tasks have one name"),
        ({"sequences": {"s": {"table": "t.csv"}}}, "give exactly one of 'tasks' (a list) and 'table' (a CSV file)"),
        ({"datasets": {"digits": {"path": "x", "image_size": 8}}}, "datasets.digits: this name is a built-in data set's"),
        ({"networks": {"n": NETWORK | {"frozen": False}}}, "'hidden' are layers on frozen features"),
    ],
)
def test_what_sections_say_wrongly_is_named(sections: dict[str, dict[str, Any]], message: str) -> None:
    usual = {"kind": "data-sets", "tier": "all", "tasks": [{"name": "t", "dataset": "digits"}]}
    whole: dict[str, Any] = {key: {} for key in ("sequences", "networks", "training", "experiments", "reports")} | sections
    whole["sequences"] = {name: usual | one for name, one in whole["sequences"].items()}
    with pytest.raises(UserError) as caught:
        params.settings(whole)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [{"kind": "permuted", "tasks": 2, "permutation": "released"}, {"kind": "repeated", "tasks": 2, "backgrounds": "shared"}],
)
def test_a_backbone_sees_images_as_they_are(changed: dict[str, Any]) -> None:
    sequence = {"dataset": "digits", "validation": {"first": 9}} | changed
    with pytest.raises(UserError, match="is a backbone; it takes images as they are, not permuted or on backgrounds"):
        params.settings(
            {
                "backbones": {"random": RANDOM},
                "sequences": {"s": sequence},
                "networks": {"net": NETWORK},
                "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}},
                "experiments": {"x": {"sequence": "s", "network": "net", "training": "t", "method": "finetune", "seeds": 1}},
                "reports": {},
            }
        )
