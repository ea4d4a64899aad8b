"""One page of findings: what the papers and their code come to, each with one number computed from the kept tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import yaml
from pydantic import Field

from lifelong.params.messages import validate
from lifelong.params.reports import PAPER
from lifelong.params.sections import Section
from lifelong.reports.observations import observe
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Estimate, contrast
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_text
from lifelong.runtime.errors import UserError

MOST = 12

TEXT = """\
# Findings

What the four papers and their released code come to where a comparison says something: same seeds on both sides, and the
same budget and protocol but for what the sentence is about. Each number is a mean difference with its own 95 % interval,
over the seeds of the report that it links to, computed from that section's tables when this page is drawn. Most are of a
smaller tier than the paper's, as the linked pages say.

{findings}
"""


class Noted(Section):
    """A finding: its words, the contrast that bears it out, and what the interval must be for that."""

    text: str
    report: str
    rows: Annotated[list[str], Field(min_length=1, max_length=2)]
    metric: str
    holds: Literal["above", "below", "level"]


def read_findings() -> list[Noted]:
    file = PAPER / "findings.yaml"
    return [validate(Noted, one, str(file), f"{place}.") for place, one in enumerate(yaml.safe_load(file.read_text()))]


def write_findings(sections: Sequence[Results]) -> None:
    """Write reports/findings.md.

    Raises:
        UserError: the kept tables do not bear a finding out (any more); it is named with its number.
    """
    known = {results.section: results for results in sections}
    told = [f"{place}. {_tell(one, known)}" for place, one in enumerate(read_findings()[:MOST], 1)]
    write_text(paths.REPORTS / "findings.md", TEXT.format(findings="\n".join(told)))


def _tell(one: Noted, known: dict[str, Results]) -> str:
    results = known[one.report.partition("/")[0]]
    report = results.settings.report(one.report)
    observed = observe(report, results)
    places = [(row, one.metric, None) for row in one.rows]
    absent = [row for row, *_ in places if (row, one.metric, None) not in observed]
    found: Estimate | str = f"it has no {one.metric} of {', '.join(absent)}"
    if not absent:
        found = contrast([(weight, observed[place]) for weight, place in zip((1, -1), places, strict=False)])
    if isinstance(found, str):
        raise UserError(f"findings.yaml: {one.report}: {found}; the finding reads {one.text!r}")
    low, high = found.interval
    if not {"above": low > 0, "below": high < 0, "level": low <= 0 <= high}[one.holds]:
        raise UserError(
            f"findings.yaml: {one.report}: found [{low:.2f}, {high:.2f}]; expected an interval {one.holds} (0); "
            f"the finding reads {one.text!r}"
        )
    unit = QUANTITIES[one.metric].unit.replace("%", "points")
    number = f"**{found.mean:+.2f} {unit} [{low:.2f}, {high:.2f}]**".replace("-", "−")
    return f"{one.text.format(number=number)} ([{report.title}]({one.report}.md), n = {found.n})"
