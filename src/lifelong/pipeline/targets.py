"""Targets of Snakemake by name, for who has misspelt one."""

from __future__ import annotations

import difflib
import re

from lifelong.params import Settings
from lifelong.runtime import paths

DEMO = {
    "Fine-tuning": "split-digits-finetune",
    "EWC": "split-digits-ewc",
    "ANPyC": "split-digits-anpyc",
    "ARI": "split-digits-ari",
    "Split2MetaFusion": "split-digits-split2meta",
    "SKILL": "digits-5",
    "Joint": "split-digits-joint",
}
"""What `make demo` shows, by label: a method of each paper beside what any of them should beat, and what none can."""


def list_targets(settings: Settings) -> list[str]:
    """What `snakemake TARGET` takes: names of sections, summaries of experiments, reports."""
    summaries = [str(paths.summary(name)) for name in settings.experiments]
    reports = [str(paths.report(name, "md")) for name in settings.reports]
    return ["demo", "all", *settings.sections(), *summaries, *reports]


def suggest_target(settings: Settings, target: str) -> str:
    """One line on a target that there is not, with the nearest one; an experiment's own name leads to its summary."""
    if target in settings.experiments:
        return f"{target}: an experiment, not a target; did you mean {paths.summary(target)}?"
    known = list_targets(settings)
    nearest = difflib.get_close_matches(target, known, n=1, cutoff=0.6)
    hint = f"did you mean {nearest[0]}?" if nearest else "`snakemake --list-target-rules` and `lifelong list` name them"
    return f"{target}: no such target; {hint}"


def find_absent_target(message: str) -> str | None:
    """The target that Snakemake's message says no rule makes."""
    found = re.search(r"No rule to produce (\S+)", message)
    return found[1] if found else None
