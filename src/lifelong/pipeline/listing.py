"""Experiments by paper and section, and how far each is here: done, stale, begun or absent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from lifelong.params import Settings
from lifelong.params.reports import PAPERS
from lifelong.pipeline.freshness import Freshness
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.timings import describe_seconds

NO_REPORT = "in no report"
ALL = "All papers' methods"
STATES = ("done", "stale", "begun", "absent")


def list_experiments(settings: Settings, section: str | None) -> Iterator[str]:
    """Lines: each section with its numbers of experiments by state; or one section's experiments by name.

    Raises:
        UserError: there is no such section.
    """
    sections = _by_section(settings)
    if section is not None and section not in sections:
        raise UserError(f"section {section!r} is unknown; {did_you_mean(section, sections)}")
    freshness = Freshness(settings)
    width = max(map(len, sections))
    paper = ""
    for name, experiments in sections.items():
        if section not in (None, name):
            continue
        if (new := "Others" if name == NO_REPORT else _paper_of(name)) != paper:
            paper = new
            yield paper
        states = {one: _find_state(one, freshness) for one in experiments}
        if section is None:
            counts = Counter(states.values())
            told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
            yield f"  {name:{width}}  {told}{_describe_time(name)}"
        else:
            longest = max(map(len, states))
            yield from (f"  {one:{longest}}  {state}" for one, state in states.items())


def _describe_time(section: str) -> str:
    """The processor time that a section took where its tables were made, if it keeps any."""
    path = paths.section(section, "provenance.json")
    entries = json.loads(path.read_text()).values() if path.exists() else ()
    seconds = sum(entry.get("seconds") or 0 for entry in entries)
    return f"; took {describe_seconds(seconds)} of processor time" if seconds else ""


def _by_section(settings: Settings) -> dict[str, list[str]]:
    """Each experiment under the first section that shows it; papers one after the other."""
    left = list(settings.experiments)
    result: dict[str, list[str]] = {}
    papers = [ALL, *PAPERS.values()]
    for section in sorted(settings.sections(), key=lambda name: papers.index(_paper_of(name))):
        shown = {one for report in settings.sections()[section] for one in settings.report(report).all_experiments()}
        own = [one for one in left if one in shown]
        left = [one for one in left if one not in shown]
        if own:
            result[section] = own
    return result | ({NO_REPORT: left} if left else {})


def _paper_of(section: str) -> str:
    return next((paper for start, paper in PAPERS.items() if section.startswith(start)), ALL)


def _find_state(name: str, freshness: Freshness) -> str:
    summary = paths.summary(name)
    if not summary.exists():
        return "begun" if summary.parent.exists() else "absent"
    return "stale" if freshness.find_problem(summary) else "done"
