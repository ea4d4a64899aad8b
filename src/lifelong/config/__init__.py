"""params.yaml -> frozen, validated objects; whatever does not fit is refused by name before any work starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from lifelong.config.files import Written
from lifelong.config.messages import validated
from lifelong.config.methods import METHODS, Method
from lifelong.config.networks import Network
from lifelong.config.reporting import Report, resolved_report
from lifelong.config.schema import (
    CLASSES_OF_BUILT_IN,
    PARAMS_FILE,
    Branch,
    ExperimentEntry,
    Folder,
    Grid,
    Heads,
    Params,
    Scenario,
    Training,
)
from lifelong.config.sections import Section
from lifelong.config.segmentation import Segmentation, SegmentationLearner
from lifelong.config.skill import Skill, TrainedBackbone
from lifelong.config.skill_methods import baseline_faults
from lifelong.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Experiment:
    """Scenario x network x method x hyper-parameters x seeds, every name resolved."""

    name: str
    scenario_name: str
    scenario: Scenario
    dataset: Folder | None  # none: a built-in data set
    network: Network | TrainedBackbone
    heads: Heads
    training: Training
    method_name: str
    options: Section  # of an experiment with a grid: those of its first candidate, until a choice is made
    seeds: tuple[int, ...]
    joint: str | None
    dropout_at_test: bool = False
    grid: Grid | None = None
    candidates: tuple[str, ...] = ()  # experiments that the grid chooses from
    may_diverge: bool = False  # a result then, as with candidates of a grid: the seed has no numbers
    trunk: Experiment | None = None  # the experiment whose tasks come first
    branch_task: int = 0  # the first task that is this experiment's own

    @property
    def method(self) -> Method:
        return METHODS[self.method_name]

    @property
    def tasks(self) -> range:
        """The tasks that have a model: all of the scenario, or the last alone for a joint learner."""
        count = self.scenario.tasks
        return range(count - 1, count) if self.method.joint else range(count)

    def parameters(self) -> dict[str, Any]:
        """All that decides the result of one seed, as JSON values. Names and the list of seeds are not in it."""
        trunk = {"trunk": self.trunk.parameters(), "branch_task": self.branch_task} if self.trunk else {}
        return trunk | {
            "scenario": self.scenario.model_dump(),
            "dataset": self.dataset.model_dump() if self.dataset else self.scenario.dataset,
            "network": self.network.model_dump(),
            "heads": self.heads,
            "training": self.training.model_dump(),
            "method": self.method_name,
            "options": self.options.model_dump(),
            "dropout_at_test": self.dropout_at_test,
            "grid": self.grid.model_dump() if self.grid else None,
        }

    def with_options(self, options: dict[str, Any]) -> Experiment:
        """The same experiment with checked options instead of a grid."""
        return replace(self, options=self.method.options.model_validate(options), grid=None, candidates=())


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked."""

    datasets: dict[str, Folder]
    scenarios: dict[str, Scenario]
    experiments: dict[str, Experiment]
    candidates: dict[str, Experiment]  # what the grids of `experiments` choose from
    skill: Skill
    segmentation: Segmentation
    training: dict[str, Training]
    reports: dict[str, Report]  # by "<section>/<name>"
    tracking_uri: str

    def sections(self) -> dict[str, list[str]]:
        """The reports of each section, by full name."""
        found: dict[str, list[str]] = {}
        for name in self.reports:
            found.setdefault(name.partition("/")[0], []).append(name)
        return found

    def shown_collectives(self) -> list[str]:
        """The collectives that reports are about."""
        named = (getattr(report.options, "collective", None) for report in self.reports.values())
        return list(dict.fromkeys(name for name in named if name))

    def tracked_at(self) -> str:
        """Where MLflow's runs go: MLFLOW_TRACKING_URI, else the `tracking_uri` of params.yaml."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.tracking_uri

    def experiment(self, name: str) -> Experiment:
        return _named(self.experiments | self.candidates, name, "experiment")

    def scenario(self, name: str) -> Scenario:
        return _named(self.scenarios, name, "scenario")

    def segmentation_learner(self, name: str) -> SegmentationLearner:
        return _named(self.segmentation.learners, name, "learner of segmentation")

    def segmentation_sizes(self, name: str) -> list[int]:
        """How many classes each step of a learner brings."""
        steps = self.segmentation.steps[self.segmentation_learner(name).steps]
        return steps.sizes(self.segmentation.data[steps.data].classes)

    def report(self, name: str) -> Report:
        return _named(self.reports, name, "report")


def _named(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise UserError(f"params.yaml has no {what} {name!r}; {did_you_mean(name, known)}")
    return known[name]


def load(path: Path = PARAMS_FILE) -> Settings:
    """Read and check params.yaml and the files it includes.

    Raises:
        UserError: a file is missing, is not YAML, or says something that does not fit; each fault is
            listed with its file.
    """
    written = Written(path)
    try:
        return settings(written.values, str(path))
    except UserError as error:
        told = f"{path}: "
        faults = [line.removeprefix(told) for line in str(error).split("\n")]
        raise UserError("\n".join(f"{written.file_of(fault.split(': ')[0])}: {fault}" for fault in faults)) from None


def settings(written: dict[str, Any], source: str = "params.yaml") -> Settings:
    """Check params that are already read; `source` names them in messages."""
    params = validated(Params, written, source, "")
    faults: list[str] = []
    for name in params.datasets:
        if name in CLASSES_OF_BUILT_IN:
            faults.append(f"datasets.{name}: this name is a built-in data set's; choose another")
    for name, scenario in params.scenarios.items():
        known = {*CLASSES_OF_BUILT_IN, *params.datasets}
        if scenario.dataset not in known:
            hint = did_you_mean(scenario.dataset, known)
            faults.append(f"scenarios.{name}.dataset: {scenario.dataset!r} is unknown; {hint}")
    faults += params.skill.faults({*CLASSES_OF_BUILT_IN, *params.datasets}) + baseline_faults(params.skill)
    faults += params.segmentation.faults(params.training)
    experiments: dict[str, Experiment] = {}
    for name, entry in params.experiments.items():
        try:
            experiments[name] = _resolved(name, entry, params, source)
        except UserError as error:
            faults.append(str(error).removeprefix(f"{source}: "))
    for name in experiments:
        faults += _joint_faults(experiments[name], params)
    for name, entry in params.experiments.items():
        if entry.branch is not None and name in experiments:
            try:
                experiments[name] = _branched(experiments[name], entry.branch, experiments, params, source)
            except UserError as error:
                faults.append(str(error).removeprefix(f"{source}: "))
    reports: dict[str, Report] = {}
    for section, entries in params.reports.items():
        for name, report in entries.items():
            try:
                reports[f"{section}/{name}"] = resolved_report(f"{section}/{name}", report, params, experiments, source)
            except UserError as error:
                faults.append(str(error).removeprefix(f"{source}: "))
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
    candidates = {c.name: c for experiment in experiments.values() for c in _candidates(experiment)}
    datasets = params.datasets | {name: Folder(**folder) for name, folder in params.skill.folders().items()}
    return Settings(
        datasets=datasets,
        scenarios=params.scenarios,
        experiments=experiments,
        candidates=candidates,
        skill=params.skill,
        segmentation=params.segmentation,
        training=params.training,
        reports=reports,
        tracking_uri=params.tracking_uri,
    )


def _branched(
    experiment: Experiment, branch: Branch, known: dict[str, Experiment], params: Params, source: str
) -> Experiment:
    """The experiment behind another one of the same kind, which may itself not be a branch."""
    where = f"{source}: experiments.{experiment.name}.branch"
    if branch.experiment not in known:
        raise UserError(f"{where}.experiment: {branch.experiment!r} is unknown; {did_you_mean(branch.experiment, known)}")
    trunk = known[branch.experiment]
    for what in ("scenario_name", "method_name", "heads", "network", "dropout_at_test"):
        ours, theirs = getattr(experiment, what), getattr(trunk, what)
        if ours != theirs:
            raise UserError(f"{where}: {trunk.name!r} has {what.removesuffix('_name')} {theirs!r}; expected {ours!r}")
    if params.experiments[trunk.name].branch is not None or trunk.grid is not None or experiment.method.joint:
        raise UserError(f"{where}: {trunk.name!r} is itself a branch, has a grid or learns all tasks at once; name another")
    if branch.task >= experiment.scenario.tasks:
        raise UserError(f"{where}.task: found {branch.task}; the last task is {experiment.scenario.tasks - 1}")
    absent = [seed for seed in experiment.seeds if seed not in trunk.seeds]
    if absent:
        raise UserError(f"{where}: {trunk.name!r} lacks seeds {absent}; give it those seeds")
    return replace(experiment, trunk=trunk, branch_task=branch.task)


def _candidates(experiment: Experiment) -> list[Experiment]:
    """An experiment for each point of the grid, in the order written, with the grid's seeds."""
    if experiment.grid is None:
        return []
    written = experiment.options.model_dump(exclude_unset=True)
    seeds = _seeds(experiment.grid.seeds)
    return [
        replace(experiment.with_options(written | point), name=name, seeds=seeds, joint=None, may_diverge=True)
        for name, point in zip(experiment.candidates, _points(experiment.grid), strict=True)
    ]


