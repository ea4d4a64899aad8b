"""SKILL's benchmark runs, and its speed-up is that of the longest of the agents."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.workflow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_speed_up_is_that_of_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = importlib.import_module("skill_agents")
    found = iter([10.0, 6.0, 8.0, 4.0, 30.0, 10.0])  # N = 1 and 2 in three rounds
    monkeypatch.setattr(agents, "seconds", lambda work, n: next(found))
    monkeypatch.setattr(agents.os, "cpu_count", lambda: 2)
    rows = agents.rows(agents.Work(4, 2, 40, 8, 2, 2), 3)
    assert [row.value for row in rows] == [10.0, 2.0, 1.0]


def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    output = tmp_path / "reports" / "skill"
    done = CliRunner().invoke(importlib.import_module("skill").main, ["--quick", "--output", str(output)])
    assert done.exception is None, done.output
    written = json.loads(output.with_suffix(".json").read_text())
    assert {row["part"] for row in written["rows"]} == {"MAHA", "GMMC", "heads", "agents"}
    assert all(row["value"] > 0 for row in written["rows"])
