"""MAS: the sensitivity of the outputs, beside loops over images and finite differences, and its loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import (
    IMAGES,
    PIXELS,
    assert_close,
    call,
    cross_entropy,
    descend,
    earlier,
    forward,
    identical,
    pixels,
    shared_of,
    tiny_experiment,
    tiny_job,
    tiny_split,
)
from torch import Tensor

from lifelong.methods.mas import stages as mas
from lifelong.networks.mlp import Mlp
from lifelong.training.importance import batch_sensitivity, output_sensitivity

STRENGTH = 3.0


@pytest.fixture
def network() -> Mlp:
    network = Mlp(PIXELS, [4, 3], [2, 3], 0.5).eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


def norm_of_logits(z: Any) -> Any:
    return (z**2).sum(-1)


def half_norm_of_softmax(z: Any) -> Any:
    e = np.exp(z) if isinstance(z, np.ndarray) else torch.exp(z)
    return (((e.T / e.sum(-1)) ** 2).sum(0)) / 2


def by_differences(network: Mlp, x: np.ndarray, head: int, energy: Any) -> dict[str, np.ndarray]:
    """Each image's d energy / dW, [n, *shape of W], by central differences in float64."""
    named = {name: p.detach().double().numpy().copy() for name, p in network.named_parameters()}
    found = {name: np.zeros((len(x), *array.shape)) for name, array in named.items() if name.startswith("hidden.")}
    for name, into in found.items():
        for place in np.ndindex(into.shape[1:]):
            either = []
            for step in (1e-6, -1e-6):
                kept = named[name][place]
                named[name][place] += step
                either.append(energy(forward(named, x, head)))
                named[name][place] = kept
            into[(slice(None), *place)] = (either[0] - either[1]) / 2e-6
    return found


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_exact_sensitivity(network: Mlp, head: int, batch: int) -> None:
    split = tiny_split(3, 7)
    found = output_sensitivity(network, split, head, batch)
    for name, slow in by_differences(network, pixels(split), head, norm_of_logits).items():
        np.testing.assert_allclose(found[name], abs(slow).mean(0), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_released_sensitivity(network: Mlp, head: int, batch: int) -> None:
    split = tiny_split(3, 7)
    found = batch_sensitivity(network, split, head, batch)
    for name, slow in by_differences(network, pixels(split), head, half_norm_of_softmax).items():
        batches = [slow[start : start + batch] for start in range(0, len(slow), batch)]
        expected = np.sum([abs(each.sum(0)) for each in batches], axis=0)
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_learn_descends_its_loss() -> None:
    """Cross-entropy + lambda sum Omega (W - W_old)^2, with lambda and not its half."""
    job = tiny_job(tiny_experiment("mas", options={"strength": STRENGTH}, batch_size=IMAGES, epochs=3), 1)
    before = earlier(job)
    names = [*shared_of(before["network"]), "heads.1.weight", "heads.1.bias"]

    def loss(named: dict[str, Tensor]) -> Tensor:
        held = [(omega * (named[name] - before["network"][name]) ** 2).sum() for name, omega in before["importance"].items()]
        return cross_entropy(named, job.task.train, 1) + STRENGTH * torch.stack(held).sum()

    assert_close(call(mas.learn, job, before)["network"], descend(before["network"], names, loss, [0.1] * 3))


@pytest.mark.parametrize("sensitivity", ["exact", "released"])
def test_consolidate_sums_over_the_tasks(sensitivity: str) -> None:
    """By the task's own head, dropout off; the network is handed on as it is."""
    options = {"strength": STRENGTH, "sensitivity": sensitivity, "sensitivity_batch": 7}
    job = tiny_job(tiny_experiment("mas", options=options, dropout=0.5), 1, "consolidate")
    state = earlier(job)
    measure = output_sensitivity if sensitivity == "exact" else batch_sensitivity
    own = measure(job.network(state).eval(), job.task.train, 1, 7)
    found = call(mas.consolidate, job, state)
    assert_close(found["importance"], {name: t + state["importance"][name] for name, t in own.items()}, 1e-8)
    assert identical(found["network"], state["network"])
    first = call(mas.consolidate, job, {**state, "importance": {}})
    assert_close(first["importance"], own, 1e-8)
