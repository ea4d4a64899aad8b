"""params.yaml -> frozen, validated objects; whatever does not fit is refused by name before any work starts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from lifelong.config.methods import METHODS, Method
from lifelong.config.schema import (
    CLASSES_OF_BUILT_IN,
    PARAMS_FILE,
    Comparison,
    ExperimentEntry,
    Folder,
    Heads,
    Network,
    Params,
    Scenario,
    Section,
    Training,
)
from lifelong.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Experiment:
    """Scenario x network x method x hyper-parameters x seeds, every name resolved."""

    name: str
    scenario_name: str
    scenario: Scenario
    dataset: Folder | None  # none: a built-in data set
    network: Network
    heads: Heads
    training: Training
    method_name: str
    options: Section
    seeds: tuple[int, ...]
    joint: str | None

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
        return {
            "scenario": self.scenario.model_dump(),
            "dataset": self.dataset.model_dump() if self.dataset else self.scenario.dataset,
            "network": self.network.model_dump(),
            "heads": self.heads,
            "training": self.training.model_dump(),
            "method": self.method_name,
            "options": self.options.model_dump(),
        }


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked."""

    datasets: dict[str, Folder]
    scenarios: dict[str, Scenario]
    experiments: dict[str, Experiment]
    comparisons: dict[str, Comparison]  # by "<section>/<name>" of the reports
    tracking_uri: str

    def sections(self) -> dict[str, list[str]]:
        """The comparisons of each section of the reports, by full name."""
        found: dict[str, list[str]] = {}
        for name in self.comparisons:
            found.setdefault(name.partition("/")[0], []).append(name)
        return found

    def tracked_at(self) -> str:
        """Where MLflow's runs go: MLFLOW_TRACKING_URI, else the `tracking_uri` of params.yaml."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.tracking_uri

    def experiment(self, name: str) -> Experiment:
        return _named(self.experiments, name, "experiment")

    def scenario(self, name: str) -> Scenario:
        return _named(self.scenarios, name, "scenario")

    def comparison(self, name: str) -> Comparison:
        return _named(self.comparisons, name, "comparison")


def _named(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise UserError(f"params.yaml has no {what} {name!r}; {did_you_mean(name, known)}")
    return known[name]


def load(path: Path = PARAMS_FILE) -> Settings:
    """Read and check params.yaml.

    Raises:
        UserError: the file is missing, is not YAML, or says something that does not fit; all faults are listed.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run this in the project's folder, or give --params") from None
    try:
        written = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path}: found {type(written).__name__}; expected the sections {', '.join(Params.model_fields)}")
    return settings(written, str(path))


def settings(written: dict[str, Any], source: str = "params.yaml") -> Settings:
    """Check params that are already read; `source` names them in messages."""
    params = _validated(Params, written, source, "")
    faults: list[str] = []
    for name in params.datasets:
        if name in CLASSES_OF_BUILT_IN:
            faults.append(f"datasets.{name}: this name is a built-in data set's; choose another")
    for name, scenario in params.scenarios.items():
        known = {*CLASSES_OF_BUILT_IN, *params.datasets}
        if scenario.dataset not in known:
            hint = did_you_mean(scenario.dataset, known)
            faults.append(f"scenarios.{name}.dataset: {scenario.dataset!r} is unknown; {hint}")
    experiments: dict[str, Experiment] = {}
    for name, entry in params.experiments.items():
        try:
            experiments[name] = _resolved(name, entry, params, source)
        except UserError as error:
            faults.append(str(error).removeprefix(f"{source}: "))
    for name in experiments:
        faults += _joint_faults(experiments[name], params)
    comparisons = {f"{part}/{name}": c for part, named in params.reports.items() for name, c in named.items()}
    for name, comparison in comparisons.items():
        for label, experiment in comparison.experiments.items():
            if experiment not in params.experiments:
                where = f"reports.{name.replace('/', '.')}.experiments.{label}"
                faults.append(f"{where}: {experiment!r} is unknown; {did_you_mean(experiment, params.experiments)}")
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
    return Settings(params.datasets, params.scenarios, experiments, comparisons, params.tracking_uri)


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
    seeds = list(range(entry.seeds)) if isinstance(entry.seeds, int) else entry.seeds
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UserError(f"{source}: {where}.seeds: found {seeds}; expected a count, or seeds that differ")
    scenario = params.scenarios[entry.scenario]
    return Experiment(
        name=name,
        scenario_name=entry.scenario,
        scenario=scenario,
        dataset=params.datasets.get(scenario.dataset),
        network=params.networks[entry.network],
        heads=heads,
        training=params.training[entry.training],
        method_name=entry.method,
        options=_validated(method.options, entry.options, source, f"{where}.options."),
        seeds=tuple(seeds),
        joint=entry.joint,
    )


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
    seeds = range(other.seeds) if isinstance(other.seeds, int) else other.seeds
    absent = [seed for seed in experiment.seeds if seed not in seeds]
    return [f"{where}: {experiment.joint!r} lacks seeds {absent}; give it those seeds"] if absent else []


def _validated(model: type[Any], value: Any, source: str, prefix: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError("\n".join(f"{source}: {_explained(fault, model, prefix)}" for fault in error.errors())) from None


def _explained(fault: Any, model: type[BaseModel], prefix: str) -> str:
    """One fault in our words: key, what is wrong, value found, allowed values and the nearest match."""
    location = fault["loc"]
    key = prefix + ".".join(str(part) for part in location)
    found = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            known = _fields_at(model, location[:-1])
            return f"{key}: unknown key; {did_you_mean(str(location[-1]), known)}"
        case "missing":
            return f"{key}: this key is missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
            return f"{key}: found {found!r}; {did_you_mean(str(found), allowed)}"
        case "value_error":
            return f"{key.rstrip('.')}: {fault['ctx']['error']}"
        case _:
            return f"{key}: found {found!r} ({type(found).__name__}); {fault['msg'].lower()}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that the section at `location` may have."""
    fields = {name: field.annotation for name, field in model.model_fields.items()}
    for part in location:
        inner = fields.get(part)
        nested = _models_in(inner)
        if nested:
            fields = {name: field.annotation for name, field in nested[0].model_fields.items()}
    return list(fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen and key != "<<":
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} is given twice (again in line {line}); keep one")
            seen[key] = True
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)

__all__ = ["Comparison", "Experiment", "Settings", "load", "settings"]
