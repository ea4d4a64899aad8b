"""One stage of several seeds at once: each runs as it would alone up to where it trains, and there they train as one.

Only what can be stacked trains as one; the rest trains seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.pool import AsyncResult, ThreadPool
from queue import SimpleQueue
from typing import Any

import torch

from lifelong.runtime.device import computing_on
from lifelong.runtime.errors import Diverged
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit
from lifelong.training.job import Job, State
from lifelong.training.stacked_fit import StackedFit

Curve = list[dict[str, Any]]


def train_together(jobs: Sequence[Job], work: Sequence[Callable[[], State]], checkpoints: Checkpoints) -> list[State]:
    """What each job's work leaves. `checkpoints` are for what the jobs train as one.

    Raises what the first work raises that does.
    """
    # Its threads are daemons: Ctrl-C does not wait for them, as it would for an executor's.
    with ThreadPool(len(work)) as pool:
        seeds = [_Seed(one, pool) for one in work]
        for job, seed in zip(jobs, seeds, strict=True):
            job.trains = seed.train
            seed.go_on()
        while waiting := [seed for seed in seeds if seed.wish]:
            wishes = [seed.wish for seed in waiting if seed.wish]
            for seed, curve in zip(waiting, _trained(wishes, checkpoints), strict=True):
                seed.go_on(curve)
        return [seed.outcome.get() for seed in seeds]


def _trained(wishes: Sequence[tuple[Fit, Progress]], checkpoints: Checkpoints) -> list[Curve | Diverged]:
    fits = [fit for fit, _ in wishes]
    whole = StackedFit.of(fits, checkpoints)
    if whole is not None:
        whole.run(wishes[0][1])
        return whole.curves()
    curves: list[Curve | Diverged] = []
    for fit, progress in wishes:
        try:
            curves.append(fit.run(progress))
        except Diverged as error:
            curves.append(error)
    return curves


class _Seed:
    """The work of one seed on a thread of its own, which rests while others work and while what it wants is trained.

    Attributes:
        wish: what it wants trained before it goes on; none once it has ended.
        outcome: what its work leaves, or raises, once it has ended.
    """

    def __init__(self, work: Callable[[], State], pool: ThreadPool) -> None:
        self.wish: tuple[Fit, Progress] | None = None
        self._work = work
        self._device = str(torch.get_default_device())  # a thread starts without it
        self._answers: SimpleQueue[Curve | Diverged | None] = SimpleQueue()
        self._wishes: SimpleQueue[tuple[Fit, Progress] | None] = SimpleQueue()
        self.outcome: AsyncResult[State] = pool.apply_async(self._run, callback=self._ended, error_callback=self._ended)

    def go_on(self, curve: Curve | Diverged | None = None) -> None:
        """Let it work, given what came of its wish, until it has another or has ended."""
        self._answers.put(curve)
        self.wish = self._wishes.get()

    def train(self, fit: Fit, progress: Progress) -> Curve:
        """What the job calls, on the seed's thread, where it trains."""
        self._wishes.put((fit, progress))
        curve = self._answers.get()
        if isinstance(curve, Diverged):
            raise curve
        assert curve is not None
        return curve

    def _run(self) -> State:
        self._answers.get()
        with computing_on(self._device):
            return self._work()

    def _ended(self, _: State | BaseException) -> None:
        self._wishes.put(None)
