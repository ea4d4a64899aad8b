"""The network of an experiment before it has learnt anything."""

from __future__ import annotations

from lifelong.config import Experiment
from lifelong.networks.mlp import Mlp, build, head_sizes
from lifelong.randomness import generator


def new_network(experiment: Experiment, inputs: int, tasks: int, classes_per_task: int, seed: int) -> Mlp:
    """A fresh network: its weights depend on the seed and its own shape, not on the method."""
    sizes = head_sizes(experiment.heads, tasks, classes_per_task)
    return build(experiment.network, inputs, sizes, generator(seed, "network"))
