"""PSP, parameter superposition: all tasks' networks lie in one, told apart by keys (Cheung et al. 2019; reading B13).

Each layer computes y = W (c_t * x) + b with a key c_t of +1 and -1 that task t draws for the layer's inputs. Keys of two
tasks are nearly orthogonal in high dimensions, so what W holds for one task reads as noise under another's key.
The output layer is superposed as the others are: all tasks share its rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.networks.base import Network
from lifelong.networks.create import Setup
from lifelong.networks.mlp import Mlp
from lifelong.params.methods import MethodOptions
from lifelong.runtime.randomness import draw_on_processor, generator
from lifelong.training.job import Job, State, weights


class Superposed(Network):
    """The layers of a perceptron behind the keys of one task: `keys` holds one for the inputs of each layer."""

    def __init__(self, network: Mlp, keys: Sequence[Tensor]) -> None:
        super().__init__()
        self.hidden, self.heads = network.hidden, network.heads
        self._keys = list(keys)

    def features(self, images: Tensor) -> Tensor:
        """[n, ...] -> [n, last hidden width], already behind the key of the output layer."""
        x = images.flatten(1) * self._keys[0]
        for layer, key in zip(self.hidden, self._keys[1:], strict=True):
            x = F.relu(layer(x)) * key
        return x


def keys(widths: Sequence[int], seed: int, task: int) -> list[Tensor]:
    """A key of +1 and -1 for inputs of each width, drawn by (seed, task, layer)."""
    result = [
        draw_on_processor(torch.randint, 0, 2, (w,), generator=generator(seed, "key", task, n)) for n, w in enumerate(widths)
    ]
    return [2.0 * key - 1 for key in result]


def network_of(setup: Setup, options: MethodOptions, state: State | None, task: int) -> Network:
    """The one network as the task with this number uses it."""
    network = setup.network(state)
    assert isinstance(network, Mlp)
    return Superposed(network, keys([math.prod(setup.image_shape), *network.widths], setup.seed, task))


def learn(job: Job, options: MethodOptions, state: State | None) -> State:
    """Minimise the task's cross-entropy behind its keys; nothing holds the weights."""
    network = network_of(job, options, state, job.task.index)
    job.fit(network)
    return {"network": weights(network)}
