"""Training runs of several seeds as one: their networks side by side in one batched product a layer.

On a GPU a small network's step takes as long for ten seeds as for one. Every seed keeps its own order of images and its own
dropout, so each ends where it would alone but for rounding.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.data.tensors import Split
from lifelong.networks.mlp import Mlp
from lifelong.runtime.errors import Diverged
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit
from lifelong.training.penalties import QuadraticPenalty


@dataclass(frozen=True)
class OrderedTogether(Split):
    """One task's images, of which every batch takes as many for each of several seeds; `one` draws them."""

    one: Split

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Indices [s, b] -> images [s, b, ...] and targets [s, b]."""
        images, targets = self.one.batch(chosen.flatten())
        return images.unflatten(0, chosen.shape), targets.view(chosen.shape)


@dataclass
class StackedFit(Fit):
    """`fits`, which differ in nothing but their seed, as one whose tensors are theirs side by side, [s, ...].

    The networks' parameters are views of the stacked ones from the start on: what is trained here is trained there.
    """

    fits: Sequence[Fit] = ()

    @classmethod
    def of(cls, fits: Sequence[Fit], checkpoints: Checkpoints) -> StackedFit | None:
        """None where they cannot be one: for other networks than perceptrons, or where more differs than the seed."""
        first = fits[0]
        networks = [fit.network for fit in fits if isinstance(fit.network, Mlp) and fit.network.gate is None]
        if len(networks) < len(fits) or not _alike(fits) or first.objective_of is None:
            return None
        hook = first.hook.stacked([fit.hook for fit in fits])
        if hook is None:
            return None
        network = stack_networks(networks)
        usual = {field.name: getattr(first, field.name) for field in dataclasses.fields(first) if field.init}
        own = {
            "network": network,
            "train": OrderedTogether(first.train.images, first.train.targets, first.train),
            "objective": first.objective_of(network),
            "checkpoints": checkpoints,
            "penalty": _penalty([fit.penalty for fit in fits if fit.penalty is not None]),
            "masks": _stacked([fit.masks for fit in fits]),
            "hook": hook,
            "fits": fits,
        }
        return cls(**(usual | own))

    def curves(self) -> list[list[dict[str, Any]] | Diverged]:
        """What each fit's own `run` would have returned, or raised."""
        result: list[list[dict[str, Any]] | Diverged] = []
        for place in range(len(self.fits)):
            rows = [row["seeds"][place] for row in self.curve]
            ends = [Diverged(row["diverged"]) for row in rows if "diverged" in row]
            result.append(ends[0] if ends else rows)
        return result

    def _order(self, epoch: int) -> Tensor:
        seeds = [fit.epoch_seed(epoch) for fit in self.fits]
        noise = [torch.Generator(torch.get_default_device()).manual_seed(seed) for seed in seeds]
        assert isinstance(self.network, Mlp)
        self.network.noise = noise
        return torch.stack([torch.randperm(len(self.train), generator=one) for one in noise])

    def row(self, epoch: int, rate: float, total: Tensor) -> dict[str, Any]:
        rows = []
        for fit, own in zip(self.fits, total, strict=True):
            try:
                rows.append(fit.row(epoch, rate, own))
            except Diverged as error:
                rows.append({"diverged": str(error)})
        return {"loss": float(total.nanmean()) / len(self.train), "seeds": rows}


def _alike(fits: Sequence[Fit]) -> bool:
    first = fits[0]
    alike = {(fit.name, fit.epochs, fit.epoch_offset, tuple(fit.trainable), tuple(fit.masks)) for fit in fits}
    return (
        len(alike) == 1
        and all(fit.update is None and type(fit.hook) is type(first.hook) for fit in fits)
        and len({fit.penalty is None for fit in fits}) == 1
        and first.budget.augmentation == "none"
        and all(torch.equal(fit.train.targets, first.train.targets) for fit in fits)
        and all(torch.equal(fit.train.images, first.train.images) for fit in fits)
    )


@torch.no_grad()
def stack_networks(networks: Sequence[Mlp]) -> Mlp:
    """One network whose parameters [s, ...] are those of `networks`, which from now on are views of them."""
    together = copy.deepcopy(networks[0])
    owned = [dict(network.named_parameters()) for network in networks]
    for name in owned[0]:
        stacked = nn.Parameter(torch.stack([named[name] for named in owned]))
        path, _, leaf = name.rpartition(".")
        setattr(together.get_submodule(path), leaf, stacked)
        for place, named in enumerate(owned):
            named[name].data = stacked.data[place]
    return together


def _stacked(groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([group[name] for group in groups]) for name in groups[0]}


def _penalty(penalties: Sequence[QuadraticPenalty]) -> QuadraticPenalty | None:
    if not penalties:
        return None
    importance, anchor = (
        _stacked([dict(zip(one.names, part(one), strict=True)) for one in penalties])
        for part in (lambda one: one.importance, lambda one: one.anchor)
    )
    return QuadraticPenalty(penalties[0].strength, importance, anchor, penalties[0].proximal)
