"""The benchmarks' arithmetic, and that each runs; their timings decide nothing here."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.networks import lenet, mlp
from lifelong.networks.base import Network
from lifelong.params.networks import LeNetNetwork, MlpNetwork
from lifelong.runtime.randomness import generator

pytestmark = pytest.mark.workflow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_products_of_a_step_are_counted_by_hand() -> None:
    """3 -> 2 -> 1 with a batch of 5: the products made, and their operations, are those of a count on paper."""
    products = importlib.import_module("products")
    shapes: list[tuple[int, ...]] = []

    def product(a: Tensor, b: Tensor, out: Tensor) -> None:
        assert (a @ b).shape == out.shape
        shapes.append((*a.shape, b.shape[1]))

    products.products_of_step([3, 2, 1], 5, product)()
    z_1, d_weight_1 = (5, 3, 2), (2, 5, 3)
    z_2, d_weight_2, d_inward_2 = (5, 2, 1), (1, 5, 2), (5, 1, 2)
    assert shapes == [z_1, d_weight_1, z_2, d_weight_2, d_inward_2]
    assert products.product_flops([3, 2, 1], 5) == 60 + 60 + 20 + 20 + 20


def network(kind: str) -> Network:
    if kind == "mlp":
        perceptron = MlpNetwork(kind="mlp", hidden=[5, 4], initialisation="uniform-fan-in")
        return mlp.build(perceptron, (1, 8, 8), [2], generator(0)).eval()
    convolutional = LeNetNetwork(kind="lenet", initialisation="uniform-fan-in")
    return lenet.build(convolutional, (1, 8, 8), [2], generator(0)).eval()


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
def test_loop_and_vmap_are_opponents_of_the_same_importances(kind: str) -> None:
    """Both give the one-pass importances, so their times compare the same thing; two batches, the last one smaller.

    ANPyC's shortcut is what the released rule computes in our batch-sum.
    """
    importance = importlib.import_module("importance")
    source = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (150, 1, 8, 8), dtype=torch.uint8, generator=source)
    task = Split(images, torch.arange(150) % 2)
    for name in importance.KINDS:
        sides = importance.sides(name, network(kind), task)
        expected = sides["one pass"]()
        for way in ("per-sample loop", "vmap"):
            torch.testing.assert_close(sides[way](), expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(sides["mini-batch shortcut"](), sides[importance.BATCH_SUM](), rtol=1e-4, atol=1e-7)


def test_agreement_ignores_weights_of_no_importance() -> None:
    """Pearson's and Spearman's correlation of (1, 2, 3) with (1, 2, 9) by hand; the zero is left out of them."""
    importance = importlib.import_module("importance")
    found = importance.agreement(torch.tensor([1.0, 2, 9, 5]), torch.tensor([1.0, 2, 3, 0]))
    assert found["Spearman"] == pytest.approx(1)
    assert found["Pearson"] == pytest.approx(8 / (2 * 38) ** 0.5)
    assert found["relative distance"] == pytest.approx((36 + 25) ** 0.5 / 14**0.5)


@pytest.mark.parametrize("name", ["training", "jobs", "importance", "anpyc", "split2meta", "together", "growth"])
def test_runs_and_writes_its_report(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIFELONG_DATA", raising=False)
    output = tmp_path / "reports" / name
    done = CliRunner().invoke(importlib.import_module(name).main, ["--quick", "--output", str(output)])
    assert done.exception is None, done.output
    written = json.loads(output.with_suffix(".json").read_text())
    assert written["quick"]
    columns = list(written["rows"][0])
    assert f"| {' | '.join(columns)} |" in output.with_suffix(".md").read_text()


def test_without_a_gpu_its_benchmark_says_so_and_tries_itself_on_the_processor(tmp_path: Path) -> None:
    main = importlib.import_module("gpu").main
    if not torch.accelerator.is_available():
        refused = CliRunner().invoke(main, ["speed"])
        assert (refused.exit_code, "no GPU here" in refused.output) == (2, True)
    output = tmp_path / "speed"
    done = CliRunner().invoke(main, ["speed", "--device", "cpu", "--quick", "--output", str(output)])
    assert done.exception is None, done.output
    assert "the processor, in a card's place" in output.with_suffix(".md").read_text()
