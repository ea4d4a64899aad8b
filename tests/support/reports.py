"""Draws reports as the pipeline does: measured and collected from the files of stages, then drawn from what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lifelong.params import Settings
from lifelong.reports.collect import collect, measure, shown_experiments
from lifelong.reports.draw import write
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_result, write_tensors


def draw_report(settings: Settings, name: str) -> None:
    """One report as if its section had no other."""
    report = settings.report(name)
    alone = replace(settings, reports={name: report})
    complete_scores(alone, report.section)
    if report.kind.measures:
        measure(alone, report)
    collect(alone, report.section)
    write(alone, report, Results(alone, report.section))


def complete_scores(settings: Settings, section: str) -> None:
    """Whatever a test left out of the scores that it wrote by hand: three answers to each task, nothing on validation."""
    for name in shown_experiments(settings, section):
        for seed in settings.experiment(name).seeds:
            scores = read_result(paths.scores(name, seed))
            usual: dict[str, Any] = {"initial": None, "initial_by_protocol": {}, "validation": {}}
            write_result(paths.scores(name, seed), usual | scores)
            if not paths.predictions(name, seed).exists():
                count = len(next(iter(scores["test"].values())))
                answers = {f"after-00.on-{task:02d}.task": np.zeros(3, np.int16) for task in range(count)}
                write_tensors(paths.predictions(name, seed), "predictions", answers, {})
