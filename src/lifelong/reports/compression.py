"""Rounds of pruning one network: weights left in every tensor and test accuracy, beside the printed Table IV of ANPyC."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.evaluation.metrics import over_seeds
from lifelong.params import Experiment, Report, Settings
from lifelong.pipeline.graph import final_state
from lifelong.reports.cells import write_csv
from lifelong.reports.markdown import machine, table
from lifelong.reports.verdicts import Value, printed_table, verdict
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors, write_text

REPRODUCED, TREND = 1.25, 2.0
"""Factors between our count of weights and the printed one up to which it counts as reproduced, and as a trend."""

COLUMNS = ["row", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

NOTES = f"""\
Round 0 is the whole network; every later one prunes the share of least importance among all weights and biases still open,
by one threshold for all tensors, and trains what is left. Counts leave out the head, as the printed ones do. Accuracy is
percent on the test split after the last epoch of a round; nothing is chosen on it. Verdict of a count: *reproduced* within a
factor of {REPRODUCED} of the printed one, *trend only* within {TREND:g}, *contradicted* beyond; of an accuracy: *reproduced*
within one point.
"""


def write(settings: Settings, report: Report) -> None:
    """Write reports/<name>.md and .csv from the states and scores of the report's one experiment."""
    (name,) = report.single().values()
    experiment = settings.experiment(name)
    cells = [*_counts(experiment), *_accuracies(experiment)]
    write_csv(paths.report(report.name, "csv"), COLUMNS, cells, ".6g")
    write_text(paths.report(report.name, "md"), _markdown(report, experiment, cells))


def _counts(experiment: Experiment) -> list[dict[str, Any]]:
    """Weights left in each tensor, and in all, after each round."""
    printed = printed_table("anpyc-table-4")
    cells = []
    for task in experiment.tasks:
        result: dict[str, list[float]] = {}
        for seed in experiment.seeds:
            masks, _ = read_tensors(final_state(experiment, seed, task), "state")
            left = {key.removeprefix("mask/"): float(m.sum()) for key, m in masks.items() if key.startswith("mask/")}
            for tensor, count in [*left.items(), ("total", sum(left.values()))]:
                result.setdefault(tensor, []).append(count)
        target = {tensor: int(p.mean) for (number, tensor), p in printed.items() if number == str(task) and tensor != "acc"}
        target["total"] = sum(target.values())
        for tensor, counts in result.items():
            cell = {"row": tensor, "metric": "weights", "x": task, **over_seeds(counts), "printed_mean": target.get(tensor)}
            cells.append(cell | {"verdict": count_verdict(float(np.mean(counts)), target.get(tensor))})
    return cells


def _accuracies(experiment: Experiment) -> list[dict[str, Any]]:
    """Test accuracy after each round, in percent."""
    scores = [read_result(paths.scores(experiment.name, seed))["test"]["task_incremental"] for seed in experiment.seeds]
    printed = printed_table("anpyc-table-4")
    cells = []
    for task in experiment.tasks:
        result = over_seeds([100 * rows[task][task] for rows in scores])
        target = printed.get((str(task), "acc"))
        judged = verdict(Value(result["mean"], result["deviation"] or 0.0), target, None, None) if target else ""
        cell = {"row": "network", "metric": "acc", "x": task, **result, "printed_mean": target.mean if target else None}
        cells.append(cell | {"verdict": judged})
    return cells


def count_verdict(ours: float, printed: int | None) -> str:
    """What our count of weights says about a printed one."""
    if printed is None:
        return ""
    factor = max(ours, printed) / max(min(ours, printed), 0.5)
    return "reproduced" if factor <= REPRODUCED else "trend only" if factor <= TREND else "contradicted"


def _markdown(report: Report, experiment: Experiment, cells: list[dict[str, Any]]) -> str:
    rows = list(dict.fromkeys(cell["row"] for cell in cells))
    by_key = {(cell["x"], cell["row"]): cell for cell in cells}
    header = ["Round", *(str(task) for task in experiment.tasks)]
    ours = [[_label(row), *(_shown(by_key[task, row]) for task in experiment.tasks)] for row in rows]
    first = by_key[0, "total"]["mean"]
    ratios = [first / by_key[task, "total"]["mean"] for task in experiment.tasks]
    ours.append(["compressed", *(f"{ratio:.2f}x" for ratio in ratios)])
    judged = [
        [_label(row), *(f"{_printed(by_key[task, row])}: {by_key[task, row]['verdict']}" for task in experiment.tasks)]
        for row in rows
    ]
    budget = experiment.training
    made = (
        f"Experiment {experiment.name}: {budget.epochs} epochs a round, batches of {budget.batch_size}, learning rate "
        f"{budget.learning_rate:g}, momentum {budget.momentum:g}. Seeds: {len(experiment.seeds)}. Machine: {machine()}."
    )
    return (
        f"# {report.title}\n\n## Weights left and accuracy\n\n{table(header, ours)}\n"
        f"## Printed, and the verdict\n\n{table(header, judged)}\n"
        f"## How these were made\n\n{NOTES}\n{made}\n"
    )


def _label(row: str) -> str:
    return "test accuracy (%)" if row == "network" else row


def _shown(cell: dict[str, Any]) -> str:
    digits = 2 if cell["metric"] == "acc" else 0
    deviation = f" ± {cell['deviation']:.{digits}f}" if cell["deviation"] is not None else ""
    return f"{cell['mean']:.{digits}f}{deviation}"


def _printed(cell: dict[str, Any]) -> str:
    return f"{cell['printed_mean']:.2f}" if cell["metric"] == "acc" else f"{cell['printed_mean']}"
