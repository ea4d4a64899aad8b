"""XdG: which units are closed, what is learnt behind the gates, and what is answered behind whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.gates import WIDTHS, gated
from support.runs import SPLIT, made
from support.tiny import (
    IMAGES,
    PER_TASK,
    assert_close,
    call,
    descend,
    earlier,
    identical,
    pixels,
    run_chain,
    tiny_experiment,
    tiny_job,
)
from torch import Tensor

from lifelong.methods.xdg import stages as xdg
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.states import read_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors

OFF = 0.4


def xdg_experiment(**changes: Any) -> Any:
    return tiny_experiment("xdg", options={"fraction_off": OFF}, **changes)


def test_each_task_closes_its_own_units() -> None:
    tables = [call(xdg.learn, tiny_job(xdg_experiment(), 0, seed=seed), None)["gates"] for seed in (0, 0, 1)]
    assert identical(tables[0], tables[1])
    assert not identical(tables[0], tables[2])
    for name, width in WIDTHS.items():
        table = tables[0][name]
        assert table.shape == (3, width)
        assert ((table == 0) | (table == 1)).all()
        assert (table == 0).sum(1).tolist() == [2] * 3
    rows = torch.cat([tables[0][name] for name in WIDTHS], dim=1)
    assert len({tuple(row) for row in rows.tolist()}) > 1


def test_gates_stay_over_the_tasks() -> None:
    states = run_chain(xdg_experiment(dropout=0.5))
    assert all(identical(states[task, "learn"]["gates"], states[0, "learn"]["gates"]) for task in (1, 2))


@pytest.mark.parametrize("task", [0, 2])
def test_learn_descends_its_loss_behind_the_gates(task: int) -> None:
    job = tiny_job(xdg_experiment(batch_size=IMAGES, epochs=4, learning_rate=0.5), task)
    before = earlier(job)
    found = call(xdg.learn, job, before)
    gates = {name: table.double() for name, table in found["gates"].items()}

    def loss(named: dict[str, Tensor]) -> Tensor:
        z = gated(named, gates, torch.from_numpy(pixels(job.task.train)), task, task)
        each = torch.logsumexp(z, 1) - z[torch.arange(IMAGES), job.task.train.targets]
        return each.mean()

    names = [f"{layer}.{part}" for layer in (*WIDTHS, f"heads.{task}") for part in ("weight", "bias")]
    assert_close(found["network"], descend(before["network"], names, loss, [0.5] * 4))
    for layer in WIDTHS:
        closed = found["gates"][layer][task] == 0
        still = (found["network"][f"{layer}.weight"] == before["network"][f"{layer}.weight"]).all(1)
        assert still[closed].all()
        assert not still[~closed].all()


@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
def test_answers_stand_behind_the_gates_of_their_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: str) -> None:
    """In the written matrix: by the told task's gates, or each task's outputs behind its own."""
    monkeypatch.chdir(tmp_path)
    experiment = xdg_experiment(heads=heads, sequence=SPLIT, dropout=0.5, epochs=4, learning_rate=0.5)
    arrays = made(experiment)
    evaluate(experiment, 0)
    scores = read_result(paths.scores("tiny", 0))
    predictions = read_tensors(paths.predictions("tiny", 0), "predictions")[0]
    count = experiment.count
    untrained = {name: t.double().numpy() for name, t in tiny_job(experiment, 0).network(None).state_dict().items()}
    for i in range(count):
        state = read_state(paths.state("tiny", 0, i, "learn"))
        named, gates = ({n: t.double().numpy() for n, t in state[group].items()} for group in ("network", "gates"))
        for j in range(count):
            classes = arrays[f"task-{j:02d}.classes"].tolist()
            chosen = arrays[f"task-{j:02d}.test"]
            x = arrays["test_images"][chosen].reshape(len(chosen), -1) / 255
            labels = np.array([classes.index(label) for label in arrays["test_labels"][chosen]])
            behind = [_columns(named, gates, x, k, heads) for k in range(count)]
            within = behind[j].argmax(1)
            assert scores["test"]["task_incremental"][i][j] == pytest.approx((within == labels).mean())
            np.testing.assert_array_equal(predictions[f"after-{i:02d}.on-{j:02d}.task"], within)
            if i == 0:
                fresh = _columns(untrained, gates, x, j, heads).argmax(1)
                assert scores["initial"][j] == pytest.approx((fresh == labels).mean())
            if heads != "shared" and j <= i:
                over = np.concatenate(behind[: i + 1], axis=1).argmax(1)
                np.testing.assert_array_equal(predictions[f"after-{i:02d}.on-{j:02d}.class"], over)


def _columns(named: Any, gates: Any, x: np.ndarray, task: int, heads: str) -> np.ndarray:
    z = gated(named, gates, x, task, task if heads == "per-task" else 0)
    return z[:, task * PER_TASK : (task + 1) * PER_TASK] if heads == "all-classes" else z
