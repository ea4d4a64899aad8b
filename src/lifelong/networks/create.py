"""The network of an experiment before it has learnt anything."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lifelong.data.classes import Classes
from lifelong.networks.base import Network, head_sizes
from lifelong.params.experiment import Experiment
from lifelong.params.networks import ResolvedNetwork, network_module
from lifelong.params.sequences import Dense
from lifelong.runtime.randomness import generator


def new_network(experiment: Experiment, image_shape: Sequence[int], classes: Classes, seed: int) -> Network:
    """A fresh network: its weights depend on the seed and its own shape, not on the method."""
    sizes = head_sizes(experiment.heads, classes)
    if isinstance(experiment.sequence, Dense):
        sizes[0] += 1  # the background's
    return build_network(experiment.network, image_shape, sizes, generator(seed, "network"))


State = dict[str, dict[str, Tensor]]
"""Named tensors in named groups: what the next stage needs and nothing more; `network` holds the weights."""


@dataclass
class Setup:
    """What a network of one seed of an experiment is made for."""

    experiment: Experiment
    seed: int
    classes: Classes
    image_shape: tuple[int, ...]

    def network(self, state: State | None) -> Network:
        """The network of a state, or a new one that depends on the seed alone."""
        network = new_network(self.experiment, self.image_shape, self.classes, self.seed)
        if state is not None:
            network.load_state_dict(state["network"])
        return network


def build_network(
    settings: ResolvedNetwork, image_shape: Sequence[int], head_sizes: Sequence[int], generator: Generator
) -> Network:
    """A network by its settings: `build` of the module of `lifelong.networks` that is named like its kind makes it.

    Its weights are drawn on the processor, so they are the same on every device.
    """
    module = importlib.import_module(network_module(settings))
    with torch.device("cpu"):
        network: Network = module.build(settings, image_shape, head_sizes, generator)
    return network.to(torch.get_default_device())
