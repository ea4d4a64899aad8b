"""Mean accuracy on the tasks seen after each task, under every protocol: ARI's Table 1, Figs. 7 and 8."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.params import Report, Settings
from lifelong.params.reports import StepsOptions
from lifelong.reports.ari.words import NOTES, OTHERS, PROTOCOLS, SHOWN
from lifelong.reports.cells import Cell, cell_over_seeds, write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import DEVIATION, OTHER_SEEDS, describe_diverged, describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Printed, printed_table
from lifelong.runtime import paths

COLUMNS = ["row", "protocol", "metric", "x", "mean", "deviation", "n", "printed_mean", "verdict"]

OWN_NOTES = """\
Task t: mean over tasks 1 to t. *Left*: percent of the accuracy after task 1 that is left after the last task, which can be
held against a curve at another level of accuracy.
"""


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write a table for each protocol, printed rows below ours, and a figure."""
    assert isinstance(report.options, StepsOptions)
    printed = printed_table(report.options.printed) if report.options.printed else {}
    curves: dict[tuple[str, str], list[Cell]] = {}
    shares: dict[tuple[str, str], Cell] = {}
    for label, name in report.single().items():
        for protocol, title in PROTOCOLS.items():
            if cells := results.curve(label, name, protocol, finite=True):
                curves[label, title] = cells
            if (share := _left(results, label, name, protocol)) is not None:
                shares[label, title] = share
    write_csv(paths.report(report.name, "csv"), COLUMNS, _lines(curves, shares, printed), ".4f")
    parts = [f"# {report.title}\n"]
    looks = style.looks(list(report.experiments))
    with style.panels(
        paths.report(report.name, "png"),
        len(SHOWN),
        report.title,
        describe_setting(report, results, DEVIATION),
        note=describe_diverged(results, report.single(), OTHER_SEEDS),
        columns=2,
    ) as several:
        for axes, title in zip(several, SHOWN, strict=True):
            for label, look in looks.items():
                if found := curves.get((label, title)):
                    style.line(axes, found, look, label)
                if known := {
                    float(t): printed[label, f"after-{t}"].mean for t in range(1, 99) if (label, f"after-{t}") in printed
                }:
                    style.printed_line(axes, known, look, label)
            axes.set(title=title.capitalize(), ylabel=QUANTITIES["accuracy"].axis)
            style.count_tasks(axes)
    for title in PROTOCOLS.values():
        body = [
            [label, *map(_shown, curves[label, title]), _shown(shares.get((label, title))), str(curves[label, title][0].n)]
            for label in report.experiments
            if (label, title) in curves
        ]
        if body:
            header = ["Method", *(f"Task {t + 1}" for t in range(len(body[0]) - 3)), "Left", "Seeds"]
            parts.append(f"## {title}\n\n{table(header, body)}")
    if printed:
        parts.append(_printed(printed))
    lost = results.diverged(list(report.single().values()), OTHERS)
    parts.append(f"## How these were made\n\n{NOTES}\n{OWN_NOTES}{lost}{results.made_by(report)}")
    body = [[label, name] for label, name in report.single().items()]
    parts.append(table(["Row", "Experiment in params.yaml"], body))
    write_page(report, results, "\n".join(parts))


def left(curves: np.ndarray) -> np.ndarray:
    """Percent of the accuracy after the first task that is left after the last one, of curves [n, tasks]; NaN of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share: np.ndarray = 100 * curves[:, -1] / curves[:, 0]
    return share


def _left(results: Results, label: str, name: str, protocol: str) -> Cell | None:
    if results.is_imported(name):
        kept = results.spread(name, "left", protocol)
        return None if kept["mean"] is None else Cell(label, "left", **kept)
    curves = np.array(list(results.curves(name, protocol).values()))
    shares = left(curves) if len(curves) else np.array([np.nan])
    return None if np.isnan(shares).any() else cell_over_seeds(label, "left", shares.tolist())


def _lines(
    curves: dict[tuple[str, str], list[Cell]],
    shares: dict[tuple[str, str], Cell],
    printed: dict[tuple[str, str], Printed],
) -> list[dict[str, Any]]:
    """Each method's accuracy after every task, and what is left of the first, under each protocol."""
    lines = []
    for (row, protocol), cells in curves.items():
        known = {t: printed[row, f"after-{t}"].mean for t in range(1, len(cells) + 1) if (row, f"after-{t}") in printed}
        for cell in cells:
            values: dict[str, Any] = {"x": int(cell.x or 0), "mean": cell.mean, "deviation": cell.deviation, "n": cell.n}
            printed_mean = known.get(values["x"])
            lines.append({"row": row, "protocol": protocol, "metric": "accuracy", **values, "printed_mean": printed_mean})
        if (share := shares.get((row, protocol))) is not None:
            ratio = 100 * known[len(cells)] / known[1] if {1, len(cells)} <= known.keys() else None
            values = {"mean": share.mean, "deviation": share.deviation, "n": share.n, "printed_mean": ratio}
            lines.append({"row": row, "protocol": protocol, "metric": "left", **values})
    return lines


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.mean:.2f}" + (f" ± {cell.deviation:.2f}" if cell.deviation is not None else "")


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
