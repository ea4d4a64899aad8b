"""Which results are what params.yaml asks for, by what their own files say.

A result is fresh if its header names its place, the fingerprint that its job has now, the libraries that are installed, and
sources that are there with the same content and fresh themselves. Times and Snakemake's records say nothing about that, so
before Snakemake plans, `settle_times` gives results times that tell it: what is fresh is no older than its sources, what is
stale is older than anything. A copied, pulled or touched result is neither made again nor used when it should not be.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lifelong.params import Settings
from lifelong.pipeline import graph
from lifelong.pipeline.stages import JOBS, job_fingerprint
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, read_record
from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import find_difference, look_at

STALE = 978_307_200.0
"""Time given to what is stale: the year 2001, before any input."""

_MADE = (
    (paths.images("{dataset}"), "images", ("dataset",)),
    (paths.tasks("{sequence}"), "tasks", ("sequence",)),
    (paths.features("{backbone}", "{tier}", "{dataset}", "{split}"), "features", ("backbone", "tier")),
    (paths.state("{experiment}", "{seed}", "{task}", "{stage}"), "stage", ("experiment", "stage")),
    (paths.scores("{experiment}", "{seed}"), "evaluate", ("experiment",)),
    (paths.predictions("{experiment}", "{seed}"), "evaluate", ("experiment",)),
    (paths.summary("{experiment}"), "summarise", ("experiment",)),
    (paths.chosen("{experiment}"), "choose", ("experiment",)),
    (paths.tracked("{experiment}"), "track", ("experiment",)),
    (paths.tracked_collective("{collective}"), "track-collective", ("collective",)),
    (paths.taught("{collective}", "{seed}", "{task}"), "teach", ("collective",)),
    (paths.taught_times("{collective}", "{seed}", "{task}"), "teach", ("collective",)),
    (paths.biased("{collective}", "{seed}", "{task}", "{head}"), "teach-biased", ("collective", "head")),
    (paths.biased_times("{collective}", "{seed}", "{task}", "{head}"), "teach-biased", ("collective", "head")),
    (paths.biased_predictions("{collective}", "{seed}", "{task}", "{head}"), "judge-biased", ("collective", "head")),
    (paths.head2toe("{collective}", "{seed}", "{task}"), "head2toe", ("collective",)),
    (paths.packet("{collective}", "{seed}", "{task}", "{variant}"), "pack", ("collective",)),
    (paths.bank("{collective}", "{seed}", "{agents}", "{agent}"), "receive", ("collective",)),
    (paths.collective_scores("{collective}", "{seed}"), "route", ("collective",)),
    (paths.collective_predictions("{collective}", "{seed}"), "route", ("collective",)),
    (paths.reused("{collective}", "{seed}"), "reuse", ("collective",)),
    (paths.receipt("measure", "{report}"), "measure", ("report",)),
    (paths.receipt("collect", "{section}"), "collect", ("section",)),
    (paths.receipt("report", "{report}"), "report", ("report",)),
)
"""Where each kind of job leaves what, and which of the names in the path the job is about."""

WITH_RECEIPT = ("measure", "collect", "report")
"""Jobs whose files are plain ones, so that a receipt says how they were made."""

_WILDCARDS = {"report": r".+", "seed": r"\d+", "task": r"\d+", "agents": r"\d+", "agent": r"\d+", "split": "train|test"}


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...]:
    def pattern(template: Path) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", str(template))
        wildcards = [f"(?P<{name}>{_WILDCARDS.get(name, '[^/]+')})" for name in parts[1::2]]
        texts = zip_longest(map(re.escape, parts[::2]), wildcards, fillvalue="")
        return re.compile("".join(text for pair in texts for text in pair))

    return tuple((pattern(template), kind, names) for template, kind, names in _MADE)


class Freshness:
    """Judges results, each once: what it has found stays as it was then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fingerprints: dict[tuple[str, ...], str] = {}
        self._found: dict[Path, str | None] = {}
        self._records: dict[Path, dict[str, Any] | str] = {}
        self._digests: dict[Path, str] = {}

    def covers(self, path: Path) -> bool:
        return self.fingerprint(path) is not None

    def fingerprint(self, path: Path) -> str | None:
        """The fingerprint of the job that params.yaml has for a path; none if it has no such job."""
        for pattern, kind, names in _patterns():
            match = pattern.fullmatch(str(path))
            if match and self._asks_for(kind, match.groupdict()):
                about = tuple(match[name] for name in names)
                if (kind, *about) not in self._fingerprints:
                    self._fingerprints[(kind, *about)] = job_fingerprint(self._settings, kind, *about)
                return self._fingerprints[(kind, *about)]
        return None

    def find_problem(self, path: Path) -> str | None:
        """Why a result is not what is asked for; none if it is."""
        pending = [path]
        while pending:
            one = pending[-1]
            if one in self._found:
                pending.pop()
                continue
            unknown = [source for source in self.sources(one) if source not in self._found and source.exists()]
            if unknown:  # chains are as long as sequences, so no recursion
                pending += unknown
                continue
            self._found[one] = self._judge(one)
            pending.pop()
        return self._found[path]

    def card(self, path: Path) -> str:
        """The GPU that computed a result; empty where the processor did."""
        record = self._record(path)
        return "" if isinstance(record, str) else record["made"].get("device", "")

    def sources(self, path: Path) -> list[Path]:
        record = self._record(path)
        return [] if isinstance(record, str) else [Path(source) for source in record["made"].get("from", ())]

    def plain_sources(self, path: Path) -> list[Path]:
        """Files without a record of their own that the job read."""
        record = self._record(path)
        return [] if isinstance(record, str) else [Path(one) for one in record["made"].get("plain", ())]

    def plain_files(self, path: Path) -> list[Path]:
        """Files without a record of their own that the job wrote beside a result."""
        record = self._record(path)
        return [] if isinstance(record, str) else [Path(one) for one in record["made"].get("beside", ())]

    def _judge(self, path: Path) -> str | None:
        asked = self.fingerprint(path)
        if asked is None:
            return "nothing in params.yaml asks for it"
        record = self._record(path)
        if isinstance(record, str):
            return record
        if problem := find_difference(path, record["made"], asked):
            return problem
        plain = {**record["made"].get("plain", {}), **(record["made"].get("beside", {}) if is_receipt(path) else {})}
        for name, digest in plain.items():
            if (file := Path(name)).exists() and self._digest(file) != digest:
                return f"was made with another {name}"
        for name, look in record["made"].get("outside", {}).items():
            if (data := Path(name)).exists() and look_at(data) != look:
                return f"was made from {name} before that changed"
        for source, content in record["made"].get("from", {}).items():
            where = Path(source)
            if not where.exists():
                if not self.covers(where):
                    return f"was made from {source}, which nothing in params.yaml asks for"
                continue
            there = self._record(where)
            if isinstance(there, str) or there["content"] != content:
                return f"was made from another {source}"
            if self._found.get(where):
                return f"was made from {source}, which {self._found[where]}"
        return None

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def _record(self, path: Path) -> dict[str, Any] | str:
        """What a file says of how it was made, or why it cannot be read."""
        if path not in self._records:
            try:
                self._records[path] = read_record(path)
            except UserError as error:
                self._records[path] = str(error).removeprefix(f"{path}: ")
        return self._records[path]

    def _asks_for(self, kind: str, names: Mapping[str, str]) -> bool:
        """Whether params.yaml knows what a path names."""
        settings = self._settings
        if "report" in names:
            return names["report"] in settings.reports
        if "section" in names:
            return names["section"] in settings.sections()
        if kind == "tasks":
            return names["sequence"] in settings.sequences
        if kind == "images":
            return True
        if kind == "features":
            return names["backbone"] in settings.skill.backbones and names["tier"] in settings.skill.tiers
        if "collective" in names:
            collective = settings.skill.collectives.get(names["collective"])
            return (
                collective is not None
                and int(names.get("seed", 0)) < collective.seeds
                and int(names.get("agents", collective.agents[0])) in collective.agents
                and names.get("head", next(iter(collective.heads))) in collective.heads
                and names.get("variant", next(iter(collective.variants))) in collective.variants
            )
        experiment = (settings.experiments | settings.candidates).get(names["experiment"])
        if experiment is None or int(names.get("seed", experiment.seeds[0])) not in experiment.seeds:
            return False
        if "task" not in names:
            return True
        task = int(names["task"])
        return (
            experiment.branch_task <= task
            and task in experiment.tasks
            and names["stage"] in graph.stages_of(experiment, task)
        )


