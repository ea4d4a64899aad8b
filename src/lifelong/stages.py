"""The graph of stages: which state each starts from, and what its outcome depends on.

Snakemake and the command line ask here, so both know one graph. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifelong import layout
from lifelong.artifacts import file_digest
from lifelong.config import Experiment, Report, Scenario, Settings
from lifelong.config.networks import Network
from lifelong.config.reports import sources
from lifelong.config.skill import Collective, Skill, TrainedBackbone
from lifelong.config.skill_methods import learner
from lifelong.errors import UserError
from lifelong.fingerprint import fingerprint

DIVERGED = "diverged"
"""The only group of a state without a network: what a stage leaves that diverged where that is a result."""


def stages_of(experiment: Experiment, task: int) -> tuple[str, ...]:
    """The stages of one task, in order."""
    skipped = experiment.method.skipped(experiment.options, task == 0, task == experiment.scenario.tasks - 1)
    return tuple(stage for stage in experiment.method.stages if stage not in skipped)


def final_state(experiment: Experiment, seed: int, task: int) -> Path:
    """The file that holds what a task leaves; in a branch, that of the trunk before it."""
    if experiment.trunk is not None and task < experiment.branch_task:
        return final_state(experiment.trunk, seed, task)
    return layout.state(experiment.name, seed, task, stages_of(experiment, task)[-1])


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
        return layout.state(experiment.name, seed, task, before[position - 1])
    return final_state(experiment, seed, task - 1) if task - 1 in experiment.tasks else None


def earlier_state(experiment: Experiment, seed: int, task: int, stage: str) -> Path | None:
    """What a stage that adds to its own outcome left for the task before; none for other stages and the first task."""
    adds = stage in experiment.method.adding and task - 1 in experiment.tasks
    return layout.state(experiment.name, seed, task - 1, stage) if adds else None


def stage_fingerprint(experiment: Experiment) -> str:
    """What the outcome of a method's stages depends on."""
    return fingerprint(
        experiment.parameters(), ["lifelong.learning.run", experiment.method.module, network_module(experiment.network)]
    )


def network_module(network: Network | TrainedBackbone) -> str:
    """The module that builds networks of this kind."""
    return f"lifelong.networks.{network.kind.replace('-', '_')}"


def scores_fingerprint(experiment: Experiment) -> str:
    parts = {key: experiment.parameters()[key] for key in ("scenario", "dataset", "network", "heads", "dropout_at_test")}
    return fingerprint(parts, ["lifelong.learning.scores", network_module(experiment.network)])


def segmentation_final(settings: Settings, learner: str, seed: int, step: int) -> Path:
    """The file that holds what a step of segmentation leaves."""
    last = settings.segmentation_learner(learner).stages(step, len(settings.segmentation_sizes(learner)))[-1]
    return layout.segmentation_state(learner, seed, step, last)


def segmentation_input(settings: Settings, learner: str, seed: int, step: int, stage: str) -> Path | None:
    """The state a stage of segmentation starts from; none at the very start."""
    before = settings.segmentation_learner(learner).stages(step, len(settings.segmentation_sizes(learner)))
    position = before.index(stage)
    if position:
        return layout.segmentation_state(learner, seed, step, before[position - 1])
    return segmentation_final(settings, learner, seed, step - 1) if step else None


def segmentation_earlier(settings: Settings, learner: str, seed: int, step: int, stage: str) -> Path | None:
    """What `project` left for the step before, to add to."""
    return layout.segmentation_state(learner, seed, step - 1, stage) if stage == "project" and step else None


def segmentation_images_fingerprint(settings: Settings, data: str) -> str:
    return fingerprint({"data": settings.segmentation.data[data].model_dump()}, ["lifelong.data.segmentation"])


def segmentation_fingerprint(settings: Settings, learner: str) -> str:
    """What the stages of a learner and its scores depend on; the list of seeds is not in it."""
    wanted = settings.segmentation_learner(learner)
    steps = settings.segmentation.steps[wanted.steps]
    parts = {
        "learner": wanted.model_dump(exclude={"seeds"}),
        "training": settings.training[wanted.training].model_dump(),
        "steps": steps.model_dump(),
        "data": settings.segmentation.data[steps.data].model_dump(),
    }
    return fingerprint(parts, ["lifelong.methods.segmentation.run"])


def choice_fingerprint(experiment: Experiment) -> str:
    return fingerprint({"grid": experiment.parameters()["grid"]}, ["lifelong.choice"])


def images_fingerprint(settings: Settings, dataset: str) -> str:
    folder = settings.datasets.get(dataset)
    return fingerprint({"dataset": folder.model_dump() if folder else dataset}, ["lifelong.data.catalog"])


def tasks_fingerprint(scenario: Scenario) -> str:
    return fingerprint(scenario.model_dump(), ["lifelong.data.scenarios"])


