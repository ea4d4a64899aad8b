"""ACC, BWT and forward transfer of experiments under every protocol side by side: ARI's Fig. 4 and Table 2."""

from __future__ import annotations

from typing import Any

from lifelong.params import Report, Settings
from lifelong.params.reports import ProtocolsOptions
from lifelong.reports.ari.words import ANSWERS, NOTES, OTHERS, PROTOCOLS
from lifelong.reports.cells import Cell, write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import DEVIATION, OTHER_SEEDS, describe_diverged, describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Printed, Sample, judge_cell, printed_table, tolerance
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json

METRICS = {"acc": "ACC", "bwt": "BWT", "fwt_gem": "FWT (GEM)"}


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write the tables and the figure; a printed value stands beside ours under every protocol, with a verdict for each."""
    assert isinstance(report.options, ProtocolsOptions)
    printed = printed_table(report.options.printed) if report.options.printed else {}
    cells = [cell for label, name in report.single().items() for cell in _cells(results, label, name)]
    _judge(cells, printed)
    columns = ["row", "experiment", "protocol", "metric", "mean", "deviation", "n", "printed", "difference", "verdict"]
    write_csv(paths.report(report.name, "csv"), columns, cells, ".4f")
    values: dict[str, Any] = {}
    for cell in cells:
        values.setdefault(cell["row"], {}).setdefault(cell["protocol"], {})[cell["metric"]] = round(cell["mean"], 4)
    write_json(paths.report(report.name, "json"), values)
    write_page(report, results, _markdown(report, results, cells))
    _draw(report, results, cells)


def _cells(results: Results, row: str, experiment: str) -> list[dict[str, Any]]:
    cells = []
    for protocol, name in PROTOCOLS.items():
        for metric in METRICS:
            result = results.spread(experiment, metric, protocol, finite=True)
            if result["mean"] is None:
                continue
            cells.append({"row": row, "experiment": experiment, "protocol": name, "metric": metric, **result})
    return cells


def _judge(cells: list[dict[str, Any]], printed: dict[tuple[str, str], Printed]) -> None:
    """Hold every cell of a row that is printed against the printed value, under each protocol."""
    for cell in cells:
        target = printed.get((cell["row"], cell["metric"]))
        if target is None or cell["protocol"] not in ANSWERS.values():
            continue
        beside = [c["mean"] for c in cells if all(c[key] == cell[key] for key in ("protocol", "metric"))]
        ours = Sample(cell["mean"], cell["deviation"], cell["n"])
        cell |= {"printed": target.mean, "difference": cell["mean"] - target.mean}
        cell["verdict"] = judge_cell(ours, target.mean, tolerance(printed, cell["metric"], beside))


def _markdown(report: Report, results: Results, cells: list[dict[str, Any]]) -> str:
    by_key = {(cell["row"], cell["protocol"], cell["metric"]): cell for cell in cells}
    parts = [f"# {report.title}\n"]
    for metric, title in METRICS.items():
        shown = [p for p in PROTOCOLS.values() if any((row, p, metric) in by_key for row in report.experiments)]
        shown = shown if metric == "acc" else [p for p in shown if p in ANSWERS.values()]
        if shown:
            body = [[row, *(_shown(by_key.get((row, p, metric))) for p in shown)] for row in report.experiments]
            parts.append(f"## {title}\n\n{table(['Method', *shown], body)}")
    judged = [cell for cell in cells if "verdict" in cell]
    if judged:
        body = [
            [
                cell["row"],
                METRICS[cell["metric"]],
                cell["protocol"],
                _shown(cell),
                f"{cell['printed']:.2f}",
                f"{cell['difference']:+.2f}",
                cell["verdict"],
            ]
            for cell in judged
        ]
        header = ["Method", "Metric", "Protocol", "Ours", "Printed", "Difference", "Verdict"]
        parts.append(f"## Which protocol the printed values fit\n\n{table(header, body)}")
    seeds = ", ".join(sorted({str(cell["n"]) for cell in cells}))
    lost = results.diverged(list(report.single().values()), OTHERS)
    parts.append(f"## How these were made\n\n{NOTES}\nSeeds a row: {seeds}. {lost}{results.made_by(report)}")
    body = [[label, name] for label, name in report.single().items()]
    return "\n".join([*parts, table(["Row", "Experiment in params.yaml"], body)])


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['mean']:.2f}" + (f" ± {cell['deviation']:.2f}" if cell["deviation"] is not None else " (n = 1)")


def _draw(report: Report, results: Results, cells: list[dict[str, Any]]) -> None:
    at = {
        (cell["row"], cell["protocol"]): Cell(cell["row"], "acc", cell["mean"], cell["deviation"], cell["n"])
        for cell in cells
        if cell["metric"] == "acc"
    }
    rows, names = list(report.experiments), list(ANSWERS.values())
    printed = {cell["row"]: cell["printed"] for cell in cells if cell["metric"] == "acc" and "printed" in cell}
    with style.panels(
        paths.report(report.name, "png"),
        1,
        report.title,
        describe_setting(report, results, DEVIATION),
        note=describe_diverged(results, report.single(), OTHER_SEEDS),
        width=7.5,
        height=style.dots_height(len(rows), len(names)),
        values="x",
    ) as (axes,):
        looks = style.looks(names)
        series = [(p, [at.get((row, p)) for row in rows], looks[p]) for p in names]
        style.dots(axes, rows, series, [printed.get(row) for row in rows])
        axes.set_xlim(0, 100)
        axes.set_xlabel(QUANTITIES["acc"].axis)
