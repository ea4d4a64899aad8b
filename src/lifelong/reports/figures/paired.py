"""What a part of a method changes: two experiments' differences seed by seed, under every protocol (ARI's Figs. 7 and 8)."""

from __future__ import annotations

import itertools
from dataclasses import replace

from lifelong.params import Report, Settings
from lifelong.params.reports import PairedOptions
from lifelong.reports.ari.words import ANSWERS, OTHERS, SHOWN
from lifelong.reports.ari.words import NOTES as PROTOCOL_NOTES
from lifelong.reports.cells import Cell, margin, of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import INTERVAL, OTHER_SEEDS, describe_diverged, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Sample, describe_sign
from lifelong.runtime import paths

NOTES = f"""\
Points of percent, the first experiment less the second with the same seed: mean ± sample deviation of the differences over
the seeds, and in square brackets the mean's 95 % interval (Student's t), which is the figure's error bar. *more* and *less*:
the interval lies above or below 0; *undecided*: it holds 0; *not judged*: fewer than three seeds. A seed counts where
neither diverged.

{PROTOCOL_NOTES}"""


def write(settings: Settings, report: Report, results: Results) -> None:
    options = report.options
    assert isinstance(options, PairedOptions)
    cells: list[Cell] = []
    for label, names in report.experiments.items():
        cells += [cell for metric in options.metrics for cell in _gains(results, label, names, metric)]
    compared = [p for p in ANSWERS.values() if any(cell.row.endswith(f", {p}") for cell in cells)]
    labels = list(report.experiments)
    shown = [p for p in SHOWN if p in compared]
    with style.panels(
        paths.report(report.name, "png"),
        len(options.metrics) * len(shown),
        report.title,
        describe_setting(report, results, INTERVAL),
        note=describe_diverged(
            results, {name: name for names in report.experiments.values() for name in names}, OTHER_SEEDS
        ),
        columns=len(shown) if len(shown) > 1 else len(options.metrics),
        width=max(2.6, style.labels_width(labels) / len(shown) + 1.9) if len(shown) > 1 else 4.2,
        height=style.dots_height(len(labels)),
        values="",
        share="y",
    ) as several:
        for axes, (metric, p) in zip(several, itertools.product(options.metrics, shown), strict=True):
            column = [_drawn(cells, f"{label}, {p}", f"{metric}_difference") for label in labels]
            style.dots(axes, labels, [("", column, style.Look(style.BLUE))])
            axes.axvline(0, color=style.INK, linewidth=0.9)
            axes.set(title=p.capitalize(), xlabel=QUANTITIES[f"{metric}_difference"].axis)
    header = ["Difference", *compared]
    tables = []
    for metric in options.metrics:
        body = [[label, *(_told(of(cells, f"{label}, {p}", f"{metric}_difference")) for p in compared)] for label in labels]
        tables.append(f"## {QUANTITIES[f'{metric}_difference'].label}\n\n{table(header, body)}")
    told = results.diverged(sorted({name for names in report.experiments.values() for name in names}), OTHERS)
    publish(report, results, cells, "\n".join(tables), NOTES, told)


def decided(cell: Cell) -> str:
    """Whether a mean difference is told from 0 by its 95 % interval."""
    return describe_sign(Sample(cell.mean, cell.deviation, cell.n))


def interval(cell: Cell) -> str:
    """`[-0.12, 1.34]`, or nothing for one seed."""
    around = margin(cell)
    return "" if around is None else f" [{cell.mean - around:.2f}, {cell.mean + around:.2f}]"


def _gains(results: Results, label: str, pair: tuple[str, ...], metric: str) -> list[Cell]:
    """A cell for each protocol that both experiments were asked under; tasks guessed right are no gain in accuracy."""
    one, other = pair
    result = [results.difference_cell(f"{label}, {title}", one, other, metric, p) for p, title in ANSWERS.items()]
    return [cell for cell in result if cell is not None]


def _drawn(cells: list[Cell], row: str, metric: str) -> Cell | None:
    result = next(iter(of(cells, row, metric)), None)
    return None if result is None else replace(result, deviation=margin(result))


def _told(found: list[Cell]) -> str:
    if not found:
        return "-"
    cell = found[0]
    return f"{format_value(cell.metric, cell.mean, cell.deviation, cell.n)}{interval(cell)} {decided(cell)}"
