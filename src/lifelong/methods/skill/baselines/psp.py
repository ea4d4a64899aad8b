"""PSP, parameter superposition: all tasks' networks lie in one, told apart by keys (Cheung et al. 2019; dossier 2.4).

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

from lifelong.learning.job import Job, State, weights
from lifelong.networks.base import Network
from lifelong.networks.mlp import Mlp
from lifelong.randomness import drawn, generator


class Superposed(Network):
    """The layers of a perceptron behind the keys of one task: `keys` holds one for the inputs of each layer."""

    def __init__(self, network: Mlp, keys: Sequence[Tensor]) -> None:
        super().__init__()
        self.hidden, self.heads = network.hidden, network.heads
        self._keys = list(keys)

    def features(self, images: Tensor) -> Tensor:
        """[n, d] -> [n, last hidden width], already behind the key of the output layer."""
        x = images * self._keys[0]
        for layer, key in zip(self.hidden, self._keys[1:], strict=True):
            x = F.relu(layer(x)) * key
        return x


def keys(widths: Sequence[int], seed: int, task: int) -> list[Tensor]:
    """A key of +1 and -1 for inputs of each width, drawn by (seed, task, layer)."""
    found = [drawn(torch.randint, 0, 2, (w,), generator=generator(seed, "key", task, n)) for n, w in enumerate(widths)]
    return [2.0 * key - 1 for key in found]


def network_of(job: Job, state: State | None, task: int) -> Network:
    """The one network as the task with this number uses it."""
    network = job.network(state)
    assert isinstance(network, Mlp)
    return Superposed(network, keys([math.prod(job.image_shape), *network.widths], job.seed, task))


def learn(job: Job, state: State | None) -> State:
    """Minimise the task's cross-entropy behind its keys; nothing holds the weights."""
    network = network_of(job, state, job.task.index)
    job.fit(network)
    return {"network": weights(network)}
