"""Metrics against one parameter of the experiments (ANPyC Figs. 7c, 8b and 8c)."""

from __future__ import annotations

from lifelong.params import Report, Settings
from lifelong.params.reports import SweepOptions, parameter
from lifelong.reports.cells import Cell, of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import DEVIATION, TOLD, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import METRIC_NOTES, Results
from lifelong.runtime import paths

DIVERGED = "×: training diverged with a seed or more (its loss left the finite numbers), so no value is drawn there."


def write(settings: Settings, report: Report, results: Results) -> None:
    options = report.options
    assert isinstance(options, SweepOptions)
    cells: list[Cell] = []
    lost: dict[str, list[float]] = {label: [] for label in report.experiments}
    for label, names in report.experiments.items():
        for name in names:
            x = None
            if len(names) > 1:
                x = parameter(results.of(name).parameters, options.parameter)
                if x is not None and results.lost_seeds(name)[0]:
                    lost[label].append(x)
            result = [results.cell(label, name, metric, x) for metric in options.metrics]
            cells += [cell for cell in result if cell is not None]
    with style.panels(
        paths.report(report.name, "png"),
        len(options.metrics),
        report.title,
        describe_setting(report, results, TOLD, DEVIATION),
        note=DIVERGED if any(lost.values()) else "",
        width=5.5 if len(options.metrics) == 1 else style.WIDTH,
    ) as several:
        for axes, metric in zip(several, options.metrics, strict=True):
            axes.set_xscale(options.scale)
            for label, look in style.looks(list(report.experiments)).items():
                found_cells = of(cells, label, metric)
                if found_cells and found_cells[0].x is not None:
                    style.line(axes, found_cells, look, label)
                style.crosses(axes, lost[label], look)
            for label, look in style.looks(list(report.experiments)).items():
                found_cells = of(cells, label, metric)
                if found_cells and found_cells[0].x is None:
                    style.level(axes, found_cells[0], look, label)
            style.ticks_at(axes, sorted({cell.x for cell in cells if cell.x is not None}.union(*lost.values())))
            axes.set_xlabel(options.label)
            axes.set_ylabel(QUANTITIES[metric].axis)
    header = ["Label", options.label, *(QUANTITIES[metric].label for metric in options.metrics)]
    at = {(c.row, c.x, c.metric): format_value(c.metric, c.mean, c.deviation, c.n) for c in cells}
    places = dict.fromkeys(
        (label, c.x) for label in report.experiments for m in options.metrics for c in of(cells, label, m)
    )
    body = [
        [label, "-" if x is None else f"{x:g}", *(at.get((label, x, metric), "-") for metric in options.metrics)]
        for label, x in places
    ]
    told = results.diverged([name for names in report.experiments.values() for name in names])
    publish(report, results, cells, table(header, body), f"{METRIC_NOTES} Swept: `{options.parameter}`.", told)
