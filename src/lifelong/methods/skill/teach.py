"""What an agent does for one of its tasks: train the heads and fit the anchors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.data.selection import TaskData, task_features, task_images, validation_split
from lifelong.methods.skill.gmmc import fit_clusters
from lifelong.methods.skill.heads import Head, biased_logits, train_biased, train_linear
from lifelong.methods.skill.mahalanobis import draw_samples
from lifelong.methods.skill.packing import task_of
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.load import backbone_fingerprint, load_backbone
from lifelong.params.sequences import TaskEntry
from lifelong.params.skill import BiasHead, Collective, Gmmc, LinearHead, Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info, read_tensors, write_result, write_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import derived_seed
from lifelong.training.checkpoints import Checkpoints

Places = tuple[Path, Sequence[Path]]


def teach(skill: Skill, name: str, seed: int, task: int) -> None:
    """Linear heads and anchors of one task, from the features of its training images alone.

    Raises:
        UserError: there is no such task or seed, or the features are missing.
    """
    collective, entry = task_of(skill, name, seed, task)
    data = task_features(_features(skill, collective, entry, "train"), entry)
    train, validation = _splits(skill, collective, data)
    arrays: dict[str, np.ndarray] = {}
    info: dict[str, Any] = {"heads": {}, "anchors": {}}
    seconds: dict[str, float] = {}
    for label, head in collective.heads.items():
        if not isinstance(head, LinearHead):
            continue
        judged = validation
        if head.selection == "test":
            judged = task_features(_features(skill, collective, entry, "test"), entry)
        start = time.perf_counter()
        trained = train_linear(train, judged, head, derived_seed(seed, label), entry.name)
        seconds[f"head/{label}"] = time.perf_counter() - start
        arrays |= {f"head/{label}/{key}": tensor.cpu().numpy() for key, tensor in trained.parameters.items()}
        info["heads"][label] = _about(trained)
    for label, mapper in collective.mappers.items():
        start = time.perf_counter()
        chance = derived_seed(seed, entry.name, "anchor")
        if isinstance(mapper, Gmmc):
            clusters, converged = fit_clusters(data.rows, mapper.components, mapper.covariance_floor, chance)
            parts, about = asdict(clusters), {"converged": converged}
            del parts["images"]
        else:
            parts, about = asdict(draw_samples(data.rows, data.labels, mapper.samples, chance)), {}
        seconds[f"anchor/{label}"] = time.perf_counter() - start
        arrays |= {f"anchor/{label}/{key}": value for key, value in parts.items()}
        info["anchors"][label] = about
    about_data = {"class_names": list(data.names), "backbone": data.backbone, "images": len(data)}
    write_tensors(paths.taught(name, seed, task), "skill-taught", arrays, {**info, **about_data, "task": entry.name})
    write_result(paths.taught_times(name, seed, task), {"images": len(data), "seconds": seconds})


def teach_biased(skill: Skill, name: str, seed: int, task: int, label: str, places: Places) -> None:
    """A head with beneficial biases of one task, from its training images, through the frozen backbone."""
    collective, entry = task_of(skill, name, seed, task)
    head = collective.heads.get(label)
    if not isinstance(head, BiasHead):
        raise UserError(f"skill.collectives.{name}.heads: {label!r} is no head with beneficial biases")
    settings = skill.backbones[collective.backbone]
    tier = skill.tiers[skill.sequences[collective.sequence].tier]
    images = task_images(paths.images(entry.dataset), entry, "train", tier)
    train, judged = _splits(skill, collective, images)
    if head.selection == "test":
        judged = task_images(paths.images(entry.dataset), entry, "test", tier)
    network = load_backbone(collective.backbone, settings, *places)
    width = read_info(_features(skill, collective, entry, "train"), "features")["width"]
    key = [
        head.model_dump(),
        backbone_fingerprint(settings, network),
        tier.model_dump(),
        entry.model_dump(),
        seed,
        skill.sequences[collective.sequence].validation,
    ]
    checkpoints = Checkpoints.of(paths.checkpoints(name, seed, task, label), key)
    start = time.perf_counter()
    biased = BiasedBackbone(network, settings.image_size, head.layout)
    trained = train_biased(biased, settings, train, judged, head, derived_seed(seed, label), entry.name, width, checkpoints)
    write_tensors(
        paths.biased(name, seed, task, label),
        "skill-biased",
        {key: tensor.cpu().numpy() for key, tensor in trained.parameters.items()},
        {**_about(trained), "task": entry.name},
    )
    spent = {"images": len(train), "epochs": len(trained.curve), "seconds": time.perf_counter() - start}
    write_result(paths.biased_times(name, seed, task, label), spent)
    checkpoints.remove()


def judge_biased(skill: Skill, name: str, seed: int, label: str, places: Places) -> None:
    """What the heads with beneficial biases answer for the test images of their own tasks."""
    collective, _ = task_of(skill, name, seed, 0)
    settings, head = skill.backbones[collective.backbone], collective.heads[label]
    assert isinstance(head, BiasHead)
    tier = skill.tiers[skill.sequences[collective.sequence].tier]
    biased = BiasedBackbone(load_backbone(collective.backbone, settings, *places), settings.image_size, head.layout)
    for task, entry in enumerate(skill.tasks(collective.sequence)):
        images = task_images(paths.images(entry.dataset), entry, "test", tier)
        result, _ = read_tensors(paths.biased(name, seed, task, label), "skill-biased")
        logits = biased_logits(biased, settings, {key: to_device(a) for key, a in result.items()}, images.rows)
        arrays = {"predictions": logits.argmax(1), "labels": images.labels}
        write_tensors(paths.biased_predictions(name, seed, task, label), "skill-judged", arrays, {"task": entry.name})


def _features(skill: Skill, collective: Collective, entry: TaskEntry, split: str) -> Path:
    tier = skill.sequences[collective.sequence].tier
    return paths.features(collective.backbone, tier, entry.dataset, split)


def _splits(skill: Skill, collective: Collective, data: TaskData) -> tuple[TaskData, TaskData]:
    sequence = skill.sequences[collective.sequence]
    train, validation = validation_split(data.labels, sequence.validation, sequence.validation_seed)
    return data.at(train), data.at(validation)


def _about(head: Head) -> dict[str, Any]:
    return {"score": head.score, "epoch": head.epoch, "curve": head.curve}
