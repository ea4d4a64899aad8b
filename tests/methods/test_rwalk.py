"""RWalk's running Fisher and path score beside explicit descent in float64 (reading B18)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.resuming import killed_and_resumed
from support.tiny import (
    IMAGES,
    assert_close,
    call,
    cross_entropy,
    earlier,
    identical,
    random_like,
    shared_of,
    tiny_experiment,
    tiny_job,
)
from torch import Tensor

from lifelong.methods.rwalk import stages as rwalk
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import State, weights

STRENGTH, KEEP, INTERVAL, DAMPING, RATE = 0.4, 0.6, 2, 0.01, 0.5
STEPS = 5  # two whole intervals and one that the task's end cuts off


def rwalk_job(task: int, **changes: Any) -> Any:
    options = {"strength": STRENGTH, "keep": KEEP, "interval": INTERVAL, "damping": DAMPING}
    budget: dict[str, Any] = {"learning_rate": RATE, "epochs": STEPS, "batch_size": IMAGES}
    return tiny_job(tiny_experiment("rwalk", options=options, **(budget | changes)), task)


def before_task(job: Any) -> State:
    state = earlier(job)
    return state | {"fisher": random_like(state["importance"], 8), "score": random_like(state["importance"], 9)}


def slow(job: Any, before: State | None) -> State:
    """Step by step, as defined."""
    start = before["network"] if before else weights(job.network(None))
    now = {name: tensor.double() for name, tensor in start.items()}
    anchor, names = dict(now), [*shared_of(now), f"heads.{job.head}.weight", f"heads.{job.head}.bias"]
    old: dict[str, dict[str, Tensor]] = {k: {n: t.double() for n, t in v.items()} for k, v in (before or {}).items()}
    fisher = dict(old["fisher"]) if old else {name: torch.zeros_like(tensor) for name, tensor in shared_of(now).items()}
    score = {name: torch.zeros_like(tensor) for name, tensor in fisher.items()}
    rows: list[dict[str, tuple[Tensor, Tensor]]] = []
    for step in range(1, STEPS + 1):
        leaves = {name: now[name].clone().requires_grad_() for name in names}
        loss = cross_entropy(now | leaves, job.task.train, job.head)
        g = dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        row = {}
        for name in names:
            pull = 2 * STRENGTH * old["importance"][name] * (now[name] - anchor[name]) if old and name in fisher else 0
            change = -RATE * (g[name] + pull)
            now[name] = now[name] + change
            if name in fisher:
                row[name] = (g[name], change)
                fisher[name] = KEEP * fisher[name] + (1 - KEEP) * g[name] ** 2
        rows.append(row)
        if step % INTERVAL == 0 or step == STEPS:
            for name in fisher:
                fall = -torch.stack([row[name][0] * row[name][1] for row in rows]).sum(0)
                way = torch.stack([row[name][1] for row in rows]).sum(0)
                score[name] = score[name] + fall.clamp(min=0) / (fisher[name] * way**2 / 2 + DAMPING)
            rows = []
    if old:
        score = {name: (old["score"][name] + tensor) / 2 for name, tensor in score.items()}
    top = [max(float(t.max()) for t in part.values()) for part in (fisher, score)]
    importance = {name: fisher[name] / top[0] + score[name] / top[1] for name in fisher}
    return {"network": now, "importance": importance, "fisher": fisher, "score": score}


@pytest.mark.parametrize("task", [0, 1])
def test_weights_and_importance_follow_the_definitions(task: int) -> None:
    job = rwalk_job(task)
    before = before_task(job) if task else None
    found, expected = call(rwalk.learn, job, before), slow(job, before)
    assert found.keys() == expected.keys()
    for group in expected:
        assert_close(found[group], expected[group])


@pytest.mark.parametrize("after", [1, 3])
def test_resume_is_bit_for_bit(tmp_path: Path, after: int) -> None:
    def job() -> Any:
        return rwalk_job(1, batch_size=7, momentum=0.5)

    before = before_task(job())
    found = killed_and_resumed(rwalk.learn, job, before, Checkpoints(tmp_path / "here", seconds=0), after)
    expected = call(rwalk.learn, job(), before)
    assert all(identical(found[group], expected[group]) for group in expected)
