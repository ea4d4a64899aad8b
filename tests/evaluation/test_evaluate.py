"""Answers under each protocol, dropout off, and the accuracy matrix of whole tiny experiments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.runs import SPLIT, made
from support.tiny import call, forward, identical, pixels, random_like, tiny_experiment, tiny_job, tiny_task

from lifelong.data.classes import Classes
from lifelong.data.tensors import load_task
from lifelong.evaluation import answers
from lifelong.evaluation.answers import accuracy, class_answers, logits, task_answers
from lifelong.networks.base import Network
from lifelong.params import Experiment
from lifelong.params.methods import Heads
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import stages_of
from lifelong.pipeline.states import read_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors
from lifelong.training.job import State

HEADS: tuple[Heads, ...] = get_args(Heads)


def best(values: dict[int, float]) -> int:
    return max(values, key=lambda place: values[place])


@given(st.permutations(range(12)), st.sampled_from(HEADS), st.sampled_from([1, 2, 3, 4]), st.data())
def test_answers_are_the_best_of_those_that_compete(
    order: list[int], heads: Heads, per_task: int, data: st.DataObject
) -> None:
    """Four tasks' worth of distinct logits; one image a row."""
    tasks = 12 // per_task
    classes = Classes((per_task,) * tasks)
    task = data.draw(st.integers(0, tasks - 1))
    values = [order, order[::-1], order[5:] + order[:5]]
    width = per_task if heads == "shared" else 12
    rows = torch.tensor(values, dtype=torch.float32)[:, :width]
    for row, by_task in zip(rows.tolist(), task_answers(rows, heads, task, classes).tolist(), strict=True):
        first = 0 if heads == "shared" else task * per_task
        assert by_task == best({label: row[first + label] for label in range(per_task)})
    by_class = class_answers(rows, heads, task + 1, classes)
    if heads == "shared":
        assert by_class is None
        return
    assert by_class is not None
    expected = [best({c: row[c] for c in range(12) if c // per_task <= task}) for row in rows.tolist()]
    assert by_class.tolist() == expected


def noisy(heads: Heads) -> Network:
    """A network with dropout, in training mode, away from its initial weights."""
    network = tiny_job(tiny_experiment("joint", heads=heads, dropout=0.5), 2).network(None)
    noise = random_like(network.state_dict(), 3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(2 * noise[name] - 1)
    return network.train()


@pytest.mark.parametrize("batch", [4, 1000])
def test_logits_are_those_of_the_whole_network(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(answers, "BATCH", batch)
    network, split = noisy("per-task"), tiny_task(0).train
    named = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    expected = np.concatenate([forward(named, pixels(split), head) for head in range(3)], axis=1)
    first = logits(network, split)
    np.testing.assert_allclose(first, expected, atol=1e-5)
    assert torch.equal(logits(network.train(), split), first)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("task", [0, 1, 2])
def test_accuracy_is_that_of_the_validation_images(heads: Heads, task: int) -> None:
    network, data = noisy(heads), tiny_task(task)
    named = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    right = 0
    for image, target in zip(pixels(data.validation), data.validation.targets.tolist(), strict=True):
        z = forward(named, image, task if heads == "per-task" else 0)
        own = z[2 * task : 2 * task + 2] if heads == "all-classes" else z
        right += int(own.argmax()) == target
    assert accuracy(network, data, heads, Classes((2, 2, 2))) == pytest.approx(right / 9)


PERMUTED = {"dataset": "digits", "kind": "permuted", "tasks": 2, "permutation": "released", "validation": {"first": 20}}


def answers_of(
    experiment: Experiment, seed: int, arrays: dict[str, np.ndarray], after: int | None, on: int, part: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """(labels in the task, task-incremental answers, labels over tasks, class-incremental answers) in plain numpy.

    `after` none: the untrained network.
    """
    classes = arrays[f"task-{on:02d}.classes"].tolist()
    source = "test" if part == "test" else "train"
    chosen = arrays[f"task-{on:02d}.{part}"]
    x = arrays[f"{source}_images"][chosen].reshape(len(chosen), -1) / 255
    if (order := arrays.get(f"task-{on:02d}.permutation")) is not None:
        x = x[:, order]
    if after is None:
        job = replace(tiny_job(experiment, 0, seed=seed), classes=Classes((len(classes),) * experiment.count))
        weights = {name: t.double().numpy() for name, t in job.network(None).state_dict().items()}
    else:
        path = paths.state(experiment.name, seed, after, stages_of(experiment, after)[-1])
        weights = {name.removeprefix("network/"): a.astype(float) for name, a in safetensors.numpy.load_file(path).items()}
    count, c = experiment.count, len(classes)
    heads = {"per-task": range(count), "shared": [0] * count, "all-classes": [0]}[experiment.heads]
    z = np.concatenate([forward(weights, x, head) for head in heads], axis=1)
    labels = np.array([classes.index(label) for label in arrays[f"{source}_labels"][chosen]])
    within = np.array([row[on * c : (on + 1) * c].argmax() for row in z])
    known = after is not None and on <= after and experiment.heads != "shared"
    over = np.array([row[: (after + 1) * c].argmax() for row in z]) if known and after is not None else None
    return labels, within, labels + on * c, over


@pytest.mark.parametrize("method", ["anpyc", "joint"])
def test_written_states_are_those_of_the_stages_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Each stage starts from the state before it, on its own task's images; a joint learner has those of all tasks."""
    monkeypatch.chdir(tmp_path)
    options = {"strength": 1.0} if method == "anpyc" else {}
    experiment = tiny_experiment(method, options=options, sequence=SPLIT, dropout=0.5, seeds=[4])
    made(experiment)
    state: State | None = None
    for task in experiment.tasks:
        seen = range(3) if method == "joint" else [task]
        data = [load_task(paths.images("digits"), paths.tasks("three"), index) for index in seen]
        for stage in stages_of(experiment, task):
            job = replace(tiny_job(experiment, task, stage, seed=4), data=data)
            state = call(experiment.method.stage(stage).function, job, state)
            written = read_state(paths.state("tiny", 4, task, stage))
            assert state is not None and written.keys() == state.keys()
            assert all(identical(written[group], state[group]) for group in state)


@pytest.mark.parametrize(
    ("method", "heads", "sequence"),
    [
        ("finetune", "per-task", SPLIT),
        ("sgd", "shared", SPLIT),
        ("sgd", "all-classes", SPLIT),
        ("joint", "per-task", SPLIT),
        ("joint", "shared", SPLIT),
        ("ewc", "per-task", PERMUTED),
        ("anpyc", "per-task", PERMUTED),
    ],
)
def test_the_matrix_is_that_of_the_written_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, heads: str, sequence: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"strength": 1.0} if method in ("ewc", "anpyc") else {}
    experiment = tiny_experiment(
        method, heads=heads, options=options, sequence=sequence, dropout=0.5, seeds=[4], learning_rate=0.05, epochs=2
    )
    arrays = made(experiment)
    evaluate(experiment, 4)
    scores = read_result(paths.scores("tiny", 4))
    predictions = read_tensors(paths.predictions("tiny", 4), "predictions")[0]
    count = experiment.count
    assert scores["tasks"] == count
    expected_keys = set()
    for j in range(count):
        labels, within, *_ = answers_of(experiment, 4, arrays, None, j, "test")
        assert scores["initial"][j] == pytest.approx((within == labels).mean())
        for i in range(count):
            for part in ("test", "validation"):
                if i not in experiment.tasks:
                    assert scores[part]["task_incremental"][i][j] is None
                    assert scores[part]["class_incremental"][i][j] is None
                    continue
                labels, within, numbered, over = answers_of(experiment, 4, arrays, i, j, part)
                assert scores[part]["task_incremental"][i][j] == pytest.approx((within == labels).mean())
                if over is None:
                    assert scores[part]["class_incremental"][i][j] is None
                else:
                    assert scores[part]["class_incremental"][i][j] == pytest.approx((over == numbered).mean())
                if part == "test":
                    found = {"task": within} | ({} if over is None else {"class": over})
                    for protocol, answers in found.items():
                        key = f"after-{i:02d}.on-{j:02d}.{protocol}"
                        expected_keys.add(key)
                        assert predictions[key].dtype == np.int16
                        np.testing.assert_array_equal(predictions[key], answers)
    assert {key for key in predictions if "task_prediction" not in key} == expected_keys
