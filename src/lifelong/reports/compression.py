"""Rounds of pruning one network: weights left in every tensor and test accuracy, beside the printed Table IV of ANPyC."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lifelong.evaluation.results import Quantity
from lifelong.params import Experiment, Report, Settings
from lifelong.pipeline.graph import final_state
from lifelong.reports.cells import write_csv
from lifelong.reports.markdown import table
from lifelong.reports.results import Results, quantity_cells
from lifelong.reports.verdicts import Value, printed_table, verdict
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_json, read_tensors, write_text

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


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Weights left in each tensor, and in all, and test accuracy in percent, after each round."""
    (name,) = report.single().values()
    experiment = settings.experiment(name)
    result = []
    for seed in experiment.seeds:
        accuracies = read_json(paths.scores(name, seed))["test"]["task_incremental"]
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
    write_text(paths.report(report.name, "md"), _markdown(report, settings.experiment(name), results, cells))


def _judge(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell with what is printed in its place, and the verdict."""
    printed = printed_table("anpyc-table-4")
    task = str(cell["x"])
    if cell["metric"] == "acc":
        target = printed.get((task, "acc"))
        judged = verdict(Value(cell["mean"], cell["deviation"] or 0.0), target, None, None) if target else ""
        return cell | {"printed_mean": target.mean if target else None, "verdict": judged}
    counts = {tensor: int(p.mean) for (number, tensor), p in printed.items() if number == task and tensor != "acc"}
    wanted = (counts | {"total": sum(counts.values())}).get(cell["row"])
    return cell | {"printed_mean": wanted, "verdict": count_verdict(cell["mean"], wanted)}


def count_verdict(ours: float, printed: int | None) -> str:
    """What our count of weights says about a printed one."""
    if printed is None:
        return ""
    factor = max(ours, printed) / max(min(ours, printed), 0.5)
    return "reproduced" if factor <= REPRODUCED else "trend only" if factor <= TREND else "contradicted"


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
