"""Features of a frozen backbone for the images of a data set: extracted once, in shards, and kept with a checksum."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lifelong.data.selection import choose_classes, choose_images
from lifelong.networks.backbones.fuse import fuse
from lifelong.networks.backbones.images import prepare_images
from lifelong.networks.backbones.load import backbone_fingerprint, load_backbone
from lifelong.params.backbones import Backbone
from lifelong.params.sequences import Tier
from lifelong.runtime.artifacts import read_tensors, write_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints

BATCH = 32
SHARD = 16 * BATCH  # images between two checkpoints
SPLITS = ("train", "test")


def extract(
    name: str,
    settings: Backbone,
    tier: Tier,
    images: Path,
    outputs: dict[str, Path],
    checkpoints: Path,
    places: tuple[Path, list[Path]],
) -> None:
    """Write one file of kind "features" for each split: features [n, d], labels and indices [n]; resumable by shard."""
    network = load_backbone(name, settings, *places)
    identity = backbone_fingerprint(settings, network)
    fast, scales = fuse(network, settings.image_size)
    channels = sum(map(len, scales.values()))
    for split in SPLITS:
        arrays, info = read_tensors(images, "images", [f"{split}_images", f"{split}_labels"])
        classes = choose_classes(len(info["class_names"]), tier)
        index = choose_images(arrays[f"{split}_labels"], classes, split, tier)
        key = {"backbone": identity, "content": info["content"], "tier": tier.model_dump(), "split": split}
        kept = Checkpoints.of(checkpoints / f"{name}.{info['dataset']}.{split}", key)
        features = _features(fast, settings, arrays[f"{split}_images"][index], kept, f"{info['dataset']} {split}")
        write_tensors(
            outputs[split],
            "features",
            {"features": features, "labels": arrays[f"{split}_labels"][index], "index": index},
            {
                "dataset": info["dataset"],
                "content": info["content"],
                "split": split,
                "class_names": info["class_names"],
                "classes": classes,
                "backbone": identity,
                "width": features.shape[1],
                "channels": channels,
                "sha256": hashlib.sha256(features.tobytes()).hexdigest(),
            },
        )
        kept.remove()


def pool_features(network: nn.Module, settings: Backbone, images: np.ndarray) -> np.ndarray:
    """Features [n, d] in the backbone's kept precision."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = to_device(np.ascontiguousarray(images[start : start + BATCH]))
            parts.append(network(prepare_images(batch, settings)).cpu().numpy())
    return np.concatenate(parts).astype(settings.features)


def _features(
    network: nn.Module, settings: Backbone, images: np.ndarray, checkpoints: Checkpoints, label: str
) -> np.ndarray:
    shards = range(0, len(images), SHARD)
    parts = []
    start = time.monotonic()
    with Progress(f"features of {label}", len(shards)) as progress:
        for number, first in enumerate(shards):
            kept = checkpoints.load(f"{number:05d}")
            if kept is None:
                part = pool_features(network, settings, images[first : first + SHARD])
                checkpoints.save(f"{number:05d}", {"features": torch.from_numpy(part)}, {})
            else:
                part = kept[0]["features"].cpu().numpy()
            parts.append(part)
            progress.step(f"{sum(map(len, parts)) / (time.monotonic() - start):.0f} images/s")
    return np.concatenate(parts)
