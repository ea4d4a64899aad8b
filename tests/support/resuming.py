"""Stages that are killed and begun again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.tiny import call
from torch import Tensor

from lifelong.training import fit
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import State


def killed_and_resumed(
    learn: Callable[..., State],
    job: Callable[[], Any],
    before: State,
    places: Checkpoints,
    after: int,
    name: str = "learn",
) -> State:
    """A stage killed after some epochs and begun again."""
    epochs, epoch = iter(range(100)), fit.Fit._epoch

    def dying(self: fit.Fit, *arguments: Any) -> Tensor:
        if next(epochs) == after:
            raise KeyboardInterrupt
        return epoch(self, *arguments)

    begun, resumed = job(), job()
    begun.checkpoints = resumed.checkpoints = places
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fit.Fit, "_epoch", dying)
        call(learn, begun, before)
    kept = places.load(name)
    assert kept is not None
    assert len(kept[1]["curve"]) == after
    return call(learn, resumed, before)


def kill_after_saves(monkeypatch: pytest.MonkeyPatch, every: int) -> list[str]:
    """From now on checkpoints are written whenever they can be, and each `every`-th is the last thing its job does.

    Returns the names of those written, as they come.
    """
    saved: list[str] = []
    save = Checkpoints.save

    def dying(self: Checkpoints, name: str, tensors: Any, info: Any) -> None:
        save(self, name, tensors, info)
        saved.append(name)
        if len(saved) % every == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    monkeypatch.setattr(Checkpoints, "save", dying)
    return saved
