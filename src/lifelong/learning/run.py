"""Runs one stage of a method: from the files of its task and of the stage before to its own file."""

from __future__ import annotations

import gc
import importlib
import json
import platform
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
from lifelong.choice import with_choice
from lifelong.config import Experiment
from lifelong.config.methods import STAGES
from lifelong.data.tensors import load_task
from lifelong.device import description, placed
from lifelong.errors import Diverged, UserError
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.job import Job, State
from lifelong.memory import keep_freed_memory
from lifelong.stages import DIVERGED, earlier_state, input_state, stage_fingerprint


def run_stage(experiment: Experiment, seed: int, task: int, stage: str, threads: int = 1) -> Path:
    """Run one stage and write its state and its curve; returns the state's path.

    Where training diverges of an experiment that may (a candidate of a grid, which then is not chosen, or one that says
    so), the state says so instead of holding a network, and so do those made of it.

    Raises:
        UserError: the seed or stage is not the experiment's, or an input is missing or of another kind. Nothing has
            started then.
    """
    if seed not in experiment.seeds:
        raise UserError(f"{experiment.name}: has seeds {list(experiment.seeds)}; found seed {seed}")
    asked, experiment = experiment, with_choice(experiment)
    images, tasks = layout.images(experiment.scenario.dataset), layout.tasks(experiment.scenario_name)
    source = input_state(experiment, seed, task, stage)
    earlier = earlier_state(experiment, seed, task, stage)
    output = layout.state(experiment.name, seed, task, stage)
    shape = read_info(tasks, "tasks")
    info = {
        "experiment": experiment.name,
        "seed": seed,
        "task": task,
        "stage": stage,
        "parameters": json_digest(experiment.parameters()),
        "fingerprint": stage_fingerprint(experiment),
        "tasks": file_digest(tasks),
        "from": file_digest(source) if source and source.is_file() else None,
        "versions": versions(),
    }
    if earlier is not None and earlier.is_file():
        info["adds-to"] = file_digest(earlier)
    state = read_state(source) if source else None
    gc.freeze()
    gc.enable()
    keep_freed_memory()
    torch.set_num_threads(threads)
    job = Job(
        experiment=experiment,
        seed=seed,
        stage=stage,
        data=[load_task(images, tasks, t) for t in (range(shape["tasks"]) if experiment.method.joint else [task])],
        tasks=shape["tasks"],
        classes_per_task=shape["classes_per_task"],
        image_shape=tuple(shape["image_shape"]),
        earlier=read_state(earlier) if earlier else None,
        checkpoints=Checkpoints(layout.CHECKPOINTS / json_digest(info)),
    )
    if state is not None and DIVERGED in state:
        outcome = state
    else:
        try:
            outcome = getattr(importlib.import_module(experiment.method.module), stage)(job, state)
        except Diverged as error:
            if asked.grid is not None and not asked.may_diverge:
                more = f"experiments.{asked.name}.grid.seeds: what diverges with one of them is not chosen"
                raise Diverged(f"{error}, or let more seeds choose, {more}") from None
            if not experiment.may_diverge:
                raise
            outcome = {DIVERGED: {}}
    if STAGES[stage].trains:
        write_text(layout.curve(output), "".join(json.dumps(row, sort_keys=True) + "\n" for row in job.curve))
    write_state(output, outcome, info)
    job.checkpoints.remove()
    return output


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
