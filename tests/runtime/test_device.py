"""Another device than the processor: every method computes there alone, and leaves the same bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.elsewhere import Distant, elsewhere
from support.tiny import OF_IMAGES, OPTIONS, ROUNDS, run_chain, tiny_experiment

from lifelong.data import catalog, sequences
from lifelong.params import Experiment
from lifelong.pipeline import evaluate
from lifelong.pipeline.graph import final_state, stages_of
from lifelong.pipeline.run import run_stage
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors
from lifelong.runtime.device import computing_on, to_device
from lifelong.runtime.errors import UserError
from lifelong.training.checkpoints import Checkpoints


def test_the_second_device_is_one() -> None:
    with elsewhere() as name, computing_on(name):
        there = to_device(np.ones((2, 3), np.float32))
        assert (
            isinstance(there, Distant) and isinstance(torch.zeros(2), Distant) and isinstance(torch.tensor([1.0]), Distant)
        )
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3, device="cpu")
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there.cpu().numpy() == 1).all()
    assert not isinstance(torch.zeros(2), Distant)


@pytest.mark.parametrize("method", OF_IMAGES)
def test_a_method_computes_elsewhere_what_it_does_here(method: str) -> None:
    network = {"kind": "attention-mlp", "hidden": [6, 5]} if method in ("ari", "itaml") else None
    sequence = ROUNDS if method == "anpyc-compression" else None
    experiment = tiny_experiment(method, options=OPTIONS.get(method), network=network, sequence=sequence)
    same_elsewhere(experiment)


@pytest.mark.parametrize("budget", [{"optimiser": "adam"}, {"optimiser": "radam"}, {"augmentation": "crop-flip"}], ids=str)
def test_a_budget_is_the_same_elsewhere(budget: dict[str, Any]) -> None:
    same_elsewhere(tiny_experiment("finetune", **budget))


def same_elsewhere(experiment: Experiment) -> None:
    expected = run_chain(experiment)
    with elsewhere() as name, computing_on(name):
        found = run_chain(experiment)
    assert found.keys() == expected.keys()
    for key, state in expected.items():
        for group, named in state.items():
            for which, tensor in named.items():
                there = found[key][group][which]
                assert isinstance(there, Distant), (key, group, which)
                assert torch.equal(there.held, tensor), (key, group, which)


def evaluated(experiment: Experiment, device: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What run_stage and evaluate write of a whole seed on digits: every state's tensors, the scores and the answers."""
    place.mkdir()
    monkeypatch.chdir(place)
    catalog.prepare("digits", None, paths.images("digits"), Path("none"), [])
    sequences.build(experiment.sequence, {"digits": paths.images("digits")}, paths.tasks("three"))
    with computing_on(device):
        for task in experiment.tasks:
            for stage in stages_of(experiment, task):
                run_stage(experiment, 0, task, stage)
        evaluate.evaluate(experiment, 0)
    states = [read_tensors(final_state(experiment, 0, task), "state")[0] for task in experiment.tasks]
    return [*states, read_tensors(paths.predictions("tiny", 0), "predictions")[0], read_result(paths.scores("tiny", 0))]


@pytest.mark.parametrize("method", ["hat", "icarl", "xdg"])
def test_files_do_not_tell_where_they_were_made(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With heads, with gates, and with prototypes that answer."""
    experiment = tiny_experiment(method, options=OPTIONS.get(method))
    here = evaluated(experiment, "cpu", tmp_path / "here", monkeypatch)
    with elsewhere() as device:
        there = evaluated(experiment, device, tmp_path / "there", monkeypatch)
    np.testing.assert_equal(there, here)


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "--device gpu: PyTorch knows no such device"), ("cuda:99", "--device cuda:99: PyTorch sees")],
)
def test_no_such_device(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message), computing_on(name):
        pass


def test_a_checkpoint_knows_no_device(tmp_path: Path) -> None:
    Checkpoints(tmp_path, math.inf).save("fit", {"weight": torch.arange(3)}, {})
    with elsewhere() as name, computing_on(name):
        kept = Checkpoints(tmp_path, math.inf).load("fit")
        assert kept is not None and isinstance(kept[0]["weight"], Distant)
        Checkpoints(tmp_path, math.inf).save("again", kept[0], {})
    again = Checkpoints(tmp_path, math.inf).load("again")
    assert again is not None and again[0]["weight"].tolist() == [0, 1, 2]
