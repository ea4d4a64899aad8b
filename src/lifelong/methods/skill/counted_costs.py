"""What the packets that a collective really made cost: bytes from their tensors, MACs from its backbone."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong.methods.skill.costs import Learner, Parallel, Prices, Size, packet_bytes, parallel
from lifelong.networks.backbones.load import load_backbone
from lifelong.networks.backbones.macs import forward_macs
from lifelong.params.skill import Collective, Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info, read_result
from lifelong.runtime.places import RAW, search_directories


@dataclass(frozen=True)
class CountedCost:
    """What a variant of a collective of ours costs."""

    variant: str
    real: int  # bytes of all packets
    counted: float  # bytes by the formula
    teacher: float  # multiply-accumulates of all teachers
    two: float  # efficiency of two agents
    many: float  # efficiency of an agent for each task


def counted_costs(skill: Skill, name: str, epochs: int) -> list[CountedCost]:
    """One for each variant, by seed 0's packets: every agent holds as many bytes."""
    collective = skill.collective(name)
    entries = skill.tasks(collective.sequence)
    sequence = skill.sequences[collective.sequence]
    infos = [read_info(paths.taught(name, 0, task), "skill-taught") for task in range(len(entries))]
    feature = read_info(paths.features(collective.backbone, sequence.tier, entries[0].dataset, "train"), "features")
    tasks = [Size(len(info["class_names"]), info["images"]) for info in infos]
    forward = forward_macs_of(skill, collective)
    held = read_result(paths.bank(name, 0, collective.agents[0], 0))["variants"]
    result = []
    for label, variant in collective.variants.items():
        mapper, head = collective.mappers[variant.mapper], collective.heads[variant.head]
        learner = Learner(head.kind != "linear", mapper.kind)
        prices = Prices(
            forward=forward,
            features=feature["width"],
            channels=feature["channels"],
            pixels=0,
            epochs=epochs,
            clusters=mapper.components if mapper.kind == "gmmc" else 25,
            samples=mapper.samples if mapper.kind == "mahalanobis" else 5,
            mac_per_byte=skill.mac_per_byte,
        )
        real = sum(held[label]["bytes"].values())
        counted = sum(packet_bytes(task, learner, prices) for task in tasks)
        many: Parallel = parallel(tasks, learner, prices, len(tasks))
        two = parallel(tasks, learner, prices, min(2, len(tasks)))
        teacher = many.teacher * len(tasks)
        result.append(CountedCost(label, real, counted, teacher, two.efficiency, many.efficiency))
    return result


def forward_macs_of(skill: Skill, collective: Collective) -> float:
    """Multiply-accumulates of the collective's backbone for one image."""
    backbone = skill.backbones[collective.backbone]
    return forward_macs(load_backbone(collective.backbone, backbone, RAW, search_directories()), backbone.image_size)
