"""Whole runs on random images, in the working directory."""

from __future__ import annotations

import numpy as np
from support.jobs import run_job

from lifelong.data import sequences
from lifelong.params import Experiment
from lifelong.pipeline.graph import stages_of
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors, write_tensors

SPLIT = {
    "dataset": "digits",
    "kind": "split",
    "tasks": 3,
    "classes_per_task": 2,
    "class_order_seed": 3,
    "validation": {"fraction": 0.3},
}


def made(experiment: Experiment) -> dict[str, np.ndarray]:
    """Random images of six classes, cut and learnt in the working directory; returns the arrays of images and tasks."""
    random = np.random.default_rng(0)
    images = {
        f"{part}_images": random.integers(0, 256, (n, 1, 2, 3), dtype=np.uint8) for part, n in (("train", 120), ("test", 90))
    }
    labels = {f"{part}_labels": random.permutation(np.arange(n) % 6) for part, n in (("train", 120), ("test", 90))}
    info = {"content": "c" * 64, "class_names": list("abcdef")}
    write_tensors(paths.images("digits"), "images", images | labels, info)
    sequences.build(experiment.sequence, {"digits": paths.images("digits")}, paths.tasks("three"))
    for seed in experiment.seeds:
        for task in experiment.tasks:
            for stage in stages_of(experiment, task):
                run_job(experiment, seed, task, stage)
    return images | labels | read_tensors(paths.tasks("three"), "tasks")[0]
