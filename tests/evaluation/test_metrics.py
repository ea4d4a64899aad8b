"""ACC, BWT and both FWT beside the sums of reading P2, entry by entry, and the summary over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import tiny_experiment

from lifelong.evaluation import metrics
from lifelong.evaluation.metrics import all_metrics, over_seeds
from lifelong.pipeline.summarise import summarise
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_result

Rows = list[list[float | None]]
shares = st.floats(0, 1)


@st.composite
def matrices(draw: st.DrawFn, entry: st.SearchStrategy[float | None] = shares) -> tuple[Rows, list[float], list[float]]:
    """R, b and m of one to five tasks."""
    count = draw(st.integers(1, 5))
    row = st.lists(entry, min_size=count, max_size=count)
    vector = st.lists(shares, min_size=count, max_size=count)
    return draw(st.lists(row, min_size=count, max_size=count)), draw(vector), draw(vector)


def mean(terms: Callable[[], list[float]]) -> float | None:
    """None where there is no term, or one needs an entry that is not there."""
    try:
        found = terms()
    except TypeError:
        return None
    return sum(found) / len(found) if found else None


def by_hand(rows: Rows, b: list[float], m: list[float]) -> dict[str, float | None]:
    r, tasks = {(i, j): value for i, row in enumerate(rows, 1) for j, value in enumerate(row, 1)}, len(rows)
    later, earlier = range(2, tasks + 1), range(1, tasks)
    return {
        "acc": mean(lambda: [r[tasks, j] + 0.0 for j in range(1, tasks + 1)]),  # type: ignore[operator]
        "bwt": mean(lambda: [r[tasks, j] - r[j, j] for j in earlier]),  # type: ignore[operator]
        "smt": mean(lambda: [statistics.pvariance([r[i, j] + 0.0 for i in range(j, tasks + 1)]) for j in earlier]),  # type: ignore[operator]
        "fwt_gem": mean(lambda: [r[j - 1, j] - b[j - 1] for j in later]),  # type: ignore[operator]
        "fwt_joint": mean(lambda: [r[j, j] - m[j - 1] for j in later]),  # type: ignore[operator]
    }


@given(matrices(shares | st.none()) | matrices())
def test_metrics(case: tuple[Rows, list[float], list[float]]) -> None:
    rows, initial, joint = case
    expected = by_hand(rows, initial, joint)
    found = all_metrics(rows, initial, joint)
    assert found == {name: value if value is None else pytest.approx(value, abs=1e-12) for name, value in expected.items()}
    without = all_metrics(rows, None, None)
    assert without == found | {"fwt_gem": None, "fwt_joint": None}


def test_fluctuation_is_that_of_each_task_after_it_was_learnt() -> None:
    """What stands above the diagonal does not count, nor does the last task, nor what all steps have in common."""
    r = metrics.matrix([[0.9, 0.1, 0.3], [0.7, 0.8, 0.2], [0.8, 0.8, 0.4]])
    assert metrics.smt(r) == pytest.approx((0.01 * 2 / 3 + 0) / 2)
    assert metrics.smt(metrics.matrix([[0.5, 0.0], [0.5, 1.0]])) == 0


def test_forgetting_is_negative() -> None:
    r = metrics.matrix([[1.0, 0.5], [0.6, 0.9]])
    assert metrics.bwt(r) == pytest.approx(-0.4)
    assert metrics.acc(r) == pytest.approx(0.75)
    assert metrics.fwt_gem(r, [0.5, 0.4]) == pytest.approx(0.1)
    assert metrics.fwt_joint(r, [0.0, 1.0]) == pytest.approx(-0.1)


@given(st.lists(shares, min_size=1, max_size=6))
def test_over_seeds(values: list[float]) -> None:
    deviation = pytest.approx(statistics.stdev(values), abs=1e-12) if len(values) > 1 else None
    assert over_seeds(values) == {"mean": pytest.approx(statistics.fmean(values)), "deviation": deviation, "n": len(values)}
    assert over_seeds([*values, None]) == {"mean": None, "deviation": None, "n": len(values)}


def test_summary_pairs_each_seed_with_its_joint_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = replace(tiny_experiment("finetune", seeds=[1, 7]), joint="upper")
    values = iter(number / 100 for number in range(1, 100))

    def rows(first: int, triangle: bool) -> Rows:
        return [[next(values) if i >= first and (j <= i or not triangle) else None for j in range(3)] for i in range(3)]

    scores: dict[tuple[str, int], dict[str, Any]] = {
        (name, seed): {
            **{
                part: {"task_incremental": rows(first, False), "class_incremental": rows(first, True)}
                for part in ("test", "validation")
            },
            "initial": [next(values) for _ in range(3)],
            "tasks": 3,
        }
        for name, first in (("tiny", 0), ("upper", 2))
        for seed in (1, 7)
    }
    for (name, seed), found in scores.items():
        write_result(paths.scores(name, seed), found)
    summarise(experiment)
    summary = read_result(paths.summary("tiny"))
    for protocol in ("task_incremental", "class_incremental"):
        expected = [
            by_hand(
                scores["tiny", s]["test"][protocol], scores["tiny", s]["initial"], scores["upper", s]["test"][protocol][2]
            )
            for s in (1, 7)
        ]
        for metric, found in summary["test"][protocol].items():
            column = [one[metric] for one in expected]
            if protocol == "class_incremental" and metric == "fwt_gem":
                column = [None, None]
            assert found["by_seed"] == [value if value is None else pytest.approx(value) for value in column]
            assert {key: found[key] for key in ("mean", "deviation", "n")} == pytest.approx(over_seeds(column))
    assert summary["validation"]["task_incremental"]["fwt_gem"]["by_seed"] == [None, None], "b is of the test split"
