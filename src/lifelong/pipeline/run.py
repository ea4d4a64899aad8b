"""Runs one stage of a method, for one seed or several: from files of the task and the stage before to a file of its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from lifelong.params.experiment import Experiment
from lifelong.pipeline.choose import apply_choice, find_chosen
from lifelong.pipeline.graph import DIVERGED, earlier_state, input_state
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.stages import stage_fingerprint
from lifelong.pipeline.states import read_state, write_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import (
    file_digest,
    json_digest,
    read_info,
    read_tensors,
    write_tensors,
    write_text,
)
from lifelong.runtime.device import describe_device
from lifelong.runtime.errors import Diverged, UserError
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import Job, State
from lifelong.training.seed_batching import train_together


def run_stage(experiment: Experiment, seed: int, task: int, stage: str) -> Path:
    """`run_seeds` for one seed; returns the state's path."""
    return run_seeds(experiment, [seed], task, stage)[0]


def run_seeds(experiment: Experiment, seeds: Sequence[int], task: int, stage: str) -> list[Path]:
    """Run one stage and write each seed's state and curve; returns the states' paths.

    Several seeds train together where they can (`lifelong.training.seed_batching`). What the chosen candidate of a grid has
    computed already is taken from it. Where training diverges of an experiment
    that may (a candidate of a grid, which then is not chosen, or one that says so), the state says so instead of holding a
    network, and so do those made of it.

    Raises:
        UserError: a seed or the stage is not the experiment's, or an input is missing or of another kind. Nothing has
            started then.
    """
    for seed in seeds:
        if seed not in experiment.seeds:
            raise UserError(f"{experiment.name}: has seeds {list(experiment.seeds)}; found seed {seed}")
    chosen = apply_choice(experiment)
    inputs = Inputs(chosen)
    classes = inputs.classes
    infos = [_info(chosen, seeds, seed, task, stage) for seed in seeds]
    outputs = [paths.state(chosen.name, seed, task, stage) for seed in seeds]
    tried = [path for path in (_tried(experiment, info) for info in infos) if path]
    if len(tried) == len(seeds):
        for path, output, info in zip(tried, outputs, infos, strict=True):
            _adopt(path, output, info, chosen.method.stage(stage).trains)
        return outputs
    states = [_read(input_state(chosen, seed, task, stage)) for seed in seeds]
    data = [inputs.task(t) for t in (range(chosen.count) if chosen.method.joint else [task])]
    jobs = [
        Job(
            experiment=chosen,
            seed=seed,
            stage=stage,
            data=data,
            classes=classes,
            image_shape=inputs.image_shape,
            earlier=_read(earlier_state(chosen, seed, task, stage)),
            checkpoints=Checkpoints(paths.CHECKPOINTS / json_digest(info)),
            others=len(seeds) - 1,
        )
        for seed, info in zip(seeds, infos, strict=True)
    ]
    work = [partial(_outcome, experiment, job, state) for job, state in zip(jobs, states, strict=True)]
    shared = Checkpoints(paths.CHECKPOINTS / json_digest(infos))
    outcomes = train_together(jobs, work, shared) if len(jobs) > 1 else [work[0]()]
    for output, outcome, job, info in zip(outputs, outcomes, jobs, infos, strict=True):
        if chosen.method.stage(stage).trains:
            write_text(paths.curve(output), "".join(json.dumps(row, sort_keys=True) + "\n" for row in job.curve))
        write_state(output, outcome, info)
        job.checkpoints.remove()
    shared.remove()
    return outputs


def _info(experiment: Experiment, seeds: Sequence[int], seed: int, task: int, stage: str) -> dict[str, Any]:
    """What a state says of how it was made."""
    source, earlier = (of(experiment, seed, task, stage) for of in (input_state, earlier_state))
    info = {
        "experiment": experiment.name,
        "seed": seed,
        "task": task,
        "stage": stage,
        "parameters": json_digest(experiment.parameters()),
        "fingerprint": stage_fingerprint(experiment, stage),
        "tasks": file_digest(paths.tasks(experiment.sequence_name)),
        "from": file_digest(source) if source and source.is_file() else None,
        "versions": versions(),
    }
    if earlier is not None and earlier.is_file():
        info["adds-to"] = file_digest(earlier)
    if len(seeds) > 1:
        info["together"] = list(seeds)
    return info


def _tried(asked: Experiment, info: Mapping[str, Any]) -> Path | None:
    """What the chosen candidate of a grid has left of the same computation; none where it was not one, or diverged."""
    name = find_chosen(asked)
    if name is None:
        return None
    path = paths.state(name, info["seed"], info["task"], info["stage"])
    if not path.exists():
        return None
    result = read_info(path, "state")
    keys = {*info, "together"} - {"experiment", "from", "adds-to"}  # names, and digests of files with names in them
    same = all(result.get(key) == info.get(key) for key in keys)
    return path if same and result["groups"] != [DIVERGED] else None


def _adopt(path: Path, output: Path, info: dict[str, Any], trains: bool) -> None:
    """The state and the curve at `path` as the stage would have written them."""
    if trains:
        write_text(paths.curve(output), paths.curve(path).read_text())
    arrays, result = read_tensors(path, "state")
    write_tensors(output, "state", arrays, {**info, "groups": result["groups"]})


def _outcome(asked: Experiment, job: Job, state: State | None) -> State:
    """What the stage makes of the state before it, or that it diverged; `asked` is the experiment before its choice."""
    if state is not None and DIVERGED in state:
        return state
    try:
        outcome: State = job.experiment.method.stage(job.stage).function(job, job.experiment.options, state)
        return outcome
    except Diverged as error:
        if asked.grid is not None and not asked.may_diverge:
            more = f"experiments.{asked.name}.grid.seeds: what diverges with one of them is not chosen"
            raise Diverged(f"{error}, or let more seeds choose, {more}") from None
        if not asked.may_diverge:
            raise
        return {DIVERGED: {}}


def _read(path: Path | None) -> State | None:
    return read_state(path) if path else None


def versions() -> dict[str, str]:
    """What the bytes of a result depend on beside parameters and code."""
    device = describe_device()
    results = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return results | ({"device": device} if device else {})
