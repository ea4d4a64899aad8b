"""How ARI's task-specific models become the next base model (paper Eqs. 6 and 8 to 10; readings A2 to A7, A21).

A model here is its parameters as one vector [P]; `sizes` are those of its tensors, for what is taken tensor by tensor.
`paper` keeps the n task models of a mini-batch until all distances are known, O(n) in memory; `intent` and `average` are
sums that grow model by model, and `literal` is the last model: O(1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

RELEASED_FLOOR = 0.85
"""What the released code adds to each squared distance."""

Distance = Literal["relative", "mean", "raw"]


def manhattan(a: Tensor, b: Tensor, sizes: Sequence[int]) -> Tensor:
    """sum |a - b| of each tensor [tensors]; its sum is the distance d of Eq. 6."""
    return torch.stack([part.sum() for part in (a - b).abs_().split(list(sizes))])


def distance_matrix(models: Tensor) -> Tensor:
    """dif of Eq. 6: Manhattan distances [m, m] between models [m, P]."""
    return torch.cdist(models, models, p=1)


def softmax_weights(distances: Tensor, parameters: Tensor | int, distance: Distance) -> Tensor:
    """Rows of Eq. 8: softmax over the last axis of distances to m models, the own 0 among them; each sums to 1.

    `raw` takes the distances as they are, and for more than a few parameters all weight falls on the farthest model;
    `mean` divides by the number of parameters, and all weights become nearly equal; `relative` divides by the mean of the
    row's distances to the other models (reading A4). Equal models have equal weights.
    """
    if distance == "mean":
        distances = distances / parameters
    elif distance == "relative":
        mean = distances.sum(-1, keepdim=True) / max(1, distances.shape[-1] - 1)
        distances = torch.where(mean > 0, distances / mean, 0.0)
    return torch.softmax(distances, dim=-1)


def released_weight(distances: Tensor) -> Tensor:
    """L1^2 + 0.85 of each tensor: before division by the sum over the models, as released (reading A22)."""
    return distances.square() + RELEASED_FLOOR


def learning_share(session: int, sessions: int, beta: float) -> float:
    """alpha = exp(-beta * s / N), s from 0: what is taken of the fused model after session s (reading A7)."""
    return math.exp(-beta * session / sessions)


class Fusion:
    """Takes the task models of one mini-batch as they come and gives the fused model of Eq. 9."""

    def __init__(self, base: Tensor, sizes: Sequence[int]) -> None:
        self.base = base
        self.sizes = list(sizes)

    def add(self, model: Tensor, distances: Tensor) -> None:
        """A task model [P], which may be overwritten afterwards, and its `manhattan` distances to the base."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """The fused model [P]; at least one model was added."""
        raise NotImplementedError


class PaperFusion(Fusion):
    """sum_i softmax(d_i) phi_i over the task models and the base itself (Eqs. 8 and 9), whole models or tensor by tensor."""

    def __init__(self, base: Tensor, sizes: Sequence[int], distance: Distance, by_tensor: bool) -> None:
        super().__init__(base, sizes)
        self.distance: Distance = distance
        self.by_tensor = by_tensor
        self.models: list[Tensor] = []
        self.distances: list[Tensor] = []

    def add(self, model: Tensor, distances: Tensor) -> None:
        self.models.append(model.clone())
        self.distances.append(distances)

    def weights(self) -> Tensor:
        """The last row of dif* [tensors or 1, models + 1], the base last."""
        distances = torch.stack([*self.distances, torch.zeros_like(self.distances[0])], dim=1)
        sizes = torch.tensor(self.sizes)[:, None]
        if not self.by_tensor:
            distances, sizes = distances.sum(0, keepdim=True), sizes.sum(0, keepdim=True)
        return softmax_weights(distances, sizes, self.distance)

    def result(self) -> Tensor:
        weights = self.weights()
        fused = self.base * _spread(weights[:, -1], self.sizes)
        for i, model in enumerate(self.models):
            fused += model * _spread(weights[:, i], self.sizes)
        return fused


class IntentFusion(Fusion):
    """sum_i w_i phi_i / sum_i w_i tensor by tensor, w_i = L1_i^2 + 0.85, without the base: what the released code means."""

    def __init__(self, base: Tensor, sizes: Sequence[int]) -> None:
        super().__init__(base, sizes)
        self._sum = torch.zeros_like(base)
        self._weights = torch.zeros(len(self.sizes))

    def add(self, model: Tensor, distances: Tensor) -> None:
        weights = released_weight(distances)
        self._sum += model * _spread(weights, self.sizes)
        self._weights += weights

    def result(self) -> Tensor:
        return self._sum / _spread(self._weights, self.sizes)


class AverageFusion(Fusion):
    """The plain mean of the task models: iTAML's, and the baseline of ARI's Fig. 8."""

    def __init__(self, base: Tensor, sizes: Sequence[int]) -> None:
        super().__init__(base, sizes)
        self._sum = torch.zeros_like(base)
        self._count = 0

    def add(self, model: Tensor, distances: Tensor) -> None:
        self._sum += model
        self._count += 1

    def result(self) -> Tensor:
        return self._sum / self._count


class LiteralFusion(Fusion):
    """The last model alone: all that the released code's aliased copies hold (reading A21)."""

    def add(self, model: Tensor, distances: Tensor) -> None:
        self._last = model

    def result(self) -> Tensor:
        return self._last


def pull_back(fused: Tensor, base: Tensor, share: float) -> Tensor:
    """share * fused + (1 - share) * base: Eq. 10."""
    return base.lerp(fused, share)


def _spread(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """One value a tensor [tensors] -> one a parameter [P]; a single value stays one."""
    return values if len(values) == 1 else torch.repeat_interleave(values, torch.tensor(sizes))
