"""Task and class of any image by the bank of a collective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lifelong.data.pictures import read_picture
from lifelong.methods.skill.bank import Router, head_logits
from lifelong.methods.skill.heads import biased_logits
from lifelong.methods.skill.packing import task_of
from lifelong.methods.skill.share import open_bank
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import backbone_fingerprint, load_backbone
from lifelong.params.datasets import USUAL_LIMITS, Limits
from lifelong.params.skill import BiasHead, Skill
from lifelong.runtime.errors import UserError


@dataclass(frozen=True)
class Answer:
    """What the bank takes an image for."""

    image: Path
    task: str
    label: str
    confidence: float  # share of 1 that the task's head gives the class


def predict(
    skill: Skill,
    name: str,
    variant: str,
    seed: int,
    images: Sequence[Path],
    places: tuple[Path, Sequence[Path]],
    limits: Limits = USUAL_LIMITS,
) -> list[Answer]:
    """Route each image to a task, then ask that task's head.

    Raises:
        UserError: an image cannot be read, or the packets are of another backbone than the one at hand.
    """
    collective, _ = task_of(skill, name, seed, 0)
    entries = skill.tasks(collective.sequence)
    bank = open_bank(skill, name, seed, variant, list(range(len(entries))))
    pixels = [_read(path, limits) for path in images]
    if bank.refused:
        raise UserError(f"{name}: {bank.refused[0]}; `snakemake` makes the packet anew once it is deleted")
    settings = skill.backbones[collective.backbone]
    network = load_backbone(collective.backbone, settings, *places)
    if backbone_fingerprint(settings, network) != bank.backbone:
        raise UserError(f"{name}: the packets are of another backbone than {collective.backbone!r} is now; make them anew")
    packets = [bank.packets[entry.name] for entry in entries]
    parts = collective.variants[variant]
    router = Router(packets, collective.mappers[parts.mapper])
    head = collective.heads[parts.head]
    biased = BiasedBackbone(network, settings.image_size, head.layout) if isinstance(head, BiasHead) else None
    answers = []
    for path, image in zip(images, pixels, strict=True):
        with torch.inference_mode():
            features = network(prepare_images(torch.from_numpy(image), settings)).numpy()
        packet = packets[int(router.scores(features).argmax())]
        if biased is None:
            logits = head_logits(packet, features)
        else:
            keys = {"weight": "head.weight", "bias": "head.bias", "biases": "biases"}
            learnt = {key: torch.from_numpy(packet.tensors[name]) for key, name in keys.items()}
            logits = biased_logits(biased, settings, learnt, image)
        shares = np.exp(logits[0] - logits[0].max())
        shares /= shares.sum()
        best = int(shares.argmax())
        answers.append(Answer(path, packet.task, packet.class_names[best], float(shares[best])))
    return answers


def _read(path: Path, limits: Limits) -> np.ndarray:
    """uint8 [1, 3, h, w]."""
    try:
        return np.array(read_picture(path, "RGB", limits)).transpose(2, 0, 1)[None].copy()
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except ValueError as error:
        raise UserError(f"{path}: not an image that can be read ({error})") from None
