"""BB + Head2Toe (SKILL, Sec. 7.3): a head that also sees inner feature maps, those with the largest beneficial biases.

The share of all channels with the largest |B| is chosen (1 %); their maps, as the biased backbone computes them behind each
convolution and its folded normalisation, are averaged over a grid of cells so that there are about `width` numbers in all,
and stand beside the pooled features (reading S17). Nothing else learns than this one linear head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.selection import TaskData, task_images, validation_split
from lifelong.methods.skill.heads import linear, train_linear
from lifelong.methods.skill.packing import task_of
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import load_backbone
from lifelong.params.backbones import Backbone
from lifelong.params.skill import BiasHead, LinearHead, Skill
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors, write_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import derived_seed

BATCH = 32


class Taps:
    """A biased backbone whose chosen channels are read while it runs: images -> [n, features + channels * cells]."""

    def __init__(self, biased: BiasedBackbone, chosen: Tensor, width: int) -> None:
        self.biased = biased
        self.side = max(round(math.sqrt(width / len(chosen))), 1)  # cells a side
        self._found: list[Tensor] = []
        start = 0
        for name, size in biased.sizes.items():
            own = chosen[(chosen >= start) & (chosen < start + size)] - start
            if len(own):
                biased.network.get_submodule(name).register_forward_hook(self._reads(own))
            start += size

    def features(self, images: np.ndarray, settings: Backbone) -> np.ndarray:
        """float32 [n, d] of images uint8 [n, c, h, w]."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = prepare_images(torch.from_numpy(images[start : start + BATCH]), settings)
                pooled = self.biased(batch)
                parts.append(torch.cat([pooled, *self._found], 1).numpy())
                self._found.clear()
        return np.concatenate(parts)

    def _reads(self, own: Tensor) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._found.append(F.adaptive_avg_pool2d(output[:, own], self.side).flatten(1))

        return hook


def largest(biases: Tensor, share: float) -> Tensor:
    """Indices, ascending, of the round(share * channels) biases of the largest size; at least one."""
    count = max(round(share * len(biases)), 1)
    return biases.abs().topk(count).indices.sort().values


def head2toe(skill: Skill, name: str, seed: int, task: int, places: tuple[Path, Sequence[Path]]) -> None:
    """Train the head of one task on what the taps read, and write what it answers for the task's test images."""
    collective, entry = task_of(skill, name, seed, task)
    requested = collective.head2toe
    if requested is None:
        raise UserError(f"skill.collectives.{name}: has no 'head2toe', which says what to try")
    head = collective.heads[requested.head]
    assert isinstance(head, BiasHead)
    settings = skill.backbones[collective.backbone]
    sequence = skill.sequences[collective.sequence]
    tier = skill.tiers[sequence.tier]
    learnt, _ = read_tensors(paths.biased(name, seed, task, requested.head), "skill-biased")
    biases = torch.from_numpy(learnt["biases"])
    biased = BiasedBackbone(load_backbone(collective.backbone, settings, *places), settings.image_size, head.layout)
    biased.biases.data.copy_(biases)
    chosen = largest(biases, requested.share)
    taps = Taps(biased, chosen, requested.width)

    def seen(split: str) -> TaskData:
        images = task_images(paths.images(entry.dataset), entry, split, tier)
        return TaskData(taps.features(images.rows, settings), images.labels, images.names)

    data = seen("train")
    kept, held = validation_split(data.labels, sequence.validation, sequence.validation_seed)
    training = LinearHead(
        kind="linear",
        learning_rate=requested.learning_rate,
        batch_size=requested.batch_size,
        epochs=requested.epochs,
        patience=requested.patience,
    )
    trained = train_linear(data.at(kept), data.at(held), training, derived_seed(seed, "head2toe"), entry.name)
    test = seen("test")
    answers = linear(trained.parameters, torch.from_numpy(test.rows)).argmax(1).numpy()
    about = {"task": entry.name, "score": trained.score, "epoch": trained.epoch, "channels": len(chosen), "side": taps.side}
    arrays = {"predictions": answers, "labels": test.labels}
    write_tensors(paths.head2toe(name, seed, task), "skill-head2toe", arrays, about)
