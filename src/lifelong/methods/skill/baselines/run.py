"""A collective's tasks, one after the other, by one network, and what it answers after each.

The network is a perceptron on the frozen features, or the backbone itself learns.

The same training, validation and test images as SKILL's agents have, another way of learning. `told[i][j]`: accuracy on
task j after task i when the task is told (its classes are the only answers); `free[i][j]`: when it is not, and the
answer is one of all classes of tasks 0..i. Where tasks share the outputs, nothing can be answered untold.
"""

from __future__ import annotations

import gc
import importlib
import math
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from lifelong import layout
from lifelong.artifacts import json_digest, read_info, write_json
from lifelong.config import Experiment
from lifelong.config.networks import MlpNetwork
from lifelong.config.schema import Scenario, Training, Validation
from lifelong.config.sections import Section
from lifelong.config.skill import Collective, Skill, TrainedBackbone
from lifelong.config.skill_baselines import Baselines
from lifelong.config.skill_methods import Learner, learner
from lifelong.errors import Diverged, UserError, did_you_mean
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.evaluation import logits
from lifelong.learning.job import Job, State
from lifelong.memory import keep_freed_memory
from lifelong.methods.skill.baselines.data import Course, course, features_of, pictures_of
from lifelong.methods.skill.packing import task_of
from lifelong.methods.skill.selection import task_features, task_images
from lifelong.networks.base import Network

Rows = list[list[float]]


def baseline(skill: Skill, name: str, seed: int, label: str, threads: int = 1) -> None:
    """Choose the options where there is a grid, learn all tasks, and write the accuracies.

    Raises:
        UserError: there is no such baseline or seed, or the features are missing.
    """
    collective, _ = task_of(skill, name, seed, 0)
    wanted = collective.baselines
    known = wanted.learners if wanted else {}
    if wanted is None or label not in known:
        raise UserError(f"skill.collectives.{name}.baselines has no {label!r}; {did_you_mean(label, known)}")
    gc.enable()
    keep_freed_memory()
    torch.set_num_threads(threads)
    chosen = learner(known[label], f"skill.collectives.{name}.baselines.learners.{label}")
    sequence = skill.sequences[collective.sequence]
    entries = skill.tasks(collective.sequence)
    tasks, contents = _course(skill, collective, wanted)
    key = [wanted.model_dump(), label, contents, [e.model_dump() for e in entries], seed, sequence.validation]
    checkpoints = Checkpoints(layout.CHECKPOINTS / json_digest(key))
    network = _settings(skill, collective, wanted)
    experiments = [experiment(f"{name} {label}", wanted, chosen, options, tasks, network) for options in chosen.candidates]
    best, compared = 0, []
    if len(experiments) > 1:
        compared = [
            tuned(one, chosen, seed, tasks, wanted.tuning_tasks, Checkpoints(checkpoints.folder / str(number)))
            for number, one in enumerate(experiments)
        ]
        values = [-1.0 if value is None else value for value in compared]
        best = values.index(max(values))
    told, free = run(experiments[best], chosen, seed, tasks, checkpoints)
    found = {
        "tasks": [entry.name for entry in entries],
        "told": told,
        "free": free,
        "heads": chosen.heads,
        "options": chosen.candidates[best].model_dump(),
        "candidates": [
            {"options": options.model_dump(), "validation": value}
            for options, value in zip(chosen.candidates, compared, strict=False)
        ],
    }
    write_json(layout.baseline(name, seed, label), found)
    checkpoints.remove()


def _course(skill: Skill, collective: Collective, wanted: Baselines) -> tuple[Course, list[str]]:
    """The tasks, and digests of the files that they are from."""
    sequence = skill.sequences[collective.sequence]
    entries, splits = skill.tasks(collective.sequence), ("train", "test")
    cut = sequence.validation, sequence.validation_seed
    if wanted.network == "backbone":
        backbone, tier = skill.backbones[collective.backbone], skill.tiers[sequence.tier]
        train, test = ([task_images(layout.images(e.dataset), e, split, tier) for e in entries] for split in splits)
        contents = [read_info(layout.images(e.dataset), "images")["content"] for e in entries]
        return course(train, test, *cut, partial(pictures_of, settings=backbone)), contents
    files = [[layout.features(collective.backbone, sequence.tier, e.dataset, split) for e in entries] for split in splits]
    train, test = ([task_features(path, e) for path, e in zip(part, entries, strict=True)] for part in files)
    return course(train, test, *cut, features_of), [read_info(path, "features")["sha256"] for part in files for path in part]


