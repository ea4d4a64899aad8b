"""Experiments side by side from their scores: accuracy and forgetting against hand-made matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, TINY

from lifelong.params import load
from lifelong.pipeline.targets import DEMO
from lifelong.reports.compare import compare, draw_comparison, find_names, format_table
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_result
from lifelong.runtime.errors import UserError

TOLD = [[0.9, None], [0.7, 0.8]]
"""After the second task the first has fallen by 0.2; the mean is 0.75."""
NAME = "split-digits-ewc"


@pytest.fixture
def scored(untracked: Path) -> Any:
    Path("params.yaml").write_text(TINY)
    nothing: list[list[None]] = [[None, None], [None, None]]
    write_result(paths.scores(NAME, 0), {"test": {"task_incremental": TOLD, "class_incremental": nothing}})
    return load()


def test_accuracy_and_forgetting_by_protocol(scored: Any) -> None:
    (row,) = compare(scored, {"EWC": NAME})
    assert row.accuracy == {"task_incremental": pytest.approx(0.75), "class_incremental": None}
    assert row.forgetting == {"task_incremental": pytest.approx(0.2), "class_incremental": None}
    line = format_table([row]).splitlines()[1]
    assert line.split() == ["EWC", "75.0", "20.0", "-", "-", "1", "mlp-256-128", "-"]
    draw_comparison([row], Path("a.png"))
    assert Path("a.png").stat().st_size > 1000


def test_patterns_take_what_has_scores(scored: Any) -> None:
    assert find_names(scored, ["split-digits-*"]) == {NAME: NAME}
    assert list(find_names(scored, ["split-digits-er"])) == ["split-digits-er"]
    with pytest.raises(UserError, match="Did you mean 'split-digits-ewc'"):
        find_names(scored, ["split-digits-ewk"])
    with pytest.raises(UserError, match="none of these has scores here"):
        find_names(scored, ["*-er"])
    with pytest.raises(UserError, match=r"scores.json: no such file; `snakemake "):
        compare(scored, {"ER": "split-digits-er"})


def test_the_demo_shows_what_there_is() -> None:
    shipped = load(ROOT / "params.yaml")
    assert set(DEMO.values()) <= {*shipped.experiments, *shipped.skill.collectives}
