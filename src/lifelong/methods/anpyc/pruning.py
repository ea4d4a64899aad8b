"""Which weights a task gives back: schedule of percentages and the mask of one round (readings N2, N3, N8)."""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.methods.anpyc import AnpycOptions

RELEASED_START = 50  # percent pruned after the first task
RELEASED_SHRINK = 0.8  # of the previous task's percentage


def target_percent(options: AnpycOptions, task: int) -> int:
    """How much is pruned after a task (from 0): released 50, then int(0.8 * previous) = 40, 32, 25, 20, 16 ..."""
    if options.pruning == "constant":
        assert options.prune_percent is not None
        return options.prune_percent
    percent = RELEASED_START
    for _ in range(task):
        percent = int(RELEASED_SHRINK * percent)
    return percent


def list_rounds(options: AnpycOptions, task: int) -> list[int]:
    """Percentages of the greedy rounds: step, 2*step, ... until the target is reached.

    The released rounds run up to the first multiple that is not below the target (25 gives 10, 20, 30); a constant
    percentage ends on it (15 gives 10, 15).
    """
    target, step = target_percent(options, task), options.prune_step
    percents = list(range(step, target, step))
    return [*percents, target if options.pruning == "constant" else (len(percents) + 1) * step]


def phase_epochs(options: AnpycOptions, epochs: int, task: int, last: bool) -> list[int]:
    """Epochs of learning and of each round's retraining (reading N29).

    `each-phase`: `epochs` each, as released. `shared`: `epochs` in all, evenly, what is left over to the earlier phases, so
    that a task costs what it costs a method without pruning. `equal-learning`: `epochs` of learning, and as many shared by
    the rounds. Without pretraining learning has no epoch.
    """
    if last or not options.prunes:
        return [epochs]
    rounds = len(list_rounds(options, task))
    if options.budget == "each-phase":
        spent = [epochs] * (options.pretraining + rounds)
    elif options.budget == "shared":
        spent = _share(epochs, options.pretraining + rounds)
    else:
        spent = [epochs] * options.pretraining + _share(epochs, rounds)
    return spent if options.pretraining else [0, *spent]


def _share(epochs: int, phases: int) -> list[int]:
    return [epochs // phases + (phase < epochs % phases) for phase in range(phases)]


def may_go(options: AnpycOptions, mask: Tensor | None, before: Tensor | None) -> Tensor | None:
    """Which weights of one tensor a task may prune, bool, from the mask and the accumulated importance that earlier tasks
    left (reading N33); none: all, as in the first task.

    `freed` (released): what the last task pruned. `unprotected`: what no earlier task holds, of importance 0. `all`.
    """
    if mask is None or before is None or options.prune_from == "all":
        return None
    return mask == 0 if options.prune_from == "freed" else before == 0


def prune_mask(importance: Tensor, weight: Tensor, free: Tensor | None, percent: int, zero_importance: str) -> Tensor:
    """Mask of one tensor in one round: 0 where the weight is pruned, 1 where it stays. The *least* important go (N2).

    Of the weights where `free` is true, or of all where it is none. `extra` (released): all below the percentile and all
    of importance exactly 0; in later tasks all at or below the percentile (readings N3, N8). `counted`: `percent` of them
    and no more; of equals the smallest |W| go first, then the first (reading N34).
    """
    if free is not None and not free.any():
        return torch.ones_like(importance)
    values = importance.flatten() if free is None else importance[free]
    if zero_importance == "counted":
        places = torch.arange(importance.numel()) if free is None else free.flatten().nonzero().flatten()
        places = places[torch.argsort(weight.flatten()[places].abs(), stable=True)]
        order = torch.argsort(importance.flatten()[places], stable=True)
        count = round(percent / 100 * len(places))
        return torch.ones_like(importance.flatten()).index_fill_(0, places[order[:count]], 0).view_as(importance)
    threshold = torch.quantile(values, percent / 100)  # linear between order statistics, as numpy's
    gone = (importance < threshold) | (importance == 0) if free is None else free & (importance <= threshold)
    return (~gone).to(importance.dtype)
