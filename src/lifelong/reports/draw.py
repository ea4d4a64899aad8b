"""Draws reports from what their sections keep: no data, no model, no training."""

from __future__ import annotations

import importlib

from lifelong.params import Report, Settings
from lifelong.reports.findings import write_findings
from lifelong.reports.layout import write_page
from lifelong.reports.results import Results
from lifelong.reports.scoreboard import write_scoreboard
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean


def draw(settings: Settings, name: str | None) -> None:
    """Draw a report, all of a section, or, without a name, all of every section that keeps something and the scoreboard.

    Raises:
        UserError: there is no such section or report, or nothing is kept of it; what can be drawn is.
    """
    sections, faults, drawn = settings.sections(), list[str](), list[Results]()
    if name is not None and name not in sections and name not in settings.reports:
        raise UserError(f"report {name!r} is unknown; {did_you_mean(name, [*sections, *settings.reports])}")
    for section, names in sections.items():
        if name is not None and name.partition("/")[0] != section:
            continue
        if not paths.section(section, "provenance.json").exists():
            if name is None:
                continue
            raise UserError(f"{paths.section(section, 'provenance.json')}: no such file; `snakemake {section}` makes it")
        results = Results(settings, section)
        chosen = [settings.report(one) for one in names if name in (None, section, one)]
        for report in sorted(chosen, key=lambda report: "section" in report.kind.needs):
            try:
                write(settings, report, results)
            except UserError as error:
                faults.append(f"{report.name} is not drawn: {error}")
        drawn.append(results)
    if name is None:
        write_scoreboard(drawn)
        write_findings(drawn)
    if faults:
        raise UserError("\n".join(faults))


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write a report's files; a page that stays as published says so."""
    module, made = importlib.import_module(report.kind.module), results.made.get(report.name)
    if made is None or not made.published:
        module.write(settings, report, results)
        return
    if hasattr(module, "draw"):  # its CSV holds all that the picture shows
        module.draw(report, results)
    page = paths.report(report.name, "md")
    text = page.read_text()
    if PUBLISHED not in text:
        write_page(report, results, f"{text.rstrip()}\n\n{PUBLISHED}\n")


PUBLISHED = (
    "**Imported**: this page and its numbers are as published, by older code: what they were computed from was not kept. "
    "Running the section again replaces them."
)