def summary_fingerprint(experiment: Experiment) -> str:
    listed = {"seeds": list(experiment.seeds), "joint": experiment.joint}
    return fingerprint({**experiment.parameters(), **listed}, ["lifelong.summary"])


def tracking_fingerprint() -> str:
    return fingerprint({}, ["lifelong.tracking"])


def collective_tracking_fingerprint(skill: Skill, name: str) -> str:
    wanted = skill.collective(name)
    return fingerprint({"collective": wanted.model_dump(), **_collective_parts(skill, name)}, ["lifelong.tracking_skill"])


def report_fingerprint(report: Report) -> str:
    digests = {path.name: file_digest(path) for path in sources(report.options)}
    roots = [report.kind.module] + ([network_module(report.network)] if report.network else [])
    return fingerprint({**report.parameters(), "sources": digests}, roots)


def biased_heads(collective: Collective) -> list[str]:
    """The heads of a collective that learn biases too, each in a job of its own a task."""
    return [label for label, head in collective.heads.items() if head.kind == "beneficial-biases"]


def splits_taught(skill: Skill, name: str) -> list[str]:
    """The features that teaching reads: the training ones, and the test ones where an option says so."""
    leaks = any(h.kind == "linear" and h.selection == "test" for h in skill.collective(name).heads.values())
    return ["train", "test"] if leaks else ["train"]


def features_fingerprint(settings: Settings, backbone: str, tier: str) -> str:
    chosen = settings.skill.backbones[backbone].model_dump(), settings.skill.tiers[tier].model_dump()
    return fingerprint({"backbone": chosen[0], "tier": chosen[1]}, ["lifelong.methods.skill.features"])


def teaching_fingerprint(skill: Skill, name: str) -> str:
    parts = _collective_parts(skill, name)
    parts["heads"] = {label: head for label, head in parts["heads"].items() if head["kind"] == "linear"}
    modules = ["gmmc", "heads", "mahalanobis", "selection"]  # not `teach`, which holds the other stages too
    return fingerprint(parts, [f"lifelong.methods.skill.{module}" for module in modules])


def biased_fingerprint(skill: Skill, name: str, head: str) -> str:
    parts = _collective_parts(skill, name)
    own = {key: parts[key] for key in ("sequence", "tier", "backbone")} | {"head": parts["heads"][head]}
    return fingerprint(own, ["lifelong.methods.skill.heads", "lifelong.backbones.load"])


def head2toe_fingerprint(skill: Skill, name: str) -> str:
    wanted = skill.collective(name).head2toe
    assert wanted is not None
    parts = _collective_parts(skill, name)
    own = {key: parts[key] for key in ("sequence", "tier", "backbone")}
    own |= {"head": parts["heads"][wanted.head], "head2toe": wanted.model_dump(exclude={"mapper"})}
    return fingerprint(own, ["lifelong.methods.skill.head2toe"])


def packing_fingerprint(collective: Collective) -> str:
    return fingerprint(collective.model_dump(include={"heads", "mappers", "variants"}), ["lifelong.methods.skill.packing"])


def receiving_fingerprint(skill: Skill, name: str) -> str:
    return fingerprint(_collective_parts(skill, name), ["lifelong.methods.skill.share"])


def routing_fingerprint(skill: Skill, name: str) -> str:
    return fingerprint(_collective_parts(skill, name), ["lifelong.methods.skill.evaluate"])


def reuse_fingerprint(skill: Skill, name: str) -> str:
    wanted = skill.collective(name).reuse
    parts = _collective_parts(skill, name) | {"reuse": wanted.model_dump() if wanted else None}
    return fingerprint(parts, ["lifelong.methods.skill.reuse"])


def baseline_fingerprint(skill: Skill, name: str, label: str) -> str:
    wanted = skill.collective(name).baselines
    assert wanted is not None
    entry = wanted.learners[label]
    parts = _collective_parts(skill, name)
    own = {key: parts[key] for key in ("sequence", "tier", "backbone")}
    own |= {"budget": wanted.model_dump(exclude={"learners"}), "learner": entry.model_dump()}
    method = learner(entry, label).method
    network = "backbone" if wanted.network == "backbone" else "mlp"
    return fingerprint(own, ["lifelong.methods.skill.baselines.run", f"lifelong.networks.{network}", method.module])


def _collective_parts(skill: Skill, name: str) -> dict[str, Any]:
    """All that decides a collective's results, but for the numbers of seeds and agents."""
    collective = skill.collective(name)
    sequence = skill.sequences[collective.sequence]
    return collective.model_dump(include={"heads", "mappers", "variants"}) | {
        "sequence": sequence.model_dump(),
        "tier": skill.tiers[sequence.tier].model_dump(),
        "backbone": skill.backbones[collective.backbone].model_dump(),
    }
