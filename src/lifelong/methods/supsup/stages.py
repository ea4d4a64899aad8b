"""SupSup, supermasks in superposition: one random network that never learns, and a mask for each task.

Wortsman et al. 2020; reading B14. A task's layer is y = (m * W) x, W constant in size with random signs, m = 1 at the
share `kept` of the layer's weights with the largest scores s. The scores learn straight through the choice:
dL/ds = dL/dm = dL/d(m * W) * W. The size is sqrt(2 / (fan-in * kept)), which keeps the variance of what the layers
hand on; there is neither bias nor, in a perceptron, batch normalisation.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.methods.supsup import SupSupOptions
from lifelong.networks.base import Network
from lifelong.networks.create import Setup
from lifelong.networks.layers import product
from lifelong.params.networks import MlpNetwork, PretrainedNetwork
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import draw_on_processor, generator
from lifelong.training.job import Job, State


class _Kept(torch.autograd.Function):
    """The mask of the largest scores; gradients pass as if it were the scores."""

    @staticmethod
    def forward(context: Any, scores: Tensor, kept: float) -> Tensor:
        return mask_of(scores, kept)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def mask_of(scores: Tensor, kept: float) -> Tensor:
    """1 at the round(kept * size) largest scores, and at any that equals the least of them, else 0."""
    left_out = scores.numel() - round(kept * scores.numel())
    least = scores.flatten().kthvalue(left_out + 1).values if left_out < scores.numel() else math.inf
    return (scores >= least).to(scores.dtype)


class MaskedLinear(nn.Module):
    """[n, in] -> [n, out] by fixed weights of random sign under a mask that learns."""

    weight: Tensor

    def __init__(self, weight: Tensor, scores: Tensor, kept: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.scores = nn.Parameter(scores)
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        return product(x, _Kept.apply(self.scores, self.kept) * self.weight)


class Supermasked(Network):
    """A perceptron of masked layers with one head."""

    def __init__(self, layers: list[MaskedLinear]) -> None:
        super().__init__()
        self.hidden, self.heads = nn.ModuleList(layers[:-1]), nn.ModuleList(layers[-1:])

    def features(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return x


def random_network(setup: Setup, options: SupSupOptions, task: int) -> Supermasked:
    """The weights, which depend on the seed alone, under new scores of a task."""
    network = setup.experiment.network
    assert isinstance(network, MlpNetwork | PretrainedNetwork)
    widths = [math.prod(setup.image_shape), *network.hidden, setup.classes.largest]
    layers = []
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        signs = draw_on_processor(torch.randint, 0, 2, (fan_out, fan_in), generator=generator(setup.seed, "signs", number))
        bound = fan_in**-0.5
        scores = torch.empty(fan_out, fan_in, device="cpu")
        scores.uniform_(-bound, bound, generator=generator(setup.seed, "scores", task, number))
        scores = scores.to(signs.device)
        size = math.sqrt(2 / (fan_in * options.kept))
        if not round(options.kept * fan_in * fan_out):
            raise UserError(f"options.kept: {options.kept} of {fan_in}x{fan_out} weights keeps none of a layer; take more")
        layers.append(MaskedLinear((2.0 * signs - 1) * size, scores, options.kept))
    return Supermasked(layers)


def learn(job: Job, options: SupSupOptions, state: State | None) -> State:
    """Find the task's mask; state: the scores that every task so far has ended with, `<task>/<parameter>`."""
    network = random_network(job, options, job.task.index)
    names = [name for name, _ in network.named_parameters()]
    job.fit(network, trainable=names)
    result = {f"{job.task.index}/{name}": tensor.detach().clone() for name, tensor in network.named_parameters()}
    return {"masks": {**(state["masks"] if state else {}), **result}}


def network_of(setup: Setup, options: SupSupOptions, state: State, task: int) -> Network:
    """The random network under the mask of the task with this number."""
    network = random_network(setup, options, task)
    with torch.no_grad():
        for name, scores in network.named_parameters():
            scores.copy_(state["masks"][f"{task}/{name}"])
    return network
