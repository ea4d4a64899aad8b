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
    """Epochs of learning and of each round's retraining.

    `each-phase`: `epochs` each, as released. `shared`: `epochs` in all, evenly, what is left over to the earlier phases, so
    that a task costs what it costs a method without pruning. Without pretraining learning has no epoch.
    """
    if last or not options.prunes:
        return [epochs]
    phases = options.pretraining + len(list_rounds(options, task))
    shares = [epochs // phases + (phase < epochs % phases) for phase in range(phases)]
    spent = [epochs] * phases if options.budget == "each-phase" else shares
    return spent if options.pretraining else [0, *spent]


def prune_mask(importance: Tensor, previous: Tensor | None, percent: int) -> Tensor:
    """Mask of one tensor in one round: 0 where the weight is pruned, 1 where it stays. The *least* important go (N2).

    First task (`previous` none): all below the percentile, and all of importance exactly 0. Later: only weights that
    the previous task had pruned can go, those at or below the percentile among them; so the free set only shrinks (N8).
    """
    if previous is None:
        threshold = _percentile(importance.flatten(), percent)
        return ((importance >= threshold) & (importance != 0)).to(importance.dtype)
    free = previous == 0
    if not free.any():
        return torch.ones_like(importance)
    threshold = _percentile(importance[free], percent)
    return (~(free & (importance <= threshold))).to(importance.dtype)


def _percentile(values: Tensor, percent: int) -> Tensor:
    """Linear between order statistics, as numpy's."""
    return torch.quantile(values, percent / 100)