def is_receipt(path: Path) -> bool:
    return path.is_relative_to(paths.RECEIPTS)


@dataclass
class Found:
    """What the results here are.

    Attributes:
        stale: why each result that is not what is asked for is not.
        cards: how many of the others each GPU computed; under the empty name those of the processor.
    """

    stale: dict[Path, str] = field(default_factory=dict)
    cards: Counter[str] = field(default_factory=Counter)


def settle_times(settings: Settings, asked: Path) -> Found:
    """Give the results here times that tell Snakemake which are fresh.

    No result is removed, and none that has a right time already gets another. `asked` is a file that every rule has as an
    input: what is fresh is no older than it. Times to come, as from a machine whose clock is wrong, become the present.
    """
    freshness = Freshness(settings)
    now = time.time()
    if asked.stat().st_mtime > now:
        os.utime(asked, (now, now))
    times: dict[Path, float] = {}
    found = Found()
    for file in _files_without_receipt(settings):
        os.utime(file, (STALE, STALE))
    for path in sorted(filter(freshness.covers, _results()), key=lambda path: _rank(path, settings)):
        problem = freshness.find_problem(path)
        if problem:
            found.stale[path] = problem
            for one in _with_plain_files(path, freshness):
                os.utime(one, (STALE, STALE))
            continue
        if _computes(path):
            found.cards[freshness.card(path)] += 1
        for one in _with_sources_first(path, freshness, times):
            files = {file: file.stat().st_mtime for file in _with_plain_files(one, freshness)}
            plain = [file.stat().st_mtime for file in freshness.plain_sources(one) if file.exists()]
            after = max([*(times[source] for source in freshness.sources(one) if source in times), *plain], default=0.0)
            earliest = max(after, asked.stat().st_mtime)
            times[one] = max([earliest, *(own for own in files.values() if own <= now)])
            for file, own in files.items():
                if not earliest <= own <= now:
                    os.utime(file, (times[one], times[one]))
    return found


