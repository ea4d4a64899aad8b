"""The files of a figure's report: the page around it, the CSV it is drawn from, and what the paper says of its own."""

from __future__ import annotations

from collections.abc import Sequence

from lifelong.params import Report
from lifelong.reports.cells import Cell, write_cells
from lifelong.reports.claims import describe, find_findings
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json


def publish(
    report: Report,
    results: Results,
    cells: Sequence[Cell],
    shown_table: str,
    notes: str,
    beside: str = "",
    drawn: Sequence[Cell] = (),
) -> None:
    """Write reports/<name>.md, .csv and .json beside the figure, whose PNG has the same name.

    `shown_table` is the small table under the figure, `beside` what else stands there, `notes` how the numbers were made,
    `drawn` cells of the CSV that are in the figure alone. The JSON holds the claims' verdicts.
    """
    findings = [one for one in find_findings(results) if one.report == report.name]
    write_cells(paths.report(report.name, "csv"), [*cells, *drawn])
    write_json(paths.report(report.name, "json"), {"claims": [describe(one) for one in findings]})
    data = paths.report(report.name, "csv").name
    parts = [shown_table]
    parts += [beside] if beside else []
    seeds = sorted({cell.n for cell in cells if cell.n})
    of_seeds = f"Seeds a value: {', '.join(map(str, seeds))}. " if seeds else ""
    parts.append(f"## How these were made\n\n{notes}\n\n{of_seeds}Data: [{data}]({data}). {results.made_by(report)}")
    if report.experiments:
        body = [[label, ", ".join(names)] for label, names in report.experiments.items()]
        parts.append(table(["Label", "Experiments in params.yaml"], body))
    write_page(report, results, "\n".join(parts))
