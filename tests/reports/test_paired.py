"""Differences of two experiments seed by seed, beside a count on paper, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.reports import draw_report

from lifelong.evaluation.metrics import over_seeds
from lifelong.params import Settings, settings
from lifelong.reports.cells import Cell, margin, read_csv
from lifelong.reports.figures import paired
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_result
from lifelong.runtime.errors import UserError

ACC = {"with": [0.9, 0.8, 0.85], "without": [0.7, 0.7, 0.7]}


def made(**change: Any) -> Settings:
    common = {"sequence": "two", "network": "net", "training": "short", "method": "sgd", "heads": "all-classes", "seeds": 3}
    split = {"dataset": "digits", "kind": "split", "tasks": 2, "classes_per_task": 2, "validation": {"first": 9}}
    report = {"kind": "paired", "title": "Pairs", "experiments": {"Part": ["with", "without"]}} | change.pop("report", {})
    return settings(
        {
            "sequences": {"two": split, "three": split | {"tasks": 3}},
            "networks": {"net": {"kind": "mlp", "hidden": [4], "initialisation": "uniform-fan-in"}},
            "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
            "experiments": {"with": common, "without": common | change},
            "reports": {"parts": {"pairs": report}},
        }
    )


def write_scores(name: str, seed: int, acc: float | None) -> None:
    """With a chunk protocol that `without` lacks and a guess of the task, which is no accuracy; without the first model."""
    protocols = ["task_incremental", "task_prediction_1"] + (["chunk_5"] if name == "with" else [])
    write_result(paths.scores(name, seed), {"test": {key: [[None, None], [acc, acc]] for key in protocols}})


def written(acc: Mapping[str, Sequence[float | None]], found: Settings) -> list[dict[str, str]]:
    for name, values in acc.items():
        for seed, value in zip(found.experiment(name).seeds, values, strict=True):
            write_scores(name, seed, value)
    draw_report(found, "parts/pairs")
    return read_csv(paths.report("parts/pairs", "csv"))


def test_seeds_are_compared_with_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = written(ACC, made(report={"options": {"metrics": ["acc", "bwt"]}}))
    assert (line["row"], line["metric"], line["n"]) == ("Part, task told", "acc_difference", "3")
    assert float(line["mean"]) == pytest.approx(15)
    assert float(line["deviation"]) == pytest.approx(5)
    low, high = stats.ttest_1samp([20, 10, 15], 0).confidence_interval(0.95)
    text = paths.report("parts/pairs", "md").read_text()
    assert f"15.00 ± 5.00 [{low:.2f}, {high:.2f}] more" in text
    assert paths.report("parts/pairs", "png").read_bytes().startswith(b"\x89PNG")
    (common,) = written(ACC, made(seeds=[2, 7, 1]))
    assert float(common["mean"]) == pytest.approx((10 + 15) / 2)  # seeds 1 and 2 of either
    assert common["n"] == "2"


def test_a_seed_that_diverged_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    acc: dict[str, list[float | None]] = {"with": [None, 0.6, 0.8], "without": [0.2, 0.5, 0.5]}
    (line,) = written(acc, made())
    assert float(line["mean"]) == pytest.approx(20)
    assert line["n"] == "2"
    assert "Diverged, and its values are of the other seeds: `with` (1 of 3 seeds)." in (
        paths.report("parts/pairs", "md").read_text()
    )


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([20, 10, 15], "more"),
        ([-20, -10, -15], "less"),
        ([20, -10, 15], "undecided"),
        ([1, 3, 6], "undecided"),  # above its deviation, but not by its interval
        ([20, 21], "not judged"),
    ],
)
def test_a_difference_is_judged_by_its_interval(values: list[float], word: str) -> None:
    found = over_seeds(values)
    cell = Cell("Part", "acc_difference", found["mean"], found["deviation"], found["n"])
    assert paired.decided(cell) == word
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert margin(cell) == pytest.approx((high - low) / 2)


def test_of_differences_of_nothing_one_in_twenty_is_told_from_0() -> None:
    random = np.random.default_rng(0)
    cells = [over_seeds(list(random.normal(0, 2, 3))) for _ in range(2000)]
    told = [paired.decided(Cell("r", "acc_difference", c["mean"], c["deviation"], c["n"])) for c in cells]
    assert 0.03 < np.mean([word != "undecided" for word in told]) < 0.07


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": {"experiments": {"Part": ["with"]}}}, "Part: found 1 experiments; expected two"),
        ({"sequence": "three"}, "'with' learns 'two' and 'without' 'three'; expected one sequence"),
        ({"seeds": [7]}, "have no seed in common"),
    ],
)
def test_impossible_pairs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**change)


def test_every_label_has_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = []
    monkeypatch.setattr(paired.style, "dots", lambda axes, rows, series: drawn.append((rows, series)))
    written(ACC, made())
    ((rows, ((_, (cell,), _),)),) = drawn
    assert rows == ["Part"]
    assert cell.deviation == pytest.approx(margin(Cell("", "acc_difference", 15.0, 5.0, 3)))
