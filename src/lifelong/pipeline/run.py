"""Runs one stage of a method, for one seed or several: from files of the task and the stage before to a file of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lifelong.params.experiment import Experiment
from lifelong.pipeline.choose import apply_choice, find_chosen
from lifelong.pipeline.graph import DIVERGED, earlier_state, input_state, source_files
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.stages import stage_fingerprint
from lifelong.pipeline.states import read_state, write_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import (
    admit_result,
    read_info,
    read_record,
    read_tensors,
    write_tensors,
    write_text,
)
from lifelong.runtime.device import describe_device
from lifelong.runtime.errors import Diverged, UserError
from lifelong.runtime.provenance import library_versions, note_device, reading_aside
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
    note_device(describe_device())
    made_of = [_describe_work(chosen, seeds, seed, task, stage) for seed in seeds]
    outputs = [paths.state(chosen.name, seed, task, stage) for seed in seeds]
    info = {"together": list(seeds)} if len(seeds) > 1 else {}
    tried = [path for path in (_find_tried(experiment, work) for work in made_of) if path]
    if len(tried) == len(seeds):
        for path, output in zip(tried, outputs, strict=True):
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
            checkpoints=Checkpoints.of(paths.checkpoints(chosen.name, seed, task, stage), work),
            others=len(seeds) - 1,
        )
        for seed, work in zip(seeds, made_of, strict=True)
    ]
    work = [partial(_outcome, experiment, job, state) for job, state in zip(jobs, states, strict=True)]
    shared = Checkpoints.of(paths.checkpoints(chosen.name, *seeds, task, stage, "together"), made_of)
    outcomes = train_together(jobs, work, shared) if len(jobs) > 1 else [work[0]()]
    for output, outcome, job in zip(outputs, outcomes, jobs, strict=True):
        if chosen.method.stage(stage).trains:
            write_text(paths.curve(output), "".join(json.dumps(row, sort_keys=True) + "\n" for row in job.curve))
        write_state(output, outcome, info)
        job.checkpoints.remove()
    shared.remove()
    return outputs


def _describe_work(experiment: Experiment, seeds: Sequence[int], seed: int, task: int, stage: str) -> dict[str, Any]:
    """All that decides what a stage makes: two that agree in it make the same."""
    states = [of(experiment, seed, task, stage) for of in (input_state, earlier_state)]
    learnt = range(experiment.count) if experiment.method.joint else [task]
    read = [paths.tasks(experiment.sequence_name), *source_files(experiment, learnt, ["train"]), *filter(None, states)]
    return {
        "seed": seed,
        "task": task,
        "stage": stage,
        "together": list(seeds) if len(seeds) > 1 else None,
        "fingerprint": stage_fingerprint(experiment, stage),
        "contents": [admit_result(path) for path in read],
        "versions": library_versions(),
        "device": describe_device(),
    }


def _find_tried(asked: Experiment, work: Mapping[str, Any]) -> Path | None:
    """What the chosen candidate of a grid has left of the same computation; none where it was not one, or diverged."""
    name = find_chosen(asked)
    if name is None:
        return None
    path = paths.state(name, work["seed"], work["task"], work["stage"])
    if not path.exists():
        return None
    record = read_record(path)
    made = record["made"]
    same = (
        made.get("fingerprint") == work["fingerprint"]
        and made["versions"] == work["versions"]
        and made.get("device") == work["device"]
        and set(made.get("from", {}).values()) >= set(work["contents"])
    )
    with reading_aside():
        info = read_info(path, "state")
    return path if same and info.get("together") == work["together"] and info["groups"] != [DIVERGED] else None


def _adopt(path: Path, output: Path, info: dict[str, Any], trains: bool) -> None:
    """The state and the curve at `path` as the stage would have written them."""
    if trains:
        write_text(paths.curve(output), paths.curve(path).read_text())
    with reading_aside():  # its sources are those that would have been read here
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
