"""Any experiments and collectives side by side, straight from their scores: one table and one picture, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from lifelong.evaluation.metrics import acc, forgetting, matrix, square
from lifelong.params import Settings
from lifelong.params.sequences import Dense
from lifelong.reports.figures import style
from lifelong.runtime import paths
from lifelong.runtime.artifacts import missing_file, read_result
from lifelong.runtime.errors import UserError, did_you_mean

PROTOCOLS = ("task_incremental", "class_incremental")
TITLES = {"task_incremental": "task told", "class_incremental": "task not told"}

WORDS = """\
Test images of all tasks after the last one, percent, mean over seeds. Task told: the answer is the best class of the task
that the image is of (task-incremental). Not told: the best of all classes seen (class-incremental); a learner with one head
a task was not trained for that. Forgetting: how far an earlier task fell from its best, mean over tasks. Joint learns all
tasks at once. Networks, budgets and memories differ, as the last columns say: this shows how the methods behave and ranks
none of them; the reports do that."""


@dataclass(frozen=True)
class Row:
    """A learner's accuracy and forgetting by protocol, shares; none where the learner has no such answer."""

    label: str
    accuracy: dict[str, float | None]
    forgetting: dict[str, float | None]
    seeds: int
    network: str
    memory: str


def compare(settings: Settings, named: dict[str, str]) -> list[Row]:
    """A row each of experiments and collectives, by label.

    Raises:
        UserError: one is unknown, labels pixels or has no scores yet.
    """
    return [row for label, name in named.items() for row in _rows(settings, label, name)]


def find_names(settings: Settings, patterns: Sequence[str]) -> dict[str, str]:
    """Experiments and collectives by names or patterns such as `split-digits-*`, in which only those with scores count."""
    known = [*settings.experiments, *settings.skill.collectives]
    result: dict[str, str] = {}
    for pattern in patterns:
        fitting = [name for name in known if fnmatchcase(name, pattern)]
        if not fitting:
            raise UserError(f"{pattern!r}: no experiment or collective; {did_you_mean(pattern, known)}")
        if pattern not in fitting:
            fitting = [name for name in fitting if all(path.exists() for path in _scores(settings, name))]
        result |= {name: name for name in fitting}
    if not result:
        raise UserError(f"{' '.join(patterns)}: none of these has scores here; `snakemake demo` makes the first in minutes")
    return result


def _scores(settings: Settings, name: str) -> list[Path]:
    if name in settings.skill.collectives:
        return [paths.collective_scores(name, seed) for seed in range(settings.skill.collective(name).seeds)]
    return [paths.scores(name, seed) for seed in settings.experiment(name).seeds]


def _rows(settings: Settings, label: str, name: str) -> Iterator[Row]:
    files = _scores(settings, name)
    if absent := [path for path in files if not path.exists()]:
        raise missing_file(absent[0])
    results = [read_result(path) for path in files]
    if name in settings.skill.collectives:
        collective = settings.skill.collective(name)
        variant = next(iter(collective.variants))
        found = [one["variants"][variant] for one in results]
        told = [square([one["oracle"]], len(one["oracle"])) for one in found]  # agents learn apart: what one knows stays
        free = [square(one["final"], len(one["final"])) for one in found]
        by_protocol = {"task_incremental": told, "class_incremental": free}
        yield _row(f"{label} ({variant})", by_protocol, len(files), f"frozen {collective.backbone}", "packets")
        return
    experiment = settings.experiment(name)
    if isinstance(experiment.sequence, Dense):
        raise UserError(f"{name}: labels pixels; name experiments that label whole images")
    by_protocol = {p: [matrix(one["test"][p]) for one in results if p in one["test"]] for p in PROTOCOLS}
    memory = getattr(experiment.options, "memory", None)
    network = settings.origins[name].entry["network"]
    yield _row(label, by_protocol, len(files), network, f"{memory} images" if memory else "-")


def _row(label: str, by_protocol: dict[str, list[np.ndarray]], seeds: int, network: str, memory: str) -> Row:
    accuracy = {p: _mean([acc(r) for r in found]) for p, found in by_protocol.items()}
    lost = {p: _mean([forgetting(r) for r in found]) for p, found in by_protocol.items()}
    return Row(label, accuracy, lost, seeds, network, memory)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def format_table(rows: Sequence[Row]) -> str:
    """Plain text, a line a row."""
    header = ["method", *(f"{what}, {TITLES[p]}" for p in PROTOCOLS for what in ("accuracy", "forgetting"))]
    body = [
        [
            row.label,
            *(_percent(of[p]) for p in PROTOCOLS for of in (row.accuracy, row.forgetting)),
            str(row.seeds),
            row.network,
            row.memory,
        ]
        for row in rows
    ]
    lines = [[*header, "seeds", "network", "memory"], *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = ([f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def draw_comparison(rows: Sequence[Row], path: Path) -> None:
    """A panel a protocol: a bar a row for its accuracy, and how much of what it knew is lost, hollow behind it."""
    with style.panels(
        path,
        len(PROTOCOLS),
        "What is left after the last task",
        "Filled: accuracy. Hollow: what earlier tasks had beyond that before they were forgotten.",
        values="x",
        share="y",
        height=0.35 * len(rows) + 0.8,
    ) as panels:
        for axes, protocol in zip(panels, PROTOCOLS, strict=True):
            for place, row in enumerate(reversed(rows)):
                value, lost = row.accuracy[protocol], row.forgetting[protocol]
                if value is None:
                    axes.text(1, place, "no such answer", va="center", fontsize=8, color=style.MUTED)
                    continue
                axes.barh(place, 100 * value, color=style.PALETTE[0], height=0.6)
                axes.barh(place, 100 * max(lost or 0, 0), left=100 * value, fill=False, edgecolor=style.MUTED, height=0.6)
            axes.set(title=TITLES[protocol].capitalize(), xlabel="Accuracy (%)", xlim=(0, 100))
            axes.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
