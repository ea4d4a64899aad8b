"""What a picture is of, in the words of its subtitle: data, seeds, protocol; and what its crosses stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong.params import Report
from lifelong.reports.results import Results

DATA = {"mnist": "MNIST", "digits": "scikit-learn's digits", "cifar100": "CIFAR-100", "camvid": "CamVid"}
"""Names of data sets as they are written; others are called as in params.yaml."""

TOLD = "task told at test"
OTHER_SEEDS, NOT_DRAWN = "Values of the other seeds", "Not drawn"
DEVIATION = "mean ± deviation over seeds"
INTERVAL = "mean difference with its 95 % interval"


def describe_setting(report: Report, results: Results, *more: str) -> str:
    """`split MNIST, 5 tasks; 3 to 5 seeds; task told at test; mean ± deviation over seeds`."""
    made = [results.made[name] for name in report.all_experiments() if name in results.made]
    sequences = [_sequence(one.parameters["sequence"]) for one in made if "sequence" in one.parameters]
    counts = {len(one.seeds) for one in made if one.seeds}
    name = getattr(report.options, "collective", None)
    if name is not None:
        collective = results.settings.skill.collective(name)
        sequences = [f"{len(results.settings.skill.tasks(collective.sequence))} tasks of several data sets"]
        counts = {collective.seeds}
    seeds = " to ".join(dict.fromkeys(map(str, (min(counts), max(counts))))) if counts else ""
    seeds += " seed" + "s" * (max(counts) > 1) if counts else ""
    return "; ".join(part for part in (*dict.fromkeys(sequences), seeds, *more) if part)


def describe_diverged(results: Results, named: Mapping[str, str], shown: str = "") -> str:
    """Which experiments diverged, by label, and how that shows in the picture (else: by a cross); empty where none did."""
    lost = {label: results.lost_seeds(name) for label, name in named.items()}
    told = [f"{label}, {n} of {seeds} seeds" for label, (n, seeds) in lost.items() if n]
    start = f"{shown}: training" if shown else "×: training"
    return f"{start} diverged, its loss left the finite numbers: {'; '.join(told)}." if told else ""


def _sequence(parameters: Mapping[str, Any]) -> str:
    data, tasks = parameters.get("dataset"), parameters.get("tasks", "")
    name = DATA.get(data or "", data or "several data sets")
    kinds = {"split": "split {}, {} tasks", "permuted": "permuted {}, {} tasks", "dense": "{}, {} steps"}
    return kinds.get(parameters.get("kind", ""), "{}, {} tasks").format(name, tasks)
