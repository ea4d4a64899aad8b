"""The network of an experiment before it has learnt anything."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from lifelong.config import Experiment
from lifelong.networks.base import Network, head_sizes
from lifelong.randomness import generator
from lifelong.stages import network_module


def new_network(experiment: Experiment, image_shape: Sequence[int], tasks: int, classes_per_task: int, seed: int) -> Network:
    """A fresh network: its weights depend on the seed and its own shape, not on the method.

    `build` of the module of `lifelong.networks` that is named like the network's kind makes it.
    """
    kind = importlib.import_module(network_module(experiment))
    sizes = head_sizes(experiment.heads, tasks, classes_per_task)
    network: Network = kind.build(experiment.network, image_shape, sizes, generator(seed, "network"))
    return network
