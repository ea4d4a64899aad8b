"""Progress that is kept: found by all that decides the work, passed over when damaged, gone when it is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.jobs import EveryResult

from lifelong.runtime.provenance import working
from lifelong.training.checkpoints import Checkpoints


def save(kept: Checkpoints) -> None:
    kept.save("fit", {"weight": torch.arange(3.0)}, {"epoch": 2})


def test_what_was_saved_is_loaded_and_leaves_nothing(tmp_path: Path) -> None:
    kept = Checkpoints.of(tmp_path / "x.0.1.learn", {"strength": 1})
    save(kept)
    tensors, info = Checkpoints.of(tmp_path / "x.0.1.learn", {"strength": 1}).load("fit") or ({}, {})
    assert tensors["weight"].tolist() == [0, 1, 2] and info["epoch"] == 2
    kept.remove()
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_other_options_are_cleared(tmp_path: Path) -> None:
    save(Checkpoints.of(tmp_path / "place", {"strength": 1}))
    other = Checkpoints.of(tmp_path / "place", {"strength": 2})
    assert other.load("fit") is None and not list((tmp_path / "place").iterdir())


def test_checkpoints_of_other_code_are_never_found(tmp_path: Path) -> None:
    with working("a" * 64, EveryResult()):
        save(Checkpoints.of(tmp_path / "place", 1))
    with working("b" * 64, EveryResult()):
        assert Checkpoints.of(tmp_path / "place", 1).load("fit") is None


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Checkpoints.of(tmp_path / "place", 1)
    save(kept)
    file = kept.folder / "fit.safetensors"
    whole = file.read_bytes()
    for place in (4, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept.load("fit") is None
        assert "passed over" in capsys.readouterr().err
