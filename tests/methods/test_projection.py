"""The slow model's updates: what they leave alone, and what one of them is."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.tiny import SHAPE, tiny_experiment, tiny_job, tiny_split
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.split2meta import NspSpace
from lifelong.methods.split2meta.layers import as_matrix, shared_layers
from lifelong.methods.split2meta.moments import feature_moments
from lifelong.methods.split2meta.null_space import Subspace, find_subspace
from lifelong.methods.split2meta.projection import ProjectedUpdates
from lifelong.training.job import weights

EXACT = NspSpace(threshold=1e-9, average="per-position")


def narrow_split() -> Split:
    """Images that use three of seven input directions (six pixels and the bias)."""
    base = tiny_split(5, 24)
    patterns = torch.randint(0, 100, (2, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    chosen = torch.arange(24) % 2
    return Split(patterns[chosen] + torch.arange(24, dtype=torch.uint8)[:, None, None, None], base.targets)


def spaces(network: Any, split: Split) -> dict[str, Subspace]:
    moments = feature_moments(network.eval(), split, 8, EXACT)
    return {name: find_subspace(moment, "energy", EXACT.threshold) for name, moment in moments.items()}


def job_for(optimiser: str) -> Any:
    own: dict[str, Any] = {"learning_rate": 0.2} if optimiser == "sgd" else {"learning_rate": 0.05}
    return tiny_job(tiny_experiment("finetune", optimiser=optimiser, epochs=20, **own), 1)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_outputs_of_the_old_task_stay(optimiser: str) -> None:
    """Every layer answers the old images as before, though the weights move; unprojected training changes the answers."""
    job = job_for(optimiser)
    network, old = job.network(None), narrow_split()
    before, images = weights(network), old.batch(torch.arange(len(old)))[0]
    features = network.eval().features(images).detach()
    found = spaces(network, old)
    assert found["hidden.0"].dimensions == 4
    job.fit(network, hook=ProjectedUpdates(found, {}))
    after = weights(network)
    torch.testing.assert_close(network.eval().features(images), features, rtol=0, atol=2e-5)
    assert (after["hidden.0.weight"] - before["hidden.0.weight"]).abs().max() > 5e-3
    plain = job.network(None)
    job_for(optimiser).fit(plain)
    assert (plain.eval().features(images) - features).abs().max() > 1e-3


def single_step(hook: ProjectedUpdates | None, rate: float = 0.1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights before and after one step of SGD on all images."""
    job = tiny_job(tiny_experiment("finetune", learning_rate=rate, epochs=1, batch_size=24), 0)
    network = job.network(None)
    before = weights(network)
    job.fit(network, hook=hook)
    return before, weights(network)


@pytest.mark.parametrize("normalised", [False, True])
def test_one_update_is_the_plain_one_times_the_projection(normalised: bool) -> None:
    """(W' - W) P for weights and biases together, / sqrt(k) as released; the head and unprojected layers are as ever."""
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(7, 4, generator=generator)).Q
    before, plain = single_step(None)
    _, found = single_step(ProjectedUpdates({"hidden.0": Subspace(basis, True)}, {}, normalised))
    update = as_matrix("hidden.0", plain) - as_matrix("hidden.0", before)
    expected = update @ basis @ basis.T / (math.sqrt(4) if normalised else 1)
    torch.testing.assert_close(as_matrix("hidden.0", found) - as_matrix("hidden.0", before), expected, atol=1e-6, rtol=1e-4)
    for name in plain:
        if not name.startswith("hidden.0"):
            assert torch.equal(found[name], plain[name])


def test_rates_multiply_updates() -> None:
    """A rate of 3 is a learning rate of 3 times the budget's; the rest is as ever."""
    before, plain = single_step(None)
    _, found = single_step(ProjectedUpdates({}, {"heads.0.weight": 3.0, "hidden.1.bias": 0.5}))
    for name in plain:
        factor = {"heads.0.weight": 3.0, "hidden.1.bias": 0.5}.get(name, 1.0)
        torch.testing.assert_close(found[name] - before[name], factor * (plain[name] - before[name]), atol=1e-7, rtol=1e-4)


def test_every_shared_layer_of_the_network_is_seen() -> None:
    assert list(shared_layers(job_for("sgd").network(None))) == ["hidden.0", "hidden.1"]
