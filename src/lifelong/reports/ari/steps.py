"""Mean accuracy on the tasks seen after each task, under every protocol: ARI's Table 1, Figs. 7 and 8."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.evaluation.metrics import matrix, over_seeds
from lifelong.params import Report, Settings
from lifelong.params.reports import StepsOptions
from lifelong.reports.ari.words import NOTES, OTHERS, PROTOCOLS
from lifelong.reports.cells import Cell, cell_over_seeds, write_csv
from lifelong.reports.markdown import machine, table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import diverged
from lifelong.reports.verdicts import Printed, printed_table
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_text

SHOWN = ("class_il", "chunk(1)", "chunk(20)", "task_oracle")
"""Protocols drawn in the figure."""

COLUMNS = ["row", "protocol", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

OWN_NOTES = """\
Task t: mean over tasks 1 to t. *Left*: percent of the accuracy after task 1 that is left after the last task, which can be
held against a curve at another level of accuracy.
"""


def seen_so_far(rows: list[list[float | None]]) -> list[float]:
    """mean of R[t, j] over j <= t for each t, in percent; NaN where an accuracy is missing."""
    r = matrix(rows)
    return [100 * float(r[t, : t + 1].mean()) for t in range(len(r))]


def write(settings: Settings, report: Report) -> None:
    """Write a table for each protocol, printed rows below ours, and a figure."""
    from matplotlib.ticker import MaxNLocator

    from lifelong.reports.figures import style

    assert isinstance(report.options, StepsOptions)
    printed = printed_table(report.options.printed) if report.options.printed else {}
    result: dict[tuple[str, str], np.ndarray] = {}
    for label, name in report.single().items():
        scores = [read_result(paths.scores(name, seed))["test"] for seed in settings.experiment(name).seeds]
        for protocol, title in PROTOCOLS.items():
            curves = np.array([seen_so_far(one[protocol]) for one in scores if protocol in one])
            curves = curves[~np.isnan(curves).any(1)] if len(curves) else curves
            if len(curves):
                result[label, title] = curves
    write_csv(paths.report(report.name, "csv"), COLUMNS, _lines(result, printed), ".4f")
    parts = [f"# {report.title}\n"]
    with style.panels(paths.report(report.name, "png"), len(SHOWN), columns=2) as several:
        for axes, title in zip(several, SHOWN, strict=True):
            for number, label in enumerate(report.experiments):
                if (curves_of := result.get((label, title))) is not None:
                    style.line(axes, _drawn(label, curves_of), number, label, dashed=number >= len(style.COLOURS))
            axes.set(title=title, xlabel="Tasks learnt", ylabel=QUANTITIES["accuracy"].axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = several[0].get_legend_handles_labels()
        several[0].figure.legend(handles, labels, loc="outside lower center", ncols=4)
    for title in PROTOCOLS.values():
        body = [[label, *_line(result[label, title])] for label in report.experiments if (label, title) in result]
        if body:
            header = ["Method", *(f"Task {t + 1}" for t in range(len(body[0]) - 3)), "Left", "Seeds"]
            parts.append(f"## {title}\n\n{table(header, body)}")
    if printed:
        parts.append(_printed(printed))
    lost = diverged(list(report.single().values()), OTHERS)
    parts.append(f"## How these were made\n\n{NOTES}\n{OWN_NOTES}{lost}Machine: {machine()}.\n")
    body = [[label, name] for label, name in report.single().items()]
    parts.append(table(["Row", "Experiment in params.yaml"], body))
    write_text(paths.report(report.name, "md"), "\n".join(parts))


def _drawn(row: str, curves: np.ndarray) -> list[Cell]:
    """Mean and deviation of curves [n, tasks] after each task."""
    result = [cell_over_seeds(row, "accuracy", list(values), t + 1.0) for t, values in enumerate(curves.T)]
    return [cell for cell in result if cell is not None]


def left(curves: np.ndarray) -> np.ndarray:
    """Percent of the accuracy after the first task that is left after the last one, of curves [n, tasks]; NaN of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share: np.ndarray = 100 * curves[:, -1] / curves[:, 0]
    return share


def _lines(found: dict[tuple[str, str], np.ndarray], printed: dict[tuple[str, str], Printed]) -> list[dict[str, Any]]:
    """Each method's accuracy after every task, and what is left of the first, under each protocol."""
    lines = []
    for (row, protocol), curves in found.items():
        tasks = range(1, curves.shape[1] + 1)
        known = {t: printed[row, f"after-{t}"].mean for t in tasks if (row, f"after-{t}") in printed}
        for t in tasks:
            values = {"metric": "accuracy", "x": t, **over_seeds(list(curves[:, t - 1])), "printed_mean": known.get(t)}
            lines.append({"row": row, "protocol": protocol, **values})
        if not np.isnan(kept := left(curves)).any():
            share = 100 * known[tasks[-1]] / known[1] if {1, tasks[-1]} <= known.keys() else None
            values = {"metric": "left", **over_seeds(list(kept)), "printed_mean": share}
            lines.append({"row": row, "protocol": protocol, **values})
    return lines


def _statistics(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = curves.mean(0)
    return mean, curves.std(0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)


def _line(curves: np.ndarray) -> list[str]:
    mean, deviation = _statistics(np.column_stack([curves, left(curves)]))
    values = [
        "-" if np.isnan(m) else f"{m:.2f}" + (f" ± {d:.2f}" if len(curves) > 1 else "")
        for m, d in zip(mean, deviation, strict=True)
    ]
    return [*values, str(len(curves))]


def _printed(values: dict[tuple[str, str], Printed]) -> str:
    rows = list(dict.fromkeys(row for row, _ in values))
    count = max(int(metric.removeprefix("after-")) for _, metric in values)
    body = [
        [
            row,
            *(
                f"{values[row, f'after-{t}'].mean:.2f}" if (row, f"after-{t}") in values else "-"
                for t in range(1, count + 1)
            ),
        ]
        for row in rows
    ]
    doubts = "".join(
        f"- {row}: {cell.doubt}.\n" for (row, metric), cell in values.items() if cell.doubt and metric == "after-1"
    )
    return f"## Printed\n\n{table(['Method', *(f'Task {t}' for t in range(1, count + 1))], body)}\n{doubts}"
