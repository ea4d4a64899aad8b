"""An agent's mailbox: its own packets as it learns, those of the others as they come, all verified into one bank."""

from __future__ import annotations

from pathlib import Path

from lifelong.methods.skill.bank import Bank, collect
from lifelong.params.skill import Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import admit_result, read_info, write_result
from lifelong.runtime.errors import UserError


def tasks_of_agent(tasks: int, agents: int, agent: int) -> list[int]:
    """Task t is learnt by agent t modulo the number of agents."""
    return [task for task in range(tasks) if task % agents == agent]


def arrival(tasks: int, agents: int, agent: int) -> list[int]:
    """Own tasks first, then those of the other agents, round the circle: another order for every agent."""
    order = [(agent + step) % agents for step in range(agents)]
    return [task for one in order for task in tasks_of_agent(tasks, agents, one)]


def open_bank(skill: Skill, name: str, seed: int, variant: str, order: list[int]) -> Bank:
    """The bank that results when the packets of these tasks arrive in this order."""
    collective = skill.collective(name)
    if variant not in collective.variants:
        raise UserError(f"skill.collectives.{name} has no variant {variant!r}: {', '.join(collective.variants)}")
    own = skill.tasks(collective.sequence)[order[0]]
    features = paths.features(collective.backbone, skill.sequences[collective.sequence].tier, own.dataset, "train")
    known = read_info(features, "features")
    packets: list[Path] = [paths.packet(name, seed, task, variant) for task in order]
    for packet in packets:
        admit_result(packet)
    return collect(packets, known["backbone"], known["width"], known["channels"])


def receive(skill: Skill, name: str, seed: int, agents: int, agent: int) -> None:
    """Write what one of so many agents holds of each variant in the end: the digest of its bank and what it refused."""
    collective = skill.collective(name)
    count = len(skill.tasks(collective.sequence))
    if agents not in collective.agents or not 0 <= agent < agents:
        raise UserError(f"{name}: found agent {agent} of {agents}; skill.collectives.{name}.agents is {collective.agents}")
    order = arrival(count, agents, agent)
    held = {}
    for variant in collective.variants:
        bank = open_bank(skill, name, seed, variant, order)
        sizes = {task: sum(t.nbytes for t in packet.tensors.values()) for task, packet in sorted(bank.packets.items())}
        held[variant] = {"sha256": bank.digest, "refused": bank.refused, "bytes": sizes}
    write_result(paths.bank(name, seed, agents, agent), {"own": tasks_of_agent(count, agents, agent), "variants": held})
