"""SI: the path integral beside explicit descent in float64, and going on after a kill bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.resuming import killed_and_resumed
from support.tiny import IMAGES, assert_close, call, cross_entropy, earlier, identical, shared_of, tiny_experiment, tiny_job
from torch import Tensor

from lifelong.methods.si import stages as si
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import State, weights

STRENGTH, XI, MOMENTUM, RATE = 2.0, 0.05, 0.6, 0.7
STEPS = 4


def slow(job: Any, before: State | None, path: str) -> State:
    """W <- W - rate * v with v <- m v + h, h = g + 2 c Omega (W - A); omega and Omega as defined, one step an epoch."""
    start = before["network"] if before else weights(job.network(None))
    anchor = {name: tensor.double() for name, tensor in start.items()}
    held = {name: tensor.double() for name, tensor in before["importance"].items()} if before else {}
    now, names = dict(anchor), [*shared_of(anchor), f"heads.{job.head}.weight", f"heads.{job.head}.bias"]
    v = {name: torch.zeros_like(now[name]) for name in names}
    omega = {name: torch.zeros_like(now[name]) for name in shared_of(now)}
    for _ in range(STEPS):
        leaves = {name: now[name].clone().requires_grad_() for name in names}
        loss = cross_entropy(now | leaves, job.task.train, job.head)
        g = dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        for name in names:
            h = g[name] + (2 * STRENGTH * held[name] * (now[name] - anchor[name]) if name in held else 0)
            v[name] = MOMENTUM * v[name] + h
            moved = now[name] - RATE * v[name]
            if name in omega:
                fell = {"plain": g[name] * (now[name] - moved), "regularised": h * (now[name] - moved)}
                omega[name] = omega[name] + (fell | {"product": RATE * h * g[name]})[path]
            now[name] = moved
    total = {}
    for name, tensor in omega.items():
        sum_ = held.get(name, torch.zeros_like(tensor)) + tensor / ((now[name] - anchor[name]) ** 2 + XI)
        total[name] = torch.where(sum_ > 0, sum_, torch.zeros_like(sum_))
    return {"network": now, "importance": total}


def si_job(path: str, task: int, **changes: Any) -> Any:
    options = {"strength": STRENGTH, "damping": XI, "path": path}
    budget: dict[str, Any] = {"learning_rate": RATE, "momentum": MOMENTUM, "epochs": STEPS, "batch_size": IMAGES}
    return tiny_job(tiny_experiment("si", options=options, **(budget | changes)), task)


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("path", ["plain", "regularised", "product"])
def test_weights_and_importance_follow_the_definitions(path: str, task: int) -> None:
    job = si_job(path, task)
    before = earlier(job) if task else None
    if before:  # some below 0, so that the clamp decides
        before["importance"] = {name: 0.1 * tensor - 0.03 for name, tensor in before["importance"].items()}
    found, expected = call(si.learn, job, before), slow(job, before, path)
    assert_close(found["network"], expected["network"])
    assert_close(found["importance"], expected["importance"], 1e-7)
    everything = torch.cat([tensor.flatten() for tensor in found["importance"].values()])
    assert (everything == 0).any() == bool(task)
    assert (everything > 1e-4).any()


def test_readings_differ_as_said() -> None:
    """Without momentum `product` is `plain`; `regularised` is neither."""
    found: dict[str, dict[str, Tensor]] = {}
    for path in ("plain", "regularised", "product"):
        job = si_job(path, 1, momentum=0.0)
        found[path] = call(si.learn, job, earlier(job))["importance"]
    assert_close(found["plain"], found["product"])
    with pytest.raises(AssertionError):
        assert_close(found["plain"], found["regularised"])


@pytest.mark.parametrize("after", [1, 3])
def test_resume_is_bit_for_bit(tmp_path: Path, after: int) -> None:
    def job() -> Any:
        return si_job("plain", 1, batch_size=7)

    before = earlier(job())
    found = killed_and_resumed(si.learn, job, before, Checkpoints(tmp_path / "here", seconds=0), after)
    expected = call(si.learn, job(), before)
    assert identical(found["network"], expected["network"])
    assert identical(found["importance"], expected["importance"])
