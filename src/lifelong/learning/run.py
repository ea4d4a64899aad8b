"""Runs one stage of a method, for one seed or several: from files of the task and the stage before to a file of its own."""

from __future__ import annotations

import gc
import importlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from lifelong import layout
from lifelong.artifacts import (
    file_digest,
    json_digest,
    read_info,
    read_tensors,
    write_tensors,
    write_text,
)
from lifelong.choice import chosen_candidate, with_choice
from lifelong.config import Experiment
from lifelong.config.methods import STAGES
from lifelong.data.tensors import load_task
from lifelong.device import description, placed
from lifelong.errors import Diverged, UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.job import Job, State
from lifelong.learning.together import together
from lifelong.memory import keep_freed_memory
from lifelong.stages import DIVERGED, earlier_state, input_state, stage_fingerprint


def run_stage(experiment: Experiment, seed: int, task: int, stage: str, threads: int = 1) -> Path:
    """`run_seeds` for one seed; returns the state's path."""
    return run_seeds(experiment, [seed], task, stage, threads)[0]


def run_seeds(experiment: Experiment, seeds: Sequence[int], task: int, stage: str, threads: int = 1) -> list[Path]:
    """Run one stage and write each seed's state and curve; returns the states' paths.

    Several seeds train together where they can (`lifelong.learning.together`). What the chosen candidate of a grid has
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
    chosen = with_choice(experiment)
    images, tasks = layout.images(chosen.scenario.dataset), layout.tasks(chosen.scenario_name)
    shape = read_info(tasks, "tasks")
    infos = [_info(chosen, seeds, seed, task, stage) for seed in seeds]
    outputs = [layout.state(chosen.name, seed, task, stage) for seed in seeds]
    tried = [path for path in (_tried(experiment, info) for info in infos) if path]
    if len(tried) == len(seeds):
        for path, output, info in zip(tried, outputs, infos, strict=True):
            _adopt(path, output, info)
        return outputs
    states = [_read(input_state(chosen, seed, task, stage)) for seed in seeds]
    gc.freeze()
    gc.enable()
    keep_freed_memory()
    torch.set_num_threads(threads)
    data = [load_task(images, tasks, t) for t in (range(shape["tasks"]) if chosen.method.joint else [task])]
    jobs = [
        Job(
            experiment=chosen,
            seed=seed,
            stage=stage,
            data=data,
            tasks=shape["tasks"],
            classes_per_task=shape["classes_per_task"],
            image_shape=tuple(shape["image_shape"]),
            earlier=_read(earlier_state(chosen, seed, task, stage)),
            checkpoints=Checkpoints(layout.CHECKPOINTS / json_digest(info)),
            others=len(seeds) - 1,
        )
        for seed, info in zip(seeds, infos, strict=True)
    ]
    work = [partial(_outcome, experiment, job, state) for job, state in zip(jobs, states, strict=True)]
    shared = Checkpoints(layout.CHECKPOINTS / json_digest(infos))
    outcomes = together(jobs, work, shared) if len(jobs) > 1 else [work[0]()]
    for output, outcome, job, info in zip(outputs, outcomes, jobs, infos, strict=True):
        if STAGES[stage].trains:
            write_text(layout.curve(output), "".join(json.dumps(row, sort_keys=True) + "\n" for row in job.curve))
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
        "fingerprint": stage_fingerprint(experiment),
        "tasks": file_digest(layout.tasks(experiment.scenario_name)),
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
    name = chosen_candidate(asked)
    if name is None:
        return None
    path = layout.state(name, info["seed"], info["task"], info["stage"])
    if not path.exists():
        return None
    found = read_info(path, "state")
    keys = {*info, "together"} - {"experiment", "from", "adds-to"}  # names, and digests of files with names in them
    same = all(found.get(key) == info.get(key) for key in keys)
    return path if same and found["groups"] != [DIVERGED] else None


def _adopt(path: Path, output: Path, info: dict[str, Any]) -> None:
    """The state and the curve at `path` as the stage would have written them."""
    if STAGES[info["stage"]].trains:
        write_text(layout.curve(output), layout.curve(path).read_text())
    arrays, found = read_tensors(path, "state")
    write_tensors(output, "state", arrays, {**info, "groups": found["groups"]})


def _outcome(asked: Experiment, job: Job, state: State | None) -> State:
    """What the stage makes of the state before it, or that it diverged; `asked` is the experiment before its choice."""
    if state is not None and DIVERGED in state:
        return state
    try:
        return getattr(importlib.import_module(job.experiment.method.module), job.stage)(job, state)
    except Diverged as error:
        if asked.grid is not None and not asked.may_diverge:
            more = f"experiments.{asked.name}.grid.seeds: what diverges with one of them is not chosen"
            raise Diverged(f"{error}, or let more seeds choose, {more}") from None
        if not asked.may_diverge:
            raise
        return {DIVERGED: {}}


def _read(path: Path | None) -> State | None:
    return read_state(path) if path else None


def read_state(path: Path) -> State:
    """The groups of named tensors that a stage left."""
    arrays, info = read_tensors(path, "state")
    state: State = {group: {} for group in info["groups"]}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        state[group][name] = placed(array)
    return state


def write_state(path: Path, state: State, info: dict[str, Any]) -> None:
    """Groups travel as `group/name`; their names are in the header too, since an empty group has no tensor."""
    arrays = {f"{group}/{name}": tensor.cpu().numpy() for group, named in state.items() for name, tensor in named.items()}
    write_tensors(path, "state", arrays, {**info, "groups": sorted(state)})


def versions() -> dict[str, str]:
    """What the bytes of a result depend on beside parameters and code."""
    device = description()
    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return found | ({"device": device} if device else {})
