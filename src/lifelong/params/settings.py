"""All of params.yaml as one object, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lifelong.params.datasets import DenseFolder, Folder, Limits
from lifelong.params.experiment import Experiment
from lifelong.params.inheritance import Origin
from lifelong.params.methods import Method, Stage, stage_table
from lifelong.params.reporting import Report
from lifelong.params.schema import Training
from lifelong.params.sequences import DataSets, Sequence, Tier
from lifelong.params.skill import Skill
from lifelong.runtime.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked."""

    datasets: dict[str, Folder | DenseFolder]
    sequences: dict[str, Sequence]
    tiers: dict[str, Tier]
    experiments: dict[str, Experiment]
    candidates: dict[str, Experiment]  # what the grids of `experiments` choose from
    skill: Skill
    training: dict[str, Training]
    reports: dict[str, Report]  # by "<section>/<name>"
    tracking_uri: str
    limits: Limits
    methods: dict[str, Method]
    origins: dict[str, Origin] = field(default_factory=dict)  # by experiment: how `like` and `sweep` made it
    sweeps: dict[str, tuple[str, ...]] = field(default_factory=dict)  # swept experiment -> its variants
    place_of: Callable[[str], str] = str  # file and line of a dotted key

    def stages(self) -> dict[str, Stage]:
        """Each name of a stage of any method once."""
        return stage_table(self.methods)

    def sections(self) -> dict[str, list[str]]:
        """The reports of each section, by full name."""
        result: dict[str, list[str]] = {}
        for name in self.reports:
            result.setdefault(name.partition("/")[0], []).append(name)
        return result

    def shown_collectives(self) -> list[str]:
        """The collectives that reports are about."""
        named = (getattr(report.options, "collective", None) for report in self.reports.values())
        return list(dict.fromkeys(name for name in named if name))

    def tracked_at(self) -> str:
        """Where MLflow's runs go: MLFLOW_TRACKING_URI, else the `tracking_uri` of params.yaml."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.tracking_uri

    def experiment(self, name: str) -> Experiment:
        if name in self.sweeps:
            raise UserError(f"{name!r} is swept and no experiment itself; its variants: {', '.join(self.sweeps[name])}")
        return _named(self.experiments | self.candidates, name, "experiment")

    def sequence_parameters(self, name: str) -> dict[str, Any]:
        """All that decides the tasks of a sequence, but for the images."""
        sequence = self.sequence(name)
        tier = self.tiers[sequence.tier].model_dump() if isinstance(sequence, DataSets) else None
        return {**sequence.model_dump(), "tier": tier}

    def sequence_datasets(self, name: str) -> list[str]:
        """The data sets of a sequence's tasks, each once."""
        sequence = self.sequence(name)
        if isinstance(sequence, DataSets):
            return list(dict.fromkeys(task.dataset for task in self.skill.tasks(name)))
        return sequence.datasets

    def sequence(self, name: str) -> Sequence:
        return _named(self.sequences, name, "sequence")

    def report(self, name: str) -> Report:
        return _named(self.reports, name, "report")


def _named(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise UserError(f"params.yaml has no {what} {name!r}; {did_you_mean(name, known)}")
    return known[name]