def _computes(path: Path) -> bool:
    """Whether a result is of a job that computes on a GPU where there is one."""
    return any(JOBS[kind].device for pattern, kind, _ in _patterns() if pattern.fullmatch(str(path)))


def _rank(path: Path, settings: Settings) -> int:
    """Receipts come last, in the order in which their jobs read one another's plain files; pages read other reports."""
    if not is_receipt(path):
        return 0
    kind, *name = path.relative_to(paths.RECEIPTS).with_suffix("").parts
    page = kind == "report" and "section" in settings.report("/".join(name)).kind.needs
    return 1 + WITH_RECEIPT.index(kind) + page


def _files_without_receipt(settings: Settings) -> Iterator[Path]:
    """Files of reports that may be of any code and parameters, as in a clone: nothing says what they were made of."""
    for name, report in settings.reports.items():
        if not paths.receipt("report", name).exists():
            yield from (path for suffix in ("md", *report.kind.writes) if (path := paths.report(name, suffix)).exists())
        if report.kind.measures and not paths.receipt("measure", name).exists():
            yield from (path for suffix in ("csv", "safetensors") if (path := paths.measured(name, suffix)).exists())
    for section in settings.sections():
        if not paths.receipt("collect", section).exists():
            tables = ("results.csv", "quantities.csv", "provenance.json")
            yield from (path for table in tables if (path := paths.section(section, table)).exists())


def _with_plain_files(path: Path, freshness: Freshness) -> list[Path]:
    return [path, *(one for one in freshness.plain_files(path) if one.exists())]


def describe_stale(stale: Mapping[Path, str]) -> str:
    """One line of what will be made again where a target needs it; nothing where nothing is stale."""
    if not stale:
        return ""
    # A cause says more than what follows from it.
    path, problem = min(stale.items(), key=lambda one: ("was made from" in one[1], str(one[0])))
    number = "1 result is" if len(stale) == 1 else f"{len(stale)} results are"
    reason = problem.partition(";")[0]
    return f"{number} stale and will be made again where needed: {path} {reason}\n"


def describe_other_devices(cards: Mapping[str, int], gpu: bool) -> str:
    """One line of what was computed on a device of another kind than the jobs to come have, and stays as it is."""
    others = {card or "the processor": number for card, number in sorted(cards.items()) if bool(card) != gpu}
    if not others:
        return ""
    what = ", ".join(f"{number} results of {device}" for device, number in others.items())
    return f"kept: {what}; what is missing is computed on {'a GPU' if gpu else 'the processor'}\n"


def _with_sources_first(path: Path, freshness: Freshness, known: Mapping[Path, float]) -> Iterator[Path]:
    """A result after all that it was made of, those left out whose time is known."""
    pending, listed = [path], set()
    while pending:
        one = pending[-1]
        rest = [
            s for s in freshness.sources(one) if s not in known and s not in listed and s.exists() and freshness.covers(s)
        ]
        if rest:
            pending += rest
            continue
        pending.pop()
        if one not in listed and one not in known:
            listed.add(one)
            yield one


def _results() -> Iterator[Path]:
    """Every file that may be a result of the pipeline."""
    aside = [] if paths.RECEIPTS.is_relative_to(paths.RESULTS) else [paths.RECEIPTS]
    for root in (Path("data"), paths.RESULTS, paths.LOGS, *aside):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(one for one in folders if one not in (paths.CHECKPOINTS.name, "raw"))
            for name in sorted(names):
                if name.endswith((".safetensors", ".json")) and not name.startswith("."):
                    yield Path(folder, name)
