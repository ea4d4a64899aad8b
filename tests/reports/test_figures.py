"""The numbers of the figures, each against an independent statement of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from lifelong.params.networks import MlpNetwork
from lifelong.params.reports import parameter
from lifelong.reports.figures.importance_density import normalise_values, shape
from lifelong.reports.figures.parameter_distance import densities, frechet_curve, frechet_gaussian
from lifelong.reports.figures.parameter_growth import counts
from lifelong.runtime.errors import UserError


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_parameters_are_those_of_the_closed_form(hidden: list[int], classes: int, learnt: int, more: int) -> None:
    widths = [12, *hidden]
    shared = sum(a * b + b for a, b in itertools.pairwise(widths))
    head = hidden[-1] * classes + classes
    tasks = learnt + more
    network = MlpNetwork(kind="mlp", hidden=hidden, initialisation="truncated-normal")
    assert counts(network, [1, 3, 4], classes, learnt, tasks) == {
        "EWC": shared + learnt * head,
        "ANPyC": shared + learnt * head,
        "HAT": shared + learnt * (head + sum(hidden)),
        "Joint": shared + tasks * head,
    }


@pytest.mark.parametrize(
    ("first", "second"), [((0.3, 0.2), (-0.1, 0.5)), ((0.0, 1.0), (0.0, 0.4)), ((1.0, 0.3), (2.0, 0.3))]
)
def test_frechet_of_gaussians_is_the_distance_of_their_quantiles(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    """In one dimension: the root of the integral of (Q1(p) - Q2(p))^2 over p."""

    def squared(p: float) -> float:
        return float(stats.norm(*first).ppf(p) - stats.norm(*second).ppf(p)) ** 2

    expected = math.sqrt(integrate.quad(squared, 0, 1)[0])
    shaped = [m + s * np.array([-1.0, 1.0, -1.0, 1.0]) for m, s in (first, second)]
    assert frechet_gaussian(*shaped) == pytest.approx(expected, rel=1e-4)


def longest_leashes(a: np.ndarray, b: np.ndarray, i: int = 0, j: int = 0) -> list[float]:
    """The longest leash of every walk from (i, j) to the two ends."""
    here = math.dist(a[i], b[j])
    if (i, j) == (len(a) - 1, len(b) - 1):
        return [here]
    steps = [(i + di, j + dj) for di, dj in ((1, 0), (0, 1), (1, 1)) if i + di < len(a) and j + dj < len(b)]
    return [max(here, rest) for k, m in steps for rest in longest_leashes(a, b, k, m)]


points = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=4)


@given(points, points)
def test_frechet_of_curves_is_the_shortest_of_all_leashes(
    a: list[tuple[float, float]], b: list[tuple[float, float]]
) -> None:
    first, second = np.array(a), np.array(b)
    assert frechet_curve(first, second) == pytest.approx(min(longest_leashes(first, second)))


def test_densities_lie_in_the_unit_square_and_keep_the_shares() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, 4000), random.normal(1, 2, 3000)
    first, second = densities(a, b)
    assert max(first[:, 1].max(), second[:, 1].max()) == 1.0
    assert first[:, 0].tolist() == second[:, 0].tolist() == [(i + 0.5) / 100 for i in range(100)]
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    for values, curve in ((a, first), (b, second)):
        for i in (40, 55):
            inside = (low + i * (high - low) / 100 <= values) & (values < low + (i + 1) * (high - low) / 100)
            assert curve[i, 1] / curve[:, 1].sum() == pytest.approx(inside.mean())
    assert frechet_curve(first, first) == 0.0


@pytest.mark.parametrize("ones", [1, 3, 40])
def test_shape_of_zeros_and_ones_is_that_of_a_bernoulli_variable(ones: int) -> None:
    values = np.array([1.0] * ones + [0.0] * (100 - ones))
    p, q = ones / 100, 1 - ones / 100
    found = shape(values)
    assert found["kurtosis_fisher"] == pytest.approx((1 - 6 * p * q) / (p * q))
    assert found["kurtosis_pearson"] == pytest.approx(found["kurtosis_fisher"] + 3)
    assert found["skewness"] == pytest.approx((q - p) / math.sqrt(p * q))
    assert found["low_share"] == pytest.approx(100 * q)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8).filter(lambda values: max(values) - min(values) > 1e-3))
def test_normalised_runs_from_0_to_1_in_proportion(values: list[float]) -> None:
    found = normalise_values(np.array(values), "x")
    assert (found.min(), found.max()) == (0.0, 1.0)
    span = max(values) - min(values)
    for (a, fa), (b, fb) in itertools.combinations(zip(values, found, strict=True), 2):
        assert fa - fb == pytest.approx((a - b) / span, abs=1e-9)


def test_equal_importances_have_no_distribution() -> None:
    with pytest.raises(UserError, match="seed 3, MAS: every weight has importance 0"):
        normalise_values(np.zeros(4), "seed 3, MAS")


def test_a_parameter_is_found_by_its_dotted_path() -> None:
    parameters = {"options": {"strength": 3.5, "on": True}, "network": {"hidden": [64, 32]}, "method": "ewc"}
    assert parameter(parameters, "options.strength") == 3.5
    assert parameter(parameters, "network.hidden.1") == 32
    for path in ("options.strengt", "options.on", "network.hidden.2", "network.hidden", "method", "options.strength.x"):
        assert parameter(parameters, path) is None
