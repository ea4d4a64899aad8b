"""ANPyC's pruning: how much, in which rounds, and which weights (readings N2, N3, N8)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from lifelong.methods.anpyc import AnpycOptions
from lifelong.methods.anpyc.pruning import list_rounds, may_go, phase_epochs, prune_mask, target_percent


def anpyc_options(**options: Any) -> AnpycOptions:
    return AnpycOptions.model_validate({"strength": 1.0} | options)


def test_released_percentages_and_rounds() -> None:
    options = anpyc_options()
    targets = [target_percent(options, task) for task in range(10)]
    assert targets == [50, 40, 32, 25, 20, 16, 12, 9, 7, 5]
    percents = [list_rounds(options, task) for task in range(9)]
    assert [len(found) for found in percents] == [5, 4, 4, 3, 2, 2, 2, 1, 1]
    for target, found in zip(targets, percents, strict=False):
        assert found == [10 * (number + 1) for number in range(len(found))]
        assert found[-1] >= target > found[-1] - 10


@pytest.mark.parametrize(
    ("percent", "step", "expected"),
    [(15, 10, [10, 15]), (10, 10, [10]), (5, 10, [5]), (20, 10, [10, 20]), (9, 4, [4, 8, 9])],
)
@pytest.mark.parametrize("task", [0, 3])
def test_constant_percentage_is_met(percent: int, step: int, expected: list[int], task: int) -> None:
    options = anpyc_options(pruning="constant", prune_percent=percent, prune_step=step)
    assert target_percent(options, task) == percent
    assert list_rounds(options, task) == expected


def prune(importance: Tensor, previous: Tensor | None, percent: int) -> Tensor:
    """One tensor's mask as released, from that of the task before."""
    free = may_go(anpyc_options(), previous, None if previous is None else torch.ones_like(importance))
    return prune_mask(importance, torch.ones_like(importance), free, percent, "extra")


def order_statistic(percent: int, count: int) -> Fraction:
    """Rank of the percentile among `count` sorted values, from 0; refuses what floats cannot hold."""
    rank = Fraction(percent * (count - 1), 100)
    assume(rank.denominator > 1 or percent / 100 * (count - 1) == rank)
    return rank


@given(st.permutations(range(1, 30)), st.integers(2, 29), st.integers(1, 99))
def test_first_task_prunes_what_is_below_the_percentile(order: list[int], count: int, percent: int) -> None:
    values = np.array(order[:count], float)
    pruned = math.ceil(order_statistic(percent, count))
    kept = prune(torch.from_numpy(values), None, percent).numpy()
    np.testing.assert_array_equal(kept, [value not in np.sort(values)[:pruned] for value in values])
    assert (kept == (values >= np.percentile(values, percent))).all()


@given(st.permutations(range(30)), st.integers(1, 29), st.integers(1, 99))
def test_later_tasks_prune_up_to_the_percentile_of_what_was_pruned_before(
    order: list[int], count: int, percent: int
) -> None:
    """The first `count` were pruned before; only their own values decide, however unimportant the others are."""
    values = np.array(order, float)
    previous = torch.ones(30, dtype=torch.float64).index_fill_(0, torch.arange(count), 0)
    pruned = math.floor(order_statistic(percent, count)) + 1
    kept = prune(torch.from_numpy(values), previous, percent).numpy()
    least = np.sort(values[:count])[:pruned]
    np.testing.assert_array_equal(kept, [place >= count or value not in least for place, value in enumerate(values)])


@pytest.mark.parametrize("task", range(4))
@given(epochs=st.integers(1, 60))
def test_a_shared_budget_is_spent_evenly_and_wholly(task: int, epochs: int) -> None:
    shared, each = anpyc_options(budget="shared"), anpyc_options()
    phases = phase_epochs(shared, epochs, task, last=False)
    assert sum(phases) == epochs
    assert max(phases) - min(phases) <= 1
    assert phases == sorted(phases, reverse=True)
    assert (
        phase_epochs(each, epochs, task, last=False)
        == [epochs] * len(phases)
        == [epochs] * (1 + len(list_rounds(each, task)))
    )
    for options in (shared, each, anpyc_options(pruning="none", budget="shared")):
        assert phase_epochs(options, epochs, task, last=True) == [epochs]
    assert phase_epochs(anpyc_options(pruning="none"), epochs, task, last=False) == [epochs]


