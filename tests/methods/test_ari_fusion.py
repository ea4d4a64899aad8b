"""Distances, weights, fused models and the regulariser of ARI beside numpy, closed forms and autograd."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lifelong.methods.ari.fusion import (
    AverageFusion,
    Fusion,
    IntentFusion,
    LiteralFusion,
    PaperFusion,
    distance_matrix,
    learning_share,
    manhattan,
    pull_back,
    softmax_weights,
)
from lifelong.methods.ari.regulariser import add_regulariser_gradient_, regulariser

SIZES = [3, 1, 4]
PARTS = [slice(0, 3), slice(3, 4), slice(4, 8)]


def models(seed: int, count: int) -> list[Tensor]:
    return list(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)))


def fused(fusion: Fusion, added: list[Tensor]) -> Tensor:
    """Each model is overwritten as soon as it was added, as the task updates do; the last one stays."""
    live = torch.empty(8)
    for model in added:
        live.copy_(model)
        fusion.add(live, manhattan(live, fusion.base, SIZES))
    return fusion.result()


FUSIONS: dict[str, Callable[[Tensor], Fusion]] = {
    "paper": lambda base: PaperFusion(base, SIZES, "relative", by_tensor=False),
    "paper by tensor": lambda base: PaperFusion(base, SIZES, "relative", by_tensor=True),
    "paper raw": lambda base: PaperFusion(base, SIZES, "raw", by_tensor=False),
    "intent": lambda base: IntentFusion(base, SIZES),
    "average": lambda base: AverageFusion(base, SIZES),
    "literal": lambda base: LiteralFusion(base, SIZES),
}


def test_distances_are_sums_of_magnitudes() -> None:
    a, b, c = models(0, 3)
    expected = [float(np.abs(a[part].numpy() - b[part].numpy()).sum()) for part in PARTS]
    np.testing.assert_allclose(manhattan(a, b, SIZES).numpy(), expected, rtol=1e-6)
    dif = distance_matrix(torch.stack([a, b, c]))
    assert torch.equal(dif.diagonal(), torch.zeros(3))
    torch.testing.assert_close(dif, dif.T)
    torch.testing.assert_close(dif[0, 1], manhattan(a, b, SIZES).sum())


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=6), st.sampled_from(["relative", "mean", "raw"]))
def test_rows_sum_to_one_and_order_as_the_distances(row: list[float], distance: str) -> None:
    values = torch.tensor([*row, 0.0], dtype=torch.float64)
    weights = softmax_weights(values, 1000, distance)  # type: ignore[arg-type]
    assert float(weights.sum()) == pytest.approx(1)
    order = values.argsort()
    assert (weights[order].diff() >= -1e-12).all()


def test_readings_of_equation_8() -> None:
    """Reading A4: distances near 14,000 saturate raw, are uniform as means, and graded relative to their mean."""
    row = torch.tensor([14000.0, 14010.0, 13900.0, 0.0], dtype=torch.float64)
    assert softmax_weights(row, 1_400_000, "raw")[1] > 0.9999
    np.testing.assert_allclose(softmax_weights(row, 1_400_000, "mean"), [0.2506, 0.2506, 0.2506, 0.2481], atol=1e-4)
    scaled = [math.exp(d / (41910 / 3)) for d in row.tolist()]
    np.testing.assert_allclose(softmax_weights(row, 1, "relative"), [x / sum(scaled) for x in scaled], rtol=1e-9)
    np.testing.assert_allclose(softmax_weights(row, 1, "relative"), [0.2976, 0.2978, 0.2954, 0.1092], atol=1e-4)


@pytest.mark.parametrize("name", FUSIONS)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_equal_models_fuse_to_themselves(name: str, seed: int, count: int) -> None:
    base = models(seed, 1)[0]
    found = fused(FUSIONS[name](base), [base] * count)
    torch.testing.assert_close(found, base, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pull_back(found, base, 0.1), base, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_fused_models_are_the_weighted_sums(seed: int, count: int) -> None:
    base, *added = models(seed, count + 1)
    x, b = np.stack([model.double().numpy() for model in added]), base.double().numpy()
    d = np.array([[np.abs(model - b)[part].sum() for part in PARTS] for model in x])  # [models, tensors]

    whole = np.append(d.sum(1), 0)
    w = np.exp(whole / whole[:-1].mean())
    expected = (w / w.sum()) @ np.vstack([x, b])
    np.testing.assert_allclose(fused(FUSIONS["paper"](base), added), expected, atol=1e-5)

    for name, weigh, last in (
        ("paper by tensor", lambda t: np.exp(np.append(d[:, t], 0) / d[:, t].mean()), [b]),
        ("intent", lambda t: d[:, t] ** 2 + 0.85, []),
        ("average", lambda t: np.ones(count), []),
    ):
        parts = []
        for t, part in enumerate(PARTS):
            w = weigh(t)
            parts.append((w / w.sum()) @ np.vstack([x, *last])[:, part])
        np.testing.assert_allclose(fused(FUSIONS[name](base), added), np.concatenate(parts), atol=1e-5, err_msg=name)
    assert torch.equal(fused(FUSIONS["literal"](base), added), added[-1])


def test_a_farther_model_weighs_more() -> None:
    base = torch.zeros(8)
    near, far = torch.full((8,), 0.1), torch.full((8,), 1.0)
    for name in ("paper", "paper by tensor", "paper raw", "intent"):
        found = fused(FUSIONS[name](base), [far, near])
        torch.testing.assert_close(found, fused(FUSIONS[name](base), [near, far]))
        assert (found > fused(FUSIONS["average"](base), [near, far, base])).all()


def test_exponential_schedule_is_the_released_one() -> None:
    found = [learning_share(session, 10, 1.0) for session in (0, 1, 2, 9)]
    np.testing.assert_allclose(found, [1, 0.905, 0.819, 0.407], atol=5e-4)


def test_pulling_back_mixes_with_the_base() -> None:
    base, model = models(3, 2)
    torch.testing.assert_close(pull_back(model, base, 0.1), 0.1 * model + 0.9 * base)
    assert torch.equal(pull_back(model, base, 1.0), model)


def test_regulariser_counts_each_pair_twice() -> None:
    model, other, base = models(4, 3)
    d = [float((model - x).abs().double().mean()) for x in (other, base)]
    expected = 0.7 * sum(value**2 for value in [*d, *d])
    assert float(regulariser(model, [other, base], 0.7)) == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_gradient_of_the_regulariser_is_autograds(seed: int, count: int) -> None:
    model, *others = models(seed, count + 1)
    live = model.clone().requires_grad_()
    (expected,) = torch.autograd.grad(regulariser(live, others, 0.7), live)
    start = models(seed + 1, 1)[0]
    found = start.clone()
    add_regulariser_gradient_(found, model, others, 0.7)
    torch.testing.assert_close(found - start, expected, atol=1e-6, rtol=1e-4)


def test_a_model_that_has_not_moved_is_not_pulled() -> None:
    base, gradient = models(5, 1)[0], torch.zeros(8)
    add_regulariser_gradient_(gradient, base.clone(), [base], 100.0)
    assert torch.equal(gradient, torch.zeros(8))
