"""DER++ beside its objective (reading B17)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import (
    IMAGES,
    PER_TASK,
    assert_close,
    call,
    cross_entropy,
    descend,
    forward,
    pixels,
    run_chain,
    tiny_experiment,
    tiny_job,
)

from lifelong.data.tensors import Split
from lifelong.methods.der import stages
from lifelong.training.job import Job, State, weights

ALPHA, BETA, RATE = 0.7, 1.3, 0.2


def der_job(task: int, stage: str = "learn", memory: int = 12) -> Job:
    options = {"memory": memory, "alpha": ALPHA, "beta": BETA}
    budget: dict[str, Any] = {"batch_size": IMAGES, "epochs": 1, "learning_rate": RATE}
    return tiny_job(tiny_experiment("der++", heads="all-classes", options=options, **budget), task, stage)


def test_a_step_descends_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    job = der_job(1)
    network = weights(job.network(None))
    before: State = call(stages.remember, der_job(0, "remember"), {"network": network, "memory": {}})
    memory = before["memory"]
    kept = Split(memory["images"], memory["labels"])
    memory["logits"] = torch.randn(memory["logits"].shape, generator=torch.Generator().manual_seed(0))
    chosen, others = torch.randint(len(kept), (2, IMAGES), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(torch, "randint", lambda high, shape: torch.stack([chosen, others]))
    found = call(stages.learn, job, before)

    def loss(named: dict[str, torch.Tensor]) -> torch.Tensor:
        z = forward(named, torch.from_numpy(pixels(kept)[chosen]), 0)
        distance = ((z - memory["logits"][chosen].double()) ** 2).mean()
        drawn = Split(kept.images[others], kept.targets[others])
        return cross_entropy(named, job.task.train, 0, PER_TASK) + ALPHA * distance + BETA * cross_entropy(named, drawn, 0)

    assert_close(found["network"], descend(network, list(network), loss, [RATE]))
    assert found["memory"] is memory


def test_logits_are_those_of_the_moment_an_image_was_remembered() -> None:
    """Twelve images: six of each class of the first task, then three; what stays keeps its logits."""
    experiment = der_job(0).experiment
    states = run_chain(experiment)
    memories = [states[task, "remember"]["memory"] for task in range(3)]
    assert [len(memory["images"]) for memory in memories] == [12, 12, 12]
    for task, memory in enumerate(memories):
        assert memory["logits"].shape == (12, 3 * PER_TASK)
        for image, label, logits in zip(memory["images"], memory["labels"], memory["logits"], strict=True):
            then = {
                name: tensor.double().numpy() for name, tensor in states[int(label) // PER_TASK, "learn"]["network"].items()
            }
            expected = forward(then, image.numpy().flatten() / 255, 0)
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        assert memory["labels"].unique().tolist() == list(range(PER_TASK * (task + 1)))


def test_der_without_memory_is_sgd() -> None:
    job = der_job(0)
    found = call(stages.learn, job, None)
    start = weights(job.network(None))
    expected = descend(start, list(start), lambda named: cross_entropy(named, job.task.train, 0), [RATE])
    assert_close(found["network"], expected)
