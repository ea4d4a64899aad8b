"""Rounds of pruning one network: weights left in every tensor and test accuracy, beside the printed Table IV of ANPyC."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lifelong.evaluation.results import Quantity
from lifelong.params import Experiment, Report, Settings
from lifelong.pipeline.graph import final_state
from lifelong.reports.cells import write_csv
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results, quantity_cells
from lifelong.reports.verdicts import Sample, judge_cell, judge_counted, printed_table, tolerance
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors

ALLOWED = 0.25
"""Share of a printed count up to which ours is the same."""

COLUMNS = ["row", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

NOTES = """\
Round 0 is the whole network; every later one prunes the share of least importance among all weights and biases still open,
by one threshold for all tensors, and trains what is left. Counts leave out the head, as the printed ones do. Accuracy is
percent on the test split after the last epoch of a round; nothing is chosen on it. A count is the *same* within a
quarter of the printed one; an accuracy when the 95 % interval of our mean lies within a quarter of the interquartile range
of the printed rounds, *different* beyond, *undecided* otherwise.
"""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Weights left in each tensor, and in all, and test accuracy in percent, after each round."""
    (name,) = report.single().values()
    experiment = settings.experiment(name)
    result = []
    for seed in experiment.seeds:
        accuracies = read_result(paths.scores(name, seed))["test"]["task_incremental"]
        for task in experiment.tasks:
            masks, _ = read_tensors(final_state(experiment, seed, task), "state")
            left = {key.removeprefix("mask/"): float(m.sum()) for key, m in masks.items() if key.startswith("mask/")}
            for tensor, count in [*left.items(), ("total", sum(left.values()))]:
                result.append(Quantity(report.name, tensor, name, seed, float(task), None, "weights", count))
            accuracy = 100 * accuracies[task][task]
            result.append(Quantity(report.name, "network", name, seed, float(task), None, "acc", accuracy))
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md and .csv."""
    (name,) = report.single().values()
    measured = [asdict(cell) for cell in quantity_cells(results.quantities(report))]
    cells = [
        _judge({key: cell[key] for key in ("row", "metric", "mean", "deviation", "n")} | {"x": int(cell["x"])})
        for cell in measured
    ]
    cells.sort(key=lambda cell: (cell["metric"] == "acc", cell["x"]))
    write_csv(paths.report(report.name, "csv"), COLUMNS, cells, ".6g")
    write_page(report, results, _markdown(report, settings.experiment(name), results, cells))


def _judge(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell with what is printed in its place, and the verdict."""
    printed = printed_table("anpyc-table-4")
    task = str(cell["x"])
    if cell["metric"] == "acc":
        target = printed.get((task, "acc"))
        rounds = {(row, "acc"): cell for (row, metric), cell in printed.items() if metric == "acc"}
        ours = Sample(cell["mean"], cell["deviation"], cell["n"])
        judged = judge_cell(ours, target.mean, tolerance(rounds, "acc", ())) if target else ""
        return cell | {"printed_mean": target.mean if target else None, "verdict": judged}
    counts = {tensor: int(p.mean) for (number, tensor), p in printed.items() if number == task and tensor != "acc"}
    wanted = (counts | {"total": sum(counts.values())}).get(cell["row"])
    return cell | {
        "printed_mean": wanted,
        "verdict": judge_counted(cell["mean"], wanted, ALLOWED) if wanted is not None else "",
    }


def _markdown(report: Report, experiment: Experiment, results: Results, cells: list[dict[str, Any]]) -> str:
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
        f"{budget.learning_rate:g}, momentum {budget.momentum:g}. Seeds: {len(experiment.seeds)}. {results.made_by(report)}"
    )
    return (
        f"# {report.title}\n\n## Weights left and accuracy\n\n{table(header, ours)}\n"
        f"## Printed, and the verdict\n\n{table(header, judged)}\n"
        f"## How these were made\n\n{NOTES}\n{made}"
    )


def _label(row: str) -> str:
    return "test accuracy (%)" if row == "network" else row


def _shown(cell: dict[str, Any]) -> str:
    digits = 2 if cell["metric"] == "acc" else 0
    deviation = f" ± {cell['deviation']:.{digits}f}" if cell["deviation"] is not None else ""
    return f"{cell['mean']:.{digits}f}{deviation}"


def _printed(cell: dict[str, Any]) -> str:
    return f"{cell['printed_mean']:.2f}" if cell["metric"] == "acc" else f"{cell['printed_mean']}"
