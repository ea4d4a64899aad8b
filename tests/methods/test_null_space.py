"""Kept subspaces: projections, how many directions are kept, and that what is taken out stays out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lifelong.methods.split2meta.null_space import Subspace, find_subspace, from_tensors, kept_count, to_tensors

SIZE = 7


def moment(seed: int, rank: int, size: int = SIZE) -> Tensor:
    """A random positive semi-definite matrix whose eigenvalues spread over decades."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    return factor @ torch.diag(10.0 ** -torch.arange(rank, dtype=torch.float64)) @ factor.T


def projection(space: Subspace) -> Tensor:
    return space.project(torch.eye(len(space.basis)))


rules = st.sampled_from([("energy", 1e-4), ("energy", 0.05), ("energy", 0.5), ("ratio", 1.0), ("ratio", 50.0)])


@given(seed=st.integers(0, 10**6), rank=st.integers(1, SIZE), rule=rules)
def test_projection_is_idempotent_and_symmetric(seed: int, rank: int, rule: tuple[str, float]) -> None:
    space = find_subspace(moment(seed, rank), *rule)
    p = projection(space)
    torch.testing.assert_close(p @ p, p, atol=1e-5, rtol=0)
    torch.testing.assert_close(p, p.T, atol=1e-6, rtol=0)
    assert p.trace().item() == pytest.approx(space.dimensions, abs=1e-4)
    assert space.basis.shape[1] <= SIZE / 2
    torch.testing.assert_close(projection(from_tensors(to_tensors({"a.b": space}))["a.b"]), p, atol=0, rtol=0)


@given(seed=st.integers(0, 10**6), rank=st.integers(1, SIZE), share=st.sampled_from([1e-6, 1e-3, 0.1, 0.6]))
def test_energy_keeps_as_much_as_it_may(seed: int, rank: int, share: float) -> None:
    """The kept directions hold at most the share of the trace; with one direction more they would hold too much."""
    m = moment(seed, rank)
    space = find_subspace(m, "energy", share)
    p = projection(space).double()
    held = (p @ m @ p).trace()
    assert held <= share * m.trace() + 1e-5 * m.trace()
    lost = torch.linalg.eigvalsh((torch.eye(SIZE) - p) @ m @ (torch.eye(SIZE) - p))
    smallest_lost = lost[lost > 1e-6 * m.trace()].min()
    assert held + smallest_lost >= share * m.trace() - 1e-5 * m.trace()


@given(seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=5), rule=rules)
def test_nested_dimensions_never_grow(seeds: list[int], rule: tuple[str, float]) -> None:
    """Later subspaces lie within earlier ones, whatever the later moments are."""
    total, before = torch.zeros(SIZE, SIZE, dtype=torch.float64), None
    for number, seed in enumerate(seeds):
        total = total + 10.0**number * moment(seed, 1 + seed % SIZE)
        space = find_subspace(total, *rule, before)
        if before is not None:
            assert space.dimensions <= before.dimensions
            inner, outer = projection(space), projection(before)
            torch.testing.assert_close(outer @ inner, inner, atol=1e-5, rtol=0)
        before = space


def test_anew_dimensions_may_grow() -> None:
    """Why `nested` exists: a later task that only uses a direction already in use raises what the energy rule gives up."""
    first = torch.diag(torch.tensor([1.0, 0.2, 0.0], dtype=torch.float64))
    later = first + torch.diag(torch.tensor([100.0, 0.0, 0.0], dtype=torch.float64))
    before = find_subspace(first, "energy", 0.01)
    assert before.dimensions == 1
    assert find_subspace(later, "energy", 0.01).dimensions == 2
    assert find_subspace(later, "energy", 0.01, before).dimensions == 1


@pytest.mark.parametrize(
    ("rule", "threshold", "count"),
    [
        ("energy", 0.06, 3),
        ("energy", 0.059, 2),
        ("energy", 1e-9, 1),
        ("ratio", 20.0, 1),
        ("ratio", 2e10, 2),
        ("ratio", 1e13, 4),
    ],
)
def test_counts_by_hand(rule: str, threshold: float, count: int) -> None:
    """0, 1, 5 and 94 of 100; the smallest counts as 1e-12 of the largest, so that 1 is 1.06e10 times it."""
    values = torch.tensor([0.0, 1.0, 5.0, 94.0], dtype=torch.float64)
    assert kept_count(values, rule, threshold, 100.0) == count


def test_unused_layer_keeps_all_and_full_one_nothing() -> None:
    nothing = find_subspace(torch.zeros(3, 3, dtype=torch.float64), "energy", 0.1)
    assert nothing.dimensions == 3
    full = find_subspace(torch.eye(3, dtype=torch.float64), "energy", 0.1)
    assert full.dimensions == 0
    assert (full.project(torch.ones(2, 3)) == 0).all()
