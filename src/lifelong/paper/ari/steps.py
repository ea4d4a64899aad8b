"""Mean accuracy on the tasks seen after each task, under every protocol: ARI's Table 1, Figs. 7 and 8."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong import layout
from lifelong.artifacts import read_json, write_text
from lifelong.config import Report, Settings
from lifelong.config.reports import StepsOptions
from lifelong.metrics import matrix
from lifelong.paper.ari.drawing import write_figure
from lifelong.paper.ari.words import NOTES, PROTOCOLS
from lifelong.paper.cells import write_csv
from lifelong.paper.markdown import machine, table
from lifelong.paper.verdicts import printed_table

SHOWN = ("class_il", "chunk(1)", "chunk(20)", "task_oracle")
"""Protocols drawn in the figure."""


def seen_so_far(rows: list[list[float | None]]) -> list[float]:
    """mean of R[t, j] over j <= t for each t, in percent; NaN where an accuracy is missing."""
    r = matrix(rows)
    return [100 * float(r[t, : t + 1].mean()) for t in range(len(r))]


def write(settings: Settings, report: Report) -> None:
    """Write a table for each protocol, printed rows below ours, and a figure."""
    from matplotlib.figure import Figure

    assert isinstance(report.options, StepsOptions)
    found: dict[tuple[str, str], np.ndarray] = {}
    rows: list[dict[str, Any]] = []
    for label, name in report.single().items():
        scores = {seed: read_json(layout.scores(name, seed))["test"] for seed in settings.experiment(name).seeds}
        for protocol, title in PROTOCOLS.items():
            curves = {seed: seen_so_far(one[protocol]) for seed, one in scores.items() if protocol in one}
            if not curves or np.isnan(list(curves.values())).any():
                continue
            found[label, title] = np.array(list(curves.values()))
            for seed, curve in curves.items():
                rows += [
                    {"row": label, "protocol": title, "seed": seed, "after": t + 1, "accuracy": value}
                    for t, value in enumerate(curve)
                ]
    write_csv(layout.report(report.name, "csv"), ["row", "protocol", "seed", "after", "accuracy"], rows, ".4f")
    parts = [f"# {report.title}\n"]
    figure = Figure(figsize=(10, 7), layout="constrained")
    for axes, title in zip(figure.subplots(2, 2).flat, SHOWN, strict=True):
        for label in report.experiments:
            if (curves_of := found.get((label, title))) is not None:
                mean, deviation = _statistics(curves_of)
                axes.errorbar(range(1, len(mean) + 1), mean, yerr=deviation, fmt="o-", capsize=2, label=label)
        axes.set(title=title, xlabel="Tasks learnt", ylabel="Accuracy on them (%)")
        axes.legend(fontsize="x-small")
    write_figure(layout.report(report.name, "png"), figure)
    for title in PROTOCOLS.values():
        body = [[label, *_line(found[label, title])] for label in report.experiments if (label, title) in found]
        if body:
            header = ["Method", *(f"Task {t + 1}" for t in range(len(body[0]) - 2)), "Seeds"]
            parts.append(f"## {title}\n\n{table(header, body)}")
    if report.options.printed:
        parts.append(_printed(report.options.printed))
    parts.append(f"## How these were made\n\n{NOTES}\nTask t: mean over tasks 1 to t. Machine: {machine()}.\n")
    body = [[label, name] for label, name in report.single().items()]
    parts.append(table(["Row", "Experiment in params.yaml"], body))
    write_text(layout.report(report.name, "md"), "\n".join(parts))


def _statistics(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = curves.mean(0)
    return mean, curves.std(0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)


def _line(curves: np.ndarray) -> list[str]:
    mean, deviation = _statistics(curves)
    values = [f"{m:.2f}" + (f" ± {d:.2f}" if len(curves) > 1 else "") for m, d in zip(mean, deviation, strict=True)]
    return [*values, str(len(curves))]


def _printed(name: str) -> str:
    values = printed_table(name)
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
