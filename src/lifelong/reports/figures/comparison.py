"""The picture of experiments side by side: accuracy over tasks, ACC against BWT, and each accuracy matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.params import Report
from lifelong.reports.cells import Cell
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import NOT_DRAWN, TOLD, describe_diverged, describe_setting
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import TOLD as PROTOCOL
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Printed
from lifelong.runtime import paths


def draw(report: Report, results: Results, printed: dict[tuple[str, str], Printed]) -> None:
    """Draw what is kept: of means alone neither curves nor matrices."""
    named = report.single()
    looks = style.looks(list(named))
    curves = {label: cells for label, name in named.items() if (cells := results.curve(label, name))}
    curves = curves if len(curves) > 1 else {}
    points = {label: (results.cell(label, name, "bwt"), results.cell(label, name, "acc")) for label, name in named.items()}
    matrices = {
        label: 100 * np.mean(list(found.values()), 0)
        for label, name in named.items()
        if (found := results.matrices(name, PROTOCOL)) and label in curves and len(curves[label]) > 1
    }
    count = bool(curves) + 1 + len(matrices)
    with style.panels(
        paths.report(report.name, "png"),
        count,
        report.title,
        describe_setting(report, results, TOLD, "mean ± deviation over seeds"),
        note=" ".join(filter(None, [describe_diverged(results, named, NOT_DRAWN), PRINTED if printed else ""])),
        columns=min(count, 3 if count < 7 else 4),
        width=style.WIDTH if count > 1 else 6,
    ) as several:
        panels = iter(several)
        if curves:
            axes = next(panels)
            for label, cells in curves.items():
                style.line(axes, cells, looks[label], label)
            axes.set(title="Accuracy over tasks", ylabel=QUANTITIES["accuracy"].axis)
            style.count_tasks(axes)
        axes = next(panels)
        for label, (bwt, acc) in points.items():
            _place(axes, bwt, acc, looks[label], label)
            known = [printed[label, metric].mean for metric in ("bwt", "acc") if (label, metric) in printed]
            if len(known) == 2 and bwt is not None:
                axes.plot(*known, looks[label].marker, color=looks[label].colour, markerfacecolor="white")
        axes.set(title="Kept and learnt", xlabel="BWT (points)", ylabel=QUANTITIES["acc"].axis)
        shown = [style.heat(axes, matrix, label) for axes, (label, matrix) in zip(panels, matrices.items(), strict=True)]
        if shown:
            bar = several[0].figure.colorbar(shown[0], ax=several, shrink=0.6, aspect=40)
            bar.set_label(QUANTITIES["final"].axis)


PRINTED = "Hollow: as printed."


def _place(axes: style.Axes, bwt: Cell | None, acc: Cell | None, look: style.Look, label: str) -> None:
    """A learner's point; one that learns all at once forgets nothing, and is a line across."""
    if acc is None:
        return
    if bwt is None:
        axes.axhline(acc.mean, color=look.colour, linestyle=look.dash, linewidth=1, label=label)
        return
    how: dict[str, Any] = {"fmt": look.marker, "color": look.colour, "elinewidth": 0.9, "label": label}
    axes.errorbar(bwt.mean, acc.mean, xerr=bwt.deviation, yerr=acc.deviation, **how)
