"""From what was taught of a task to the packets its agent sends, one for each variant."""

from __future__ import annotations

from lifelong.methods.skill.packet import Packet, write_packet
from lifelong.params.sequences import TaskEntry
from lifelong.params.skill import BiasHead, Collective, Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError


def pack(skill: Skill, name: str, seed: int, task: int) -> None:
    """The packets of one task, one for each variant, from what was taught."""
    collective, _ = task_of(skill, name, seed, task)
    arrays, info = read_tensors(paths.taught(name, seed, task), "skill-taught")
    for label, variant in collective.variants.items():
        head, mapper = collective.heads[variant.head], collective.mappers[variant.mapper]
        prefix = f"head/{variant.head}/"
        result = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
        if isinstance(head, BiasHead):
            result, _ = read_tensors(paths.biased(name, seed, task, variant.head), "skill-biased")
        tensors = {"head.weight": result["weight"], "head.bias": result["bias"]}
        if "biases" in result:
            tensors["biases"] = result["biases"]
        prefix = f"anchor/{variant.mapper}/"
        tensors |= {f"anchor.{k.removeprefix(prefix)}": v for k, v in arrays.items() if k.startswith(prefix)}
        packet = Packet(
            task=info["task"],
            class_names=tuple(info["class_names"]),
            variant=label,
            backbone=info["backbone"],
            mapper=mapper.kind,
            images=info["images"],
            tensors=tensors,
        )
        write_packet(paths.packet(name, seed, task, label), packet)


def task_of(skill: Skill, name: str, seed: int, task: int) -> tuple[Collective, TaskEntry]:
    collective = skill.collective(name)
    tasks = skill.tasks(collective.sequence)
    if not 0 <= task < len(tasks) or not 0 <= seed < collective.seeds:
        raise UserError(
            f"{name}: found seed {seed} and task {task}; it has seeds 0 to {collective.seeds - 1} and tasks 0 to "
            f"{len(tasks) - 1}"
        )
    return collective, tasks[task]