@pytest.mark.parametrize(
    ("importance", "previous", "kept"),
    [
        ([1, 1, 1, 5, 6], None, [1, 1, 1, 1, 1]),  # ties at the threshold stay in the first task
        ([1, 1, 1, 5, 6], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1]),  # and go in the later ones
        ([0, 0, 0, 0, 6], None, [0, 0, 0, 0, 1]),  # exact zeros go whatever the percentage
        ([0, 0, 0, 0, 0], None, [0, 0, 0, 0, 0]),
        ([0, 0, 0, 3, 0], [1, 1, 0, 0, 1], [1, 1, 0, 1, 1]),
        ([0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),  # nothing is left to give back
    ],
)
def test_ties_and_zeros(importance: list[float], previous: list[float] | None, kept: list[float]) -> None:
    before = None if previous is None else torch.tensor(previous)
    assert prune(torch.tensor(importance, dtype=torch.float32), before, 50).tolist() == kept


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(1, 99)), min_size=2, max_size=6))
def test_the_free_set_only_shrinks(tasks: list[tuple[int, int]]) -> None:
    """N8, with many ties and zeros."""
    previous: Tensor | None = None
    for seed, percent in tasks:
        importance = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (4, 6)).astype(np.float32))
        mask = prune(importance, previous, percent)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert previous is None or not ((mask == 0) & (previous == 1)).any()
        previous = mask


ROOM: dict[str, Any] = {"pruning": "constant", "prune_percent": 20}


def test_which_weights_a_later_task_may_prune() -> None:
    """N33: what the last task pruned; what nothing holds, pruned or not; any. The first task may prune any."""
    mask, held = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 0, 0, 5])
    expected = {"freed": [True, True, False, False], "unprotected": [True, True, True, False]}
    for prune_from, free in expected.items():
        options = anpyc_options(prune_from=prune_from, **ROOM)
        found = may_go(options, mask, held)
        assert found is not None
        assert found.tolist() == free
        assert may_go(options, None, None) is None
    assert may_go(anpyc_options(prune_from="all", **ROOM), mask, held) is None


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 99), st.booleans())
def test_counted_percentages_are_met_whatever_the_zeros(seed: int, ties: int, percent: int, later: bool) -> None:
    """N34: `percent` of the weights that may go; less important ones first, among equals those of smaller magnitude."""
    random = np.random.default_rng(seed)
    importance = random.integers(0, 1 + 3**ties, (5, 8)) / 4
    weight = random.permutation(40).reshape(5, 8) - 20.3
    free = random.random((5, 8)) < 0.7 if later else None
    kept = prune_mask(
        torch.from_numpy(importance),
        torch.from_numpy(weight),
        torch.from_numpy(free) if free is not None else None,
        percent,
        "counted",
    ).numpy()
    places = [place for place in np.ndindex(5, 8) if free is None or free[place]]
    ranked = sorted(places, key=lambda place: (importance[place], abs(weight[place])))
    gone = ranked[: round(percent / 100 * len(places))]
    np.testing.assert_array_equal(kept == 0, [[(i, j) in gone for j in range(8)] for i in range(5)])


def test_zeros_beside_the_percentage_hide_it() -> None:
    """Where a third of a tensor has importance 0, any smaller percentage gives one and the same released mask."""
    importance = torch.arange(30.0).sub(9).clamp_min(0)
    weight = torch.linspace(-1, 1, 30)
    released = [int((prune_mask(importance, weight, None, percent, "extra") == 0).sum()) for percent in (1, 5, 30)]
    counted = [int((prune_mask(importance, weight, None, percent, "counted") == 0).sum()) for percent in (10, 20, 30)]
    assert released == [10, 10, 10]
    assert counted == [3, 6, 9]


@pytest.mark.parametrize("task", range(3))
def test_equal_learning_gives_learning_its_epochs_and_the_rounds_as_many(task: int) -> None:
    learning, *rounds = phase_epochs(anpyc_options(budget="equal-learning"), 17, task, last=False)
    assert learning == sum(rounds) == 17
    assert max(rounds) - min(rounds) <= 1
    assert len(rounds) == len(list_rounds(anpyc_options(), task))