def _settings(skill: Skill, collective: Collective, wanted: Baselines) -> MlpNetwork | TrainedBackbone:
    if wanted.network == "backbone":
        return TrainedBackbone(name=collective.backbone, backbone=skill.backbones[collective.backbone])
    return MlpNetwork(kind="mlp", hidden=wanted.hidden, initialisation="uniform-fan-in")


def experiment(
    name: str,
    settings: Baselines,
    chosen: Learner,
    options: Section,
    tasks: Course,
    network: MlpNetwork | TrainedBackbone,
) -> Experiment:
    """What the learning loop wants to know: the network, the budget, the options."""
    count = len(tasks.tasks)
    return Experiment(
        name=name,
        scenario_name="",
        scenario=Scenario(
            dataset="features",
            kind="split",
            tasks=count,
            classes_per_task=tasks.outputs,
            validation=Validation(fraction=0.5),  # not asked: the course has its own
        ),
        dataset=None,
        network=network,
        heads=chosen.heads,
        training=Training(
            optimiser="adam",
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
        ),
        method_name=chosen.method_name,
        options=options,
        seeds=(),
        joint=None,
    )


def tuned(
    experiment: Experiment, chosen: Learner, seed: int, tasks: Course, count: int, checkpoints: Checkpoints
) -> float | None:
    """Mean validation accuracy over the first tasks after the last of them, each task told; none where it diverged."""
    first = tasks.tasks[:count]
    judged = Course(first, tuple(task.validation for task in first), tasks.classes)
    try:
        told, _ = run(experiment, chosen, seed, judged, checkpoints)
    except Diverged:
        return None
    return sum(told[-1]) / len(told[-1])


def run(
    experiment: Experiment, chosen: Learner, seed: int, tasks: Course, checkpoints: Checkpoints
) -> tuple[Rows, Rows | None]:
    """`told` and `free` on the course's tests, a row after each task; a joint learner has one row."""
    module = importlib.import_module(chosen.method.module)
    count = len(tasks.tasks)
    told: Rows = []
    free: Rows = []
    state: State | None = None
    start = 0
    if (kept := checkpoints.load("course")) is not None:
        state, start, told, free = _grouped(kept[0]), kept[1]["learnt"], kept[1]["told"], kept[1]["free"]
    for task in [count - 1] if chosen.method.joint else range(start, count):
        data = tasks.tasks if chosen.method.joint else [tasks.tasks[task]]
        for stage in chosen.method.stages:
            job = Job(
                experiment,
                seed,
                stage,
                data,
                experiment.scenario.tasks,
                tasks.outputs,
                tasks.shape,
                Checkpoints(checkpoints.folder / f"{task}-{stage}", checkpoints.seconds),
            )
            state = getattr(module, stage)(job, state)
        assert state is not None
        networks = _networks(module, job, state, task + 1)
        answers = [accuracies(one, tasks, experiment.heads, j, task) for j, one in enumerate(networks)]
        told.append([one for one, _ in answers])
        free.append([two for _, two in answers if two is not None])
        if checkpoints.due():
            flat = {f"{group}:{name}": tensor for group, named in state.items() for name, tensor in named.items()}
            checkpoints.save("course", flat, {"learnt": task + 1, "told": told, "free": free})
    return told, free if free[-1] else None


@torch.no_grad()
def accuracies(network: Network, tasks: Course, heads: str, j: int, last: int) -> tuple[float, float | None]:
    """Accuracy on task j's tests when it is told, and when it may be any of tasks 0..last."""
    test, outputs = tasks.tests[j], tasks.outputs
    found = logits(network, test)
    own = found if heads == "shared" else found[:, j * outputs : (j + 1) * outputs]
    told = _share(own[:, : tasks.classes[j]].argmax(1) == test.targets)
    if heads == "shared":
        return told, None
    real = torch.arange(outputs) < torch.tensor(tasks.classes[: last + 1])[:, None]
    every = found[:, : (last + 1) * outputs].masked_fill(~real.flatten(), -math.inf)
    return told, _share(every.argmax(1) == test.targets + j * outputs)


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _networks(module: Any, job: Job, state: State, tasks: int) -> Iterator[Network]:
    """The network that answers for each task when it is told: one for all, unless the method has its own for each."""
    if hasattr(module, "network_of"):
        return (module.network_of(job, state, task) for task in range(tasks))
    return repeat(job.network(state), tasks)


def _grouped(tensors: dict[str, Tensor]) -> State:
    state: State = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition(":")
        state.setdefault(group, {})[name] = tensor
    return state
