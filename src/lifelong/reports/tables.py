"""Experiments side by side: one table as Markdown, CSV and JSON, with protocol, seeds, deviation, machine and verdict."""

from __future__ import annotations

from typing import Any

from lifelong.params import Report, Settings
from lifelong.params.reports import ComparisonOptions
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import comparison
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.observations import sample
from lifelong.reports.provenance import Made
from lifelong.reports.quantities import METRICS, PROTOCOLS, format_value
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Printed, judge_cell, printed_table, tolerance
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json

NOTES = """\
Values are percent on the test split: mean ± sample deviation over the seeds. Task-incremental: the task is told at test.
Class-incremental: it is not, the answer is the best of all classes seen; a head that tasks share cannot give it. R[i, j] is
the accuracy on task j after task i: ACC = mean of R[T, j]; BWT = mean of R[T, j] - R[j, j]; FWT (against joint) = mean of
R[j, j] - m[j] for j > 1, with m the accuracies of joint training with the same seed; FWT (GEM) = mean of R[j-1, j] - b[j],
with b those of the untrained network. The last epoch's weights are taken; nothing is chosen on the test split. Options with
a star were chosen from a grid on the validation split.
"""

VERDICTS = """\
Is ours the printed number? *Same* when the whole 95 % interval of our mean lies within a quarter of the interquartile range
of the methods, printed or ours, whichever is less; *different* when all of it lies beyond; *undecided* otherwise; *not
judged* below three seeds. A printed value marked † is doubtful in itself, as said below the table.
"""

CHOICES = """\
Mean over the seeds that the choice is made on, with their deviation where they are several. *Diverged*: the loss of one of
them or more left the finite numbers.
"""

SMALLER = """\
*Tier*: the network, the tasks or the budget are smaller than those of the printed values, so ours is no such number. A
printed value marked † is doubtful in itself, as said below the table.
"""


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md, .csv, .json and .png."""
    cells = _cells(report, results)
    write_csv(paths.report(report.name, "csv"), COLUMNS, cells, ".4f")
    write_json(paths.report(report.name, "json"), _metrics(report, cells))
    write_page(report, results, _markdown(report, results, cells))
    comparison.draw(report, results, _printed(report))


def _printed(report: Report) -> dict[tuple[str, str], Printed]:
    assert isinstance(report.options, ComparisonOptions)
    return printed_table(report.options.printed) if report.options.printed else {}


def _cells(report: Report, results: Results) -> list[dict[str, Any]]:
    """One record a row, protocol and metric; values in percent; printed ones only under the papers' own protocol."""
    assert isinstance(report.options, ComparisonOptions)
    printed = _printed(report)
    told = {m: [results.spread(name, m)["mean"] for name in report.single().values()] for m in METRICS}
    means = {metric: [mean for mean in column if mean is not None] for metric, column in told.items()}
    cells = []
    for row, name in report.single().items():
        for protocol in PROTOCOLS:
            for metric in METRICS:
                result = results.spread(name, metric, protocol)
                if result["mean"] is None and not _lost(results, name, protocol, metric):
                    continue
                cell = {
                    "row": row,
                    "experiment": name,
                    "heads": results.of(name).heads,
                    "protocol": protocol,
                    "metric": metric,
                    **result,
                }
                target = printed.get((row, metric)) if protocol == "task_incremental" else None
                if target is not None:
                    smaller = report.options.scale == "smaller" and row not in report.options.full_scale
                    ours = None if result["mean"] is None else sample(results, name, metric)
                    word = judge_cell(ours, target.mean, tolerance(printed, metric, means[metric]))
                    cell |= {
                        "printed_mean": target.mean,
                        "printed_deviation": target.deviation,
                        "doubt": target.doubt,
                        "difference": None if result["mean"] is None else result["mean"] - target.mean,
                        "verdict": "tier" if smaller else word,
                    }
                cells.append(cell)
    return cells


def _lost(results: Results, name: str, protocol: str, metric: str) -> bool:
    """Whether a metric that the experiment can give is without a value because a seed diverged."""
    lost, seeds = results.lost_seeds(name)
    return lost == seeds or (lost > 0 and results.spread(name, metric, protocol, finite=True)["n"] > 0)


COLUMNS = [
    *("row", "experiment", "heads", "protocol", "metric", "mean", "deviation", "n"),
    *("printed_mean", "printed_deviation", "difference", "verdict", "doubt"),
]


