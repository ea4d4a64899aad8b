"""The files of a figure's report: the page around it, the CSV it is drawn from, and what the paper says of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from lifelong.params import Report
from lifelong.params.reports import FigureOptions
from lifelong.reports.cells import Cell, write_cells
from lifelong.reports.claims import Finding, judge, read_claims
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json, write_text

VERDICTS = """\
The statements are the paper's, in our words. *reproduced*: ours says so by more than the noise, which is the larger of the
deviations at hand, at every place the statement speaks of; *trend only*: at some places, and nowhere the opposite; *within
noise*: nowhere either; *contradicted*: the opposite, by more than the noise, somewhere. What is said to be alike must be so
within the noise or one point of percent; what is said to be steadier must have the smaller deviation. Differences of the
same seeds are judged by their 95 % interval, which must not hold 0."""


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
    assert isinstance(report.options, FigureOptions)
    claims = read_claims(report.options.claims) if report.options.claims else []
    findings = judge(claims, cells, report.experiments)
    write_cells(paths.report(report.name, "csv"), [*cells, *drawn])
    write_json(paths.report(report.name, "json"), {"claims": [asdict(one) for one in findings]})
    image = paths.report(report.name, "png").name
    data = paths.report(report.name, "csv").name
    parts = [f"# {report.title}\n", f"![{report.title}]({image})\n", shown_table]
    parts += [beside] if beside else []
    if findings:
        parts.append(f"## What the paper says of it\n\n{findings_table(findings)}\n{VERDICTS}\n")
    seeds = sorted({cell.n for cell in cells if cell.n})
    of_seeds = f"Seeds a value: {', '.join(map(str, seeds))}. " if seeds else ""
    parts.append(f"## How these were made\n\n{notes}\n\n{of_seeds}Data: [{data}]({data}). {results.made_by(report)}")
    if report.experiments:
        body = [[label, ", ".join(names)] for label, names in report.experiments.items()]
        parts.append(table(["Label", "Experiments in params.yaml"], body))
    write_text(paths.report(report.name, "md"), "\n".join(parts))


def findings_table(findings: Sequence[Finding]) -> str:
    return table(["Statement", "Ours", "Verdict"], [[f.statement, f.numbers, f.verdict] for f in findings])
