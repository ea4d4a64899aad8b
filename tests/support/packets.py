"""A tiny collective for tests: random features in place of a backbone's, two classes a task."""

from __future__ import annotations

import numpy as np

from lifelong.methods.skill.packet import Packet

BACKBONE = "f" * 64
FEATURES = 6
CHANNELS = 9


def tiny_packet(task: str, mapper: str = "gmmc", *, seed: int = 0, biases: bool = False, classes: int = 2) -> Packet:
    """Random tensors of the right shapes."""
    random = np.random.default_rng([seed, *task.encode()])

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    tensors = {"head.weight": normal(classes, FEATURES), "head.bias": normal(classes)}
    if biases:
        tensors["biases"] = normal(CHANNELS)
    if mapper == "gmmc":
        tensors |= {"anchor.means": normal(3, FEATURES), "anchor.variances": np.exp(normal(3, FEATURES))}
        tensors["anchor.weights"] = np.array([0.5, 0.3, 0.2], np.float32)
    else:
        tensors |= {"anchor.means": normal(classes, FEATURES), "anchor.samples": normal(4 * classes, FEATURES)}
        tensors["anchor.owners"] = np.repeat(np.arange(classes), 4)
    names = tuple(f"{task} {label}" for label in range(classes))
    return Packet(task, names, "LLL", BACKBONE, mapper, 20, tensors)