def _metrics(report: Report, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Means by row, protocol and metric, in percent: what `dvc metrics` shows."""
    means: dict[str, Any] = {row: {protocol: {} for protocol in PROTOCOLS} for row in report.experiments}
    for cell in cells:
        if cell["mean"] is not None:
            means[cell["row"]][cell["protocol"]][cell["metric"]] = round(cell["mean"], 4)
    return means


def _markdown(report: Report, results: Results, cells: list[dict[str, Any]]) -> str:
    by_key = {(c["row"], c["protocol"], c["metric"]): c for c in cells}
    parts: list[str] = []
    for protocol in PROTOCOLS:
        shown = [m for m in METRICS if any((row, protocol, m) in by_key for row in report.experiments)]
        header = ["Method", "Heads", *(METRICS[m].label for m in shown)]
        body = [
            [row, results.of(name).heads, *(_shown(by_key.get((row, protocol, m))) for m in shown)]
            for row, name in report.single().items()
        ]
        parts.append(f"## {protocol.replace('_', '-').capitalize()}\n\n{table(header, body)}")
    parts += [f"{told}\n" for row, name in report.single().items() if (told := _divergence(results, row, name))]
    judged = [c for c in cells if "verdict" in c]
    if judged:
        assert isinstance(report.options, ComparisonOptions)
        words = SMALLER if report.options.scale == "smaller" else VERDICTS
        if report.options.full_scale:
            words += f"\nNot smaller, and so judged like a full table: {', '.join(report.options.full_scale)}.\n"
        header = ["Method", "Metric", "Ours", "Printed", "Difference", "Verdict"]
        body = [
            [
                c["row"],
                METRICS[c["metric"]].label,
                _shown(c),
                f"{c['printed_mean']:.2f} ± {c['printed_deviation']:.2f}{' †' if c['doubt'] else ''}",
                "-" if c["difference"] is None else f"{c['difference']:+.2f}",
                c["verdict"],
            ]
            for c in judged
        ]
        doubts = "".join(f"- † {c['row']}, {METRICS[c['metric']].label}: {c['doubt']}.\n" for c in judged if c["doubt"])
        parts.append(f"## Beside the printed table (task-incremental)\n\n{table(header, body)}\n{words}\n{doubts}")
    if gridded := [[row, told] for row, name in report.single().items() if (told := choices(results.of(name)))]:
        header = ["Method", "ACC on the validation split by option"]
        parts.append(f"## Options chosen\n\n{table(header, gridded)}\n{CHOICES}")
    parts.append(f"## How these were made\n\n{NOTES}\n{results.made_by(report)}\n")
    header = ["Row", "Experiment in params.yaml", "Seeds", "Epochs a task", "Dropout at test", "Options"]
    parts.append(table(header, [[row, *_settings(name, results.of(name))] for row, name in report.single().items()]))
    return "\n".join(parts)


def _divergence(results: Results, row: str, name: str) -> str:
    """How many seeds of a row diverged, and what the others came to; empty where none did."""
    lost, seeds = results.lost_seeds(name)
    left = [f"{v:.2f}" for v in results.by_seed(name, "acc").values() if v is not None]
    others = f"; the others have ACC {', '.join(left)}, task-incremental" if left else ""
    return f"{row} diverged with {lost} of {seeds} seeds{others}." if lost else ""


def choices(made: Made) -> str:
    """What an experiment's grid held, each with its result, and which of them was chosen (starred); empty without one."""
    if made.choice is None:
        return ""
    told = []
    for candidate in made.choice["candidates"]:
        values = {name: candidate["options"][name] for name in made.choice["varied"]}
        options = ", ".join(f"{name} {v:g}" if isinstance(v, float) else f"{name} {v}" for name, v in values.items())
        star = "*" if candidate["options"] == made.choice["options"] else ""
        acc, deviation = candidate["acc"], candidate["deviation"]
        spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
        told.append(f"{options}{star}: " + ("diverged" if acc is None else f"{100 * acc:.2f}{spread}"))
    return "; ".join(told)


def _settings(name: str, made: Made) -> list[str]:
    """How an experiment was made, in a few words; chosen options have a star."""
    parameters, chosen = made.parameters, made.choice["varied"] if made.choice else []
    options = [
        f"{option} {value:g}" + "*" * (option in chosen) if isinstance(value, float) else f"{option} {value}"
        for option, value in parameters["options"].items()
        if value is not None and not isinstance(value, dict)
    ]
    dropped = "on" if parameters["dropout_at_test"] else "off"
    epochs = str(parameters["training"]["epochs"])
    return [name, str(len(made.seeds)), epochs, dropped, ", ".join(options) or "-"]


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    if cell["mean"] is None:
        return "diverged"
    return format_value(cell["metric"], cell["mean"], cell["deviation"], cell["n"])
