"""The time left, and what a run shows of itself: few lines, a failed job's own words, the nearest target."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from support.project import TINY

from lifelong.runtime.timings import Remaining, Timings, describe_seconds
from snakemake_logger_plugin_lifelong import LogHandler

QUIET: Any = SimpleNamespace(dryrun=False, verbose=False, printshellcmds=False)


def test_a_job_is_estimated_by_itself_then_by_its_rule() -> None:
    timings = Timings({"learn": {"a": 10.0, "b": 30.0}})
    assert timings.estimate("learn", "a") == 10
    assert timings.estimate("learn", "c") == 20
    assert timings.estimate("evaluate", "a") is None
    assert timings.estimate_all({"learn": 2, "evaluate": 3}) == 2 * 20 + 3 * 20
    assert timings.estimate_all({"evaluate": 3}) is None
    timings.note("learn", "a", 20)
    assert timings.estimate("learn", "a") == 15


def test_times_are_kept_and_damage_is_no_error(tmp_path: Path) -> None:
    timings = Timings({})
    timings.note("learn", "a", 3)
    timings.write(tmp_path / "times.json")
    assert Timings.read(tmp_path / "times.json").estimate("learn", "a") == 3
    (tmp_path / "times.json").write_text("[1")
    assert Timings.read(tmp_path / "times.json").estimate("learn") is None


def test_what_this_run_took_stands_above_earlier_runs() -> None:
    remaining = Remaining(Timings({"learn": {"a": 100.0}, "evaluate": {"a": 4.0}}), {"learn": 3, "evaluate": 2}, cores=2)
    assert remaining.estimate(0) == (3 * 100 + 2 * 4) / 2
    remaining.finish("learn", 10)
    assert remaining.estimate(10) == 2 * 10 + 2 * 4  # one at a time so far


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (600, "10 min"), (9000, "2.5 h")])
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text


def show(handler: LogHandler, event: LogEvent | None, text: str = "", level: int = logging.INFO, **values: Any) -> None:
    record = logging.LogRecord("snakemake", level, "", 0, text, None, None)
    record.__dict__ |= {"event": event, **values}
    handler.emit(record)


def run(jobs: int, failing: set[int]) -> None:
    handler = LogHandler(QUIET, None)
    show(handler, None, "Building DAG of jobs...")
    show(handler, LogEvent.RUN_INFO, stats={"learn": jobs, "total": jobs})
    for number in range(jobs):
        wildcards = {"experiment": "ewc", "seed": "0", "task": str(number)}
        about: dict[str, Any] = {"rule_name": "learn", "log": [f"logs/{number}.log"]}
        output = [f"reports/mine/{number}.md"]
        show(handler, LogEvent.JOB_INFO, jobid=number, wildcards=wildcards, output=output, **about)
        show(handler, LogEvent.JOB_STARTED, jobs=[number])
        if number in failing:
            show(handler, LogEvent.JOB_ERROR, jobid=number, **about)
        else:
            show(handler, LogEvent.JOB_FINISHED, job_id=number)
    show(handler, None, "WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR)
    handler.close()
    handler.close()


def test_a_long_run_says_little(untracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(1000, set())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1000 jobs")
    assert len(lines) <= 40
    assert "  lifelong show mine/0" in lines
    assert Timings.read().estimate("learn", "ewc") is not None


def test_a_failed_job_speaks_for_itself(untracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("logs").mkdir()
    for number in range(30):
        Path(f"logs/{number}.log").write_text("\n".join([*"abcdefgh", "lifelong: the loss is nan"]))
    run(30, set(range(20)))
    said = capsys.readouterr().err
    assert "failed: learn ewc seed 0 task 0\nlogs/0.log:\n    d\n" in said
    assert said.count("the loss is nan") == 2
    assert "10 of 30 jobs done" in said
    assert "failed too: learn ewc seed 0 task 2" in said
    assert "WorkflowError" not in said
    assert len(said.splitlines()) <= 40


@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        ("demmo", "demmo: no such target; did you mean demo?"),
        ("split-digits-ewc", "an experiment, not a target; did you mean results/split-digits-ewc/summary.json?"),
        ("reports/digits/comparson.md", "did you mean reports/digits/comparison.md?"),
        ("xyz", "xyz: no such target; `snakemake --list-target-rules`"),
    ],
)
def test_a_wrong_target_leads_to_the_nearest(
    target: str, nearest: str, untracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").write_text(TINY)
    missing = f"MissingRuleException:\nNo rule to produce {target} (if you use input functions ...)."
    show(LogHandler(QUIET, None), None, missing, logging.ERROR)
    assert nearest in capsys.readouterr().err
