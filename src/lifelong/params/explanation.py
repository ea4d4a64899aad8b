"""One experiment in full, as YAML: what it is made of, and every value that holds, given or by default."""

from __future__ import annotations

from typing import Any

import yaml

from lifelong.params.experiment import Experiment
from lifelong.params.inheritance import LIKE, SWEEP, Step
from lifelong.params.settings import Settings


def explain_experiment(settings: Settings, name: str) -> str:
    """YAML, with the entries that the experiment comes from as comments above it.

    Raises:
        UserError: there is no such experiment, or it is swept and has variants instead.
    """
    experiment = settings.experiment(name)
    written = next((own for own in settings.experiments.values() if name in own.candidates), experiment)
    origin = settings.origins[written.name]
    head = [_describe_step(step, settings, number) for number, step in enumerate(origin.steps)]
    if written is not experiment:
        head.insert(0, f"candidate {written.candidates.index(name)} of the grid of {written.name}")
    entry = origin.entry
    values: dict[str, Any] = experiment.parameters()
    for part in ("sequence", "network", "training"):
        values[part] = {"name": entry[part], **values[part]}
    values |= {"seeds": list(experiment.seeds), "joint": experiment.joint, "may_diverge": experiment.may_diverge}
    if "trunk" in values:
        values["trunk"] = {"name": experiment.trunk.name if experiment.trunk else None, **values["trunk"]}
    if experiment.grid is not None:
        values["options"] |= dict.fromkeys(experiment.grid.options, "chosen from the grid")
        values["candidates"] = {one: _chosen(settings.experiment(one), experiment) for one in experiment.candidates}
    text = yaml.dump({name: values}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return "".join(f"# {line}\n" for line in head) + text


def _describe_step(step: Step, settings: Settings, number: int) -> str:
    swept = "".join(f", {SWEEP} {key} = {label}" for key, label in step.labels.items())
    return f"{f'{LIKE} ' if number else ''}{step.name}{swept} ({settings.place_of(f'experiments.{step.name}')})"


def _chosen(candidate: Experiment, experiment: Experiment) -> dict[str, Any]:
    """The options in which candidates of one grid differ."""
    assert experiment.grid is not None
    options = candidate.options.model_dump()
    return {key: options[key] for key in experiment.grid.options}


class _Dumper(yaml.SafeDumper):
    """Lists of plain values in one line; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    plain = not any(isinstance(item, list | dict) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=plain)


_Dumper.add_representer(list, _represent_list)
