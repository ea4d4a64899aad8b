"""What the benchmark of Split2MetaFusion is made of."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.workflow


def test_a_projected_epoch_is_one_of_the_named_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark = importlib.import_module("split2meta")
    network = benchmark.network_of(1)
    spaces = benchmark.random_subspaces(network, 0.5)
    assert spaces["stem"].basis.shape == (27, 14)
    before = [parameter.clone() for parameter in network.parameters()]
    benchmark.epoch(network, benchmark.images(), benchmark.ProjectedUpdates(spaces, {}))()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
