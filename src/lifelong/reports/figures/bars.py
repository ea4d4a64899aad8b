"""A value an experiment (ANPyC Fig. 8a, and readings of the paper side by side)."""

from __future__ import annotations

from lifelong.params import Report, Settings
from lifelong.params.reports import BarsOptions
from lifelong.reports.cells import of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import DEVIATION, TOLD, describe_diverged, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import METRIC_NOTES, Results
from lifelong.runtime import paths


def write(settings: Settings, report: Report, results: Results) -> None:
    options = report.options
    assert isinstance(options, BarsOptions)
    result = [results.cell(label, name, m) for label, name in report.single().items() for m in options.metrics]
    cells = [cell for cell in result if cell is not None]
    labels = list(report.experiments)
    lost = [place for place, name in enumerate(report.single().values()) if results.lost_seeds(name)[0]]
    with style.panels(
        paths.report(report.name, "png"),
        len(options.metrics),
        report.title,
        describe_setting(report, results, TOLD, DEVIATION),
        note=describe_diverged(results, report.single()),
        height=style.dots_height(len(labels)),
        values="x",
        share="y",
    ) as several:
        looks = list(style.looks(labels).values())
        for axes, metric in zip(several, options.metrics, strict=True):
            column = [next(iter(of(cells, label, metric)), None) for label in labels]
            style.dots(axes, labels, [("", column, looks)])
            style.crosses(axes, lost, style.Look(style.MUTED), "y")
            axes.set_xlabel(QUANTITIES[metric].axis)
    at = {(c.row, c.metric): format_value(c.metric, c.mean, c.deviation, c.n) for c in cells}
    header = ["Label", *(QUANTITIES[metric].label for metric in options.metrics)]
    body = [[label, *(at.get((label, metric), "-") for metric in options.metrics)] for label in labels]
    told = results.diverged(list(report.single().values()))
    publish(report, results, cells, table(header, body), METRIC_NOTES, told)
