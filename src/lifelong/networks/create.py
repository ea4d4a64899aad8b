"""The network of an experiment before it has learnt anything."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import Generator

from lifelong.config import Experiment
from lifelong.config.networks import Network as NetworkSettings
from lifelong.config.skill import TrainedBackbone
from lifelong.networks.base import Network, head_sizes
from lifelong.randomness import generator
from lifelong.stages import network_module


def new_network(experiment: Experiment, image_shape: Sequence[int], tasks: int, classes_per_task: int, seed: int) -> Network:
    """A fresh network: its weights depend on the seed and its own shape, not on the method."""
    sizes = head_sizes(experiment.heads, tasks, classes_per_task)
    return built(experiment.network, image_shape, sizes, generator(seed, "network"))


def built(
    settings: NetworkSettings | TrainedBackbone, image_shape: Sequence[int], head_sizes: Sequence[int], generator: Generator
) -> Network:
    """A network by its settings: `build` of the module of `lifelong.networks` that is named like its kind makes it.

    Its weights are drawn on the processor, so they are the same on every device.
    """
    module = importlib.import_module(network_module(settings))
    with torch.device("cpu"):
        network: Network = module.build(settings, image_shape, head_sizes, generator)
    return network.to(torch.get_default_device())
