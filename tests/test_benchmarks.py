"""The benchmark's arithmetic; its timings decide nothing here."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from torch import Tensor


def test_products_of_a_step_are_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 -> 2 -> 1 with a batch of 5: the products made, and their operations, are those of a count on paper."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    training = importlib.import_module("training")
    shapes: list[tuple[int, ...]] = []

    def product(a: Tensor, b: Tensor, out: Tensor) -> None:
        assert (a @ b).shape == out.shape
        shapes.append((*a.shape, b.shape[1]))

    training.products_of_step([3, 2, 1], 5, product)()
    z_1, d_weight_1 = (5, 3, 2), (2, 5, 3)
    z_2, d_weight_2, d_inward_2 = (5, 2, 1), (1, 5, 2), (5, 1, 2)
    assert shapes == [z_1, d_weight_1, z_2, d_weight_2, d_inward_2]
    assert training.product_flops([3, 2, 1], 5) == 60 + 60 + 20 + 20 + 20
