"""The kinds of reports one can name in params.yaml: what each is made of and what it writes beside its Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lifelong.config.sections import Count, Name, Section


class ComparisonOptions(Section):
    """Experiments side by side in one table."""

    printed: Name | None = None  # the published table set beside ours, a CSV of `lifelong/paper/printed`


class CollectiveOptions(Section):
    """A collective of SKILL agents: what it answers, what it shares, how its banks agree."""

    collective: Name


class SkillCostsOptions(Section):
    """Tables 1 and 2 of SKILL, and the same account for a collective of ours."""

    table: str  # CSV of the 102 tasks, looked for in data/raw and LIFELONG_DATA
    collective: Name
    epochs: Count = 30


Need = Literal["summary", "scores", "states"]
"""Of every experiment of a report: its summary, the scores of each seed, the state each task leaves."""


@dataclass(frozen=True)
class ReportKind:
    """How reports of one kind are made: `module.write(settings, name)`."""

    module: str
    needs: tuple[Need, ...]
    writes: tuple[str, ...]  # suffixes beside .md
    options: type[Section] = Section


REPORT_KINDS: dict[str, ReportKind] = {
    "comparison": ReportKind("lifelong.paper.tables", ("summary",), ("csv", "json"), ComparisonOptions),
    "skill-reuse": ReportKind("lifelong.paper.reuse", (), ("csv", "json", "png"), CollectiveOptions),
    "skill-costs": ReportKind("lifelong.paper.skill_costs", (), ("csv", "json"), SkillCostsOptions),
    "collective": ReportKind("lifelong.paper.collective", (), ("csv", "json", "png"), CollectiveOptions),
}
