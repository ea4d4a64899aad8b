"""Methods that hold weights by a quadratic penalty, by its proximal step (reading B16)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import (
    IMAGES,
    assert_close,
    call,
    cross_entropy,
    descend,
    random_like,
    shared_of,
    tiny_experiment,
    tiny_job,
)

from lifelong.training.job import State, weights

OPTIONS: dict[str, dict[str, Any]] = {
    "ewc": {},
    "ewc-online": {"gamma": 0.5},
    "mas": {},
    "si": {},
    "anpyc": {"pruning": "none"},
}
RATE, STEPS = 0.3, 4


def learnt(method: str, strength: float) -> tuple[State, State]:
    """What a task left, and what the next leaves after some steps on all its images."""
    options = OPTIONS[method] | {"strength": strength, "penalty_step": "proximal"}
    job = tiny_job(tiny_experiment(method, options=options, batch_size=IMAGES, epochs=STEPS, learning_rate=RATE), 1)
    network = weights(job.network(None))
    before: State = {"network": network, "importance": random_like(shared_of(network), 5), "mask": {}}
    return before, call(job.experiment.method.stage("learn").function, job, before)


@pytest.mark.parametrize("method", OPTIONS)
def test_each_step_goes_down_the_loss_and_then_part_of_the_way_back(method: str) -> None:
    """W <- W - rate * dloss/dW, then the mean of W and the old weight, weighed by 1 and 2 * rate * strength * importance."""
    strength = 2.0
    before, found = learnt(method, strength)
    held = before["importance"]
    names = [*held, "heads.1.weight", "heads.1.bias"]
    task = tiny_job(tiny_experiment("finetune"), 1).task
    now = before["network"]
    for _ in range(STEPS):
        now = descend(now, names, lambda named: cross_entropy(named, task.train, 1), [RATE])
        for name, importance in held.items():
            pull = 2 * RATE * strength / (2 if method.startswith("ewc") else 1) * importance.double()
            now[name] = (now[name] + pull * before["network"][name].double()) / (1 + pull)
    assert_close(found["network"], now)


@pytest.mark.parametrize("method", OPTIONS)
def test_no_strength_is_too_strong(method: str) -> None:
    before, found = learnt(method, 1e9)
    assert_close(shared_of(found["network"]), shared_of(before["network"]))
    assert not torch.equal(found["network"]["heads.1.weight"], before["network"]["heads.1.weight"])