def _points(grid: Grid) -> list[dict[str, Any]]:
    """Every combination of the grid's options."""
    return [dict(zip(grid.options, values, strict=True)) for values in product(*grid.options.values())]


def _resolved(name: str, entry: ExperimentEntry, params: Params, source: str) -> Experiment:
    where = f"experiments.{name}"
    for key, known in (("scenario", params.scenarios), ("network", params.networks), ("training", params.training)):
        value = getattr(entry, key)
        if value not in known:
            raise UserError(f"{source}: {where}.{key}: {value!r} is unknown; {did_you_mean(value, known)}")
    if entry.method not in METHODS:
        raise UserError(f"{source}: {where}.method: {entry.method!r} is unknown; {did_you_mean(entry.method, METHODS)}")
    method = METHODS[entry.method]
    heads = entry.heads or method.heads[0]
    if heads not in method.heads:
        raise UserError(
            f"{source}: {where}.heads: {heads!r} does not fit method {entry.method!r}; {did_you_mean(heads, method.heads)}"
        )
    network = params.networks[entry.network]
    if method.networks and network.kind not in method.networks:
        raise UserError(
            f"{source}: {where}.network: {entry.network!r} is of kind {network.kind!r}; method {entry.method!r} works with "
            f"{', '.join(method.networks)}"
        )
    seeds = _seeds(entry.seeds)
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UserError(f"{source}: {where}.seeds: found {list(seeds)}; expected a count, or seeds that differ")
    scenario = params.scenarios[entry.scenario]
    points: list[dict[str, Any]] = [{}]
    if entry.grid is not None:
        both = [key for key in entry.grid.options if key in entry.options]
        if both:
            raise UserError(f"{source}: {where}.grid.options: {both[0]!r} is also in 'options'; keep one of the two")
        if "pruning" in entry.grid.options:
            raise UserError(f"{source}: {where}.grid.options: 'pruning' decides which stages there are; it cannot be chosen")
        points = _points(entry.grid)
    prefix = f"{where}.options."
    options = [validated(method.options, {**entry.options, **point}, source, prefix) for point in points]
    return Experiment(
        name=name,
        scenario_name=entry.scenario,
        scenario=scenario,
        dataset=params.datasets.get(scenario.dataset),
        network=network,
        heads=heads,
        training=params.training[entry.training],
        method_name=entry.method,
        options=options[0],
        seeds=seeds,
        joint=entry.joint,
        may_diverge=entry.may_diverge,
        dropout_at_test=entry.dropout_at_test,
        grid=entry.grid,
        candidates=tuple(f"{name}_grid-{i}" for i in range(len(points))) if entry.grid else (),
    )


def _seeds(written: int | list[int]) -> tuple[int, ...]:
    return tuple(range(written)) if isinstance(written, int) else tuple(written)


def _joint_faults(experiment: Experiment, params: Params) -> list[str]:
    """`joint` must name a joint learner of the same scenario that has every seed of this experiment."""
    if experiment.joint is None:
        return []
    where = f"experiments.{experiment.name}.joint"
    other = params.experiments.get(experiment.joint)
    if other is None:
        return [f"{where}: {experiment.joint!r} is unknown; {did_you_mean(experiment.joint, params.experiments)}"]
    if other.method not in METHODS or not METHODS[other.method].joint:
        return [f"{where}: {experiment.joint!r} has method {other.method!r}; expected a joint learner"]
    if other.scenario != experiment.scenario_name:
        return [f"{where}: {experiment.joint!r} learns {other.scenario!r}; expected {experiment.scenario_name!r}"]
    absent = [seed for seed in experiment.seeds if seed not in _seeds(other.seeds)]
    return [f"{where}: {experiment.joint!r} lacks seeds {absent}; give it those seeds"] if absent else []


__all__ = ["Experiment", "Report", "Settings", "load", "settings"]
