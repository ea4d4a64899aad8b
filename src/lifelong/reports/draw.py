"""Draws reports from what their sections keep: no data, no model, no training."""

from __future__ import annotations

import importlib

from lifelong.params import Report, Settings
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean


def draw(settings: Settings, name: str | None) -> None:
    """Draw a report, all of a section, or, without a name, all of every section that keeps something.

    Raises:
        UserError: there is no such section or report, or nothing is kept of it.
    """
    sections = settings.sections()
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
            write(settings, report, results)


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write a report's files."""
    importlib.import_module(report.kind.module).write(settings, report, results)
