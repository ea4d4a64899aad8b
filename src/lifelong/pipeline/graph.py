"""The graph of stages: which state each starts from, and what its outcome depends on.

Snakemake and the command line ask here, so both know one graph. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lifelong.params import Experiment
from lifelong.params.skill import Collective, Skill
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError

DIVERGED = "diverged"
"""The only group of a state without a network: what a stage leaves that diverged where that is a result."""


def stages_of(experiment: Experiment, task: int) -> tuple[str, ...]:
    """The names of the stages of one task, in order."""
    return tuple(stage.name for stage in experiment.stages(task))


def final_state(experiment: Experiment, seed: int, task: int) -> Path:
    """The file that holds what a task leaves; in a branch, that of the trunk before it."""
    if experiment.trunk is not None and task < experiment.branch_task:
        return final_state(experiment.trunk, seed, task)
    return paths.state(experiment.name, seed, task, stages_of(experiment, task)[-1])


def input_state(experiment: Experiment, seed: int, task: int, stage: str) -> Path | None:
    """The state a stage starts from: that of the stage before, or of the task before; none at the very start."""
    before = stages_of(experiment, task)
    if stage not in before or task not in experiment.tasks or task < experiment.branch_task:
        raise UserError(
            f"{experiment.name} has no stage {stage!r} of task {task}; its tasks are {list(experiment.tasks)} and the "
            f"stages of this one {', '.join(before) if task in experiment.tasks else '(none)'}"
        )
    position = before.index(stage)
    if position:
        return paths.state(experiment.name, seed, task, before[position - 1])
    return final_state(experiment, seed, task - 1) if task - 1 in experiment.tasks else None


def earlier_state(experiment: Experiment, seed: int, task: int, stage: str) -> Path | None:
    """What a stage that adds to its own outcome left for the task before; none for other stages and the first task."""
    adds = stage in experiment.method.adding and task - 1 in experiment.tasks
    return paths.state(experiment.name, seed, task - 1, stage) if adds else None


def biased_heads(collective: Collective) -> list[str]:
    """The heads of a collective that learn biases too, each in a job of its own a task."""
    return [label for label, head in collective.heads.items() if head.kind == "beneficial-biases"]


def splits_taught(skill: Skill, name: str) -> list[str]:
    """The features that teaching reads: the training ones, and the test ones where an option says so."""
    leaks = any(h.kind == "linear" and h.selection == "test" for h in skill.collective(name).heads.values())
    return ["train", "test"] if leaks else ["train"]


def source_file(experiment: Experiment, task: int, split: str) -> Path:
    """The images that a task's split is of, or their features."""
    dataset = experiment.datasets[task]
    if experiment.features_of is None:
        return paths.images(dataset)
    return paths.features(experiment.features_of, experiment.tier_name, dataset, split)


def source_files(experiment: Experiment, tasks: Iterable[int], splits: Iterable[str]) -> list[Path]:
    """Each file once that the splits of these tasks are of."""
    return list(dict.fromkeys(source_file(experiment, task, split) for task in tasks for split in splits))
