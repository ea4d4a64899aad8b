"""The measured effect of removing weights, and its rank correlation with importances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.anpyc import anpyc_options, slow_importance
from support.tiny import assert_close, call, forward, pixels, random_like, run_chain, shared_of, tiny_experiment, tiny_job
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import RemovalOptions, removal
from lifelong.methods.anpyc.removal import EFFECTS, importances, rank_correlation, remove_weights
from lifelong.training.job import weights


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 9))
def test_rank_correlation_is_spearmans(seed: int, count: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, levels, (2, count)), random.normal(size=(3, count))
    a[:, :2] = [0, levels]  # not constant
    expected = [[stats.spearmanr(x, y).statistic for y in b] for x in a]
    np.testing.assert_allclose(rank_correlation(torch.from_numpy(a), torch.from_numpy(b)), expected, atol=1e-12)


def told(named: dict[str, Tensor], split: Split, images: int | None = None) -> dict[str, np.ndarray]:
    """What the network with these weights says, image by image, in numpy."""
    arrays = {name: tensor.double().numpy() for name, tensor in named.items()}
    x = pixels(split)[:images]
    z = forward(arrays, x, 0)
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    right = split.targets.numpy()[: len(x)]
    return {
        "z": z,
        "entropy": -(q * np.log(q)).sum(1),
        "loss": -np.log(q[np.arange(len(x)), right]),
        "accuracy": z.argmax(1) == right,
    }


@pytest.mark.parametrize("name", ["hidden.0.weight", "hidden.1.weight"])
def test_effects_are_those_of_a_network_without_the_weight(name: str) -> None:
    job = tiny_job(tiny_experiment("anpyc-removal"), 0)
    network = job.network(None).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    named = weights(network)
    places = torch.tensor([7, 0, 11])
    found = remove_weights(network, 0, name, places, job.task.train, job.task.validation, RemovalOptions(images=15))
    assert found.shape == (len(EFFECTS), 3)
    assert_close(weights(network), named)  # nothing stays removed
    before = [told(named, job.task.train, 15), told(named, job.task.validation)]
    for place, column in zip(places.tolist(), found.T, strict=True):
        without = {key: tensor.clone() for key, tensor in named.items()}
        without[name].view(-1)[place] = 0
        after = [told(without, job.task.train, 15), told(without, job.task.validation)]
        entropy = after[0]["entropy"].mean() - before[0]["entropy"].mean()
        expected = [
            entropy,
            abs(entropy),
            (after[0]["loss"] - before[0]["loss"]).mean(),
            ((after[0]["z"] - before[0]["z"]) ** 2).mean(),
            (after[1]["loss"] - before[1]["loss"]).mean(),
            before[1]["accuracy"].mean() - after[1]["accuracy"].mean(),
        ]
        np.testing.assert_allclose(column, expected, rtol=1e-4, atol=1e-6)


def test_every_reading_is_under_its_own_label() -> None:
    job = tiny_job(tiny_experiment("anpyc-removal"), 0)
    named = weights(job.network(None))
    named = {name: tensor + random_like(named, 3)[name] for name, tensor in named.items()}
    network = job.network({"network": named}).eval()
    found = importances(job, RemovalOptions(importance_batch=7), network)
    for label, importance in list(found.items())[:18]:
        sign, clamp, curvature = label.split(", ")
        options = anpyc_options(first_order=sign, clamp=clamp, curvature=curvature, importance_batch=7)
        assert_close(importance, slow_importance(named, job.task.train, 0, options), 1e-6)
    assert list(found)[18:] == ["EWC", "EWC * W^2 / 2", "MAS", "|W|"]
    for name, tensor in shared_of(named).items():
        torch.testing.assert_close(found["|W|"][name], tensor.abs())
        torch.testing.assert_close(found["EWC * W^2 / 2"][name], found["EWC"][name] * tensor**2 / 2)


def test_measure_leaves_a_table_a_layer() -> None:
    options = {"weights_per_layer": 5, "images": 20}
    state = run_chain(tiny_experiment("anpyc-removal", options=options))[0, "measure"]
    for name in ("hidden.0.weight", "hidden.1.weight"):
        assert len(state["weights"][name].unique()) == 5
        assert state["importance"][name].shape == (22, 5)
        assert (state["importance"][name][12:18] > 0).all()  # absolute
        assert state["effect"][name].shape == (len(EFFECTS), 5)
    again = call(removal.measure, tiny_job(tiny_experiment("anpyc-removal", options=options), 0, "measure"), state)
    assert torch.equal(again["weights"]["hidden.0.weight"], state["weights"]["hidden.0.weight"])
