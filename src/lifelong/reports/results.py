"""What reports read of the experiments' results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lifelong.evaluation.metrics import matrix, over_seeds
from lifelong.params import Experiment
from lifelong.reports.cells import Cell
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result

METRIC_NOTES = """\
Values are percent on the test split, task-incremental (the task is told at test), mean ± sample deviation over the seeds.
R[i, j] is the accuracy on task j after task i: ACC = mean of R[T, j]; BWT = mean of R[T, j] - R[j, j] over j < T; FWT
(against joint) = mean of R[j, j] - m[j] over j > 1, with m the accuracies of joint training with the same seed. The last
epoch's weights are taken; nothing is chosen on the test split."""


def percent(summary: dict[str, Any], protocol: str, metric: str) -> dict[str, Any]:
    """Mean and deviation in percent, and n, of one metric of a summary; none where the metric does not exist."""
    result = summary["test"][protocol][metric]
    return {
        "mean": None if result["mean"] is None else 100 * result["mean"],
        "deviation": None if result["deviation"] is None else 100 * result["deviation"],
        "n": result["n"],
    }


def of_finite_seeds(by_seed: Sequence[float | None]) -> dict[str, Any]:
    """Mean and deviation in percent, and n, of the seeds that have a value; the others diverged."""
    return over_seeds([100 * value for value in by_seed if value is not None])


def summary_cell(row: str, name: str, metric: str, x: float | None = None) -> Cell | None:
    """A metric of an experiment's summary, task-incremental; none where the experiment cannot give it."""
    result = percent(read_result(paths.summary(name)), "task_incremental", metric)
    if result["mean"] is None:
        return None
    return Cell(row, metric, result["mean"], result["deviation"], result["n"], x, name)


def lost_seeds(name: str) -> tuple[int, int]:
    """How many of the experiment's seeds diverged, and how many it has."""
    by_seed = read_result(paths.summary(name))["test"]["task_incremental"]["acc"]["by_seed"]
    return by_seed.count(None), len(by_seed)


def diverged(names: Sequence[str], therefore: str = "and a cross on the axis therefore") -> str:
    """Which of the experiments have seeds whose training diverged, as a sentence; empty where none has."""
    counts = {name: lost_seeds(name) for name in names}
    result = [f"`{name}` ({lost} of {seeds} seeds)" for name, (lost, seeds) in counts.items() if lost]
    return f"Diverged, {therefore}: {', '.join(result)}.\n" if result else ""


def mean_over_seen(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """After each task t, the mean over j <= t of R[t, j] in percent; none where the row has no accuracies."""
    r = matrix(rows)
    means = [100 * r[t, : t + 1].mean() for t in range(len(r))]
    return [None if mean != mean else float(mean) for mean in means]


def accuracies_by_seed(experiment: Experiment) -> list[list[float | None]]:
    """`mean_over_seen` on the test split, task-incremental: [seeds][tasks]."""
    scores = [read_result(paths.scores(experiment.name, seed)) for seed in experiment.seeds]
    return [mean_over_seen(one["test"]["task_incremental"]) for one in scores]
