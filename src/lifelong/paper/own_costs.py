"""What the packets that a collective really made cost: bytes from their tensors, MACs from its backbone."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong import layout
from lifelong.artifacts import read_info, read_json
from lifelong.backbones.load import load_backbone
from lifelong.backbones.macs import forward_macs
from lifelong.config.skill import Collective, Skill
from lifelong.data.catalog import search_directories
from lifelong.methods.skill.costs import Learner, Parallel, Prices, Size, packet_bytes, parallel


@dataclass(frozen=True)
class OwnCost:
    """What a variant of a collective of ours costs."""

    variant: str
    real: int  # bytes of all packets
    counted: float  # bytes by the formula
    teacher: float  # multiply-accumulates of all teachers
    two: float  # efficiency of two agents
    many: float  # efficiency of an agent for each task


def own_costs(skill: Skill, name: str, epochs: int) -> list[OwnCost]:
    """One for each variant, by seed 0's packets: every agent holds as many bytes."""
    collective = skill.collective(name)
    entries = skill.tasks(collective.sequence)
    sequence = skill.sequences[collective.sequence]
    infos = [read_info(layout.taught(name, 0, task), "skill-taught") for task in range(len(entries))]
    feature = read_info(layout.features(collective.backbone, sequence.tier, entries[0].dataset, "train"), "features")
    tasks = [Size(len(info["class_names"]), info["images"]) for info in infos]
    forward = own_forward_macs(skill, collective)
    held = read_json(layout.bank(name, 0, collective.agents[0], 0))["variants"]
    found = []
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
        found.append(OwnCost(label, real, counted, teacher, two.efficiency, many.efficiency))
    return found


def own_forward_macs(skill: Skill, collective: Collective) -> float:
    """Multiply-accumulates of the collective's backbone for one image."""
    backbone = skill.backbones[collective.backbone]
    return forward_macs(load_backbone(collective.backbone, backbone, layout.RAW, search_directories()), backbone.image_size)
