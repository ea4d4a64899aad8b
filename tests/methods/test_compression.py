"""One network pruned in rounds by one threshold over all its tensors."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from support.anpyc import anpyc_options, slow_importance
from support.reports import draw_report
from support.tiny import call, shared_of, tiny_experiment, tiny_job

from lifelong.methods.anpyc import compression
from lifelong.params import settings
from lifelong.pipeline.states import write_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_result
from lifelong.runtime.errors import UserError
from lifelong.training.job import State


def compressed(task: int, state: State | None, thresholds: list[float]) -> State:
    """What round `task` leaves."""
    sequence = {"dataset": "digits", "kind": "repeated", "tasks": 1 + len(thresholds), "validation": {"first": 9}}
    options = {"thresholds": thresholds, "importance_batch": 10}
    experiment = tiny_experiment("anpyc-compression", options=options, sequence=sequence, learning_rate=0.3)
    return call(compression.learn, tiny_job(experiment, task), state)


def test_a_round_prunes_its_share_of_what_is_left_by_one_threshold_for_all_tensors() -> None:
    thresholds = [0.5, 0.4]
    state = compressed(0, None, thresholds)
    assert all((mask == 1).all() for mask in state["mask"].values())
    assert state["mask"].keys() == shared_of(state["network"]).keys()
    left = sum(mask.numel() for mask in state["mask"].values())
    for number, share in enumerate(thresholds, 1):
        train = tiny_job(tiny_experiment("sgd"), number).task.train
        found = slow_importance(state["network"], train, 0, anpyc_options(importance_batch=10))
        after = compressed(number, state, thresholds)
        kept, gone = [], []
        for name, mask in after["mask"].items():
            was_open = state["mask"][name] == 1
            assert not (mask == 1)[~was_open].any()
            assert not after["network"][name][mask == 0].any()
            kept += found[name][was_open & (mask == 1)].tolist()
            gone += found[name][was_open & (mask == 0)].tolist()
        assert len(gone) == round(share * left)
        assert max(gone) <= min(kept) + 1e-6
        left = len(kept)
        state = after


def test_biases_that_are_their_own_keep_what_the_paper_prints() -> None:
    """Table IV: of each bias tensor .2, .3, .5 and .6 stay; the weights' one threshold takes from one tensor more than
    from another (reading N23)."""
    sizes = {"a.bias": 64, "b.bias": 256, "a.weight": 100, "b.weight": 900}
    importance = {name: torch.rand(size, generator=torch.Generator().manual_seed(size)) for name, size in sizes.items()}
    importance["a.bias"] -= 9  # least of all, yet no more of it goes
    importance["b.weight"] += 0.5
    mask = {name: torch.ones(size) for name, size in sizes.items()}
    counts = {name: [size] for name, size in sizes.items()}
    for share in (0.8, 0.7, 0.5, 0.4):
        before, mask = mask, compression.prune_round(importance, mask, share, "own")
        assert list(mask) == list(importance)
        for name in sizes:
            counts[name].append(int(mask[name].sum()))
            assert not (mask[name] > before[name]).any()
            if name.endswith("bias"):
                gone, kept = importance[name][mask[name] < before[name]], importance[name][mask[name] == 1]
                assert gone.max() <= kept.min()
    assert counts["a.bias"] == [64, 13, 4, 2, 1]
    assert counts["b.bias"] == [256, 51, 15, 7, 4]  # printed: 256, 51, 16, 8, 5
    assert [counts["a.weight"][i] + counts["b.weight"][i] for i in range(5)] == [1000, 200, 60, 30, 18]
    assert counts["a.weight"][1] < 20


def test_every_threshold_wants_a_round() -> None:
    state = compressed(0, None, [0.5])
    experiment = tiny_experiment("anpyc-compression", options={"thresholds": [0.5]})
    with pytest.raises(UserError, match="1 thresholds need a repeated sequence of 2 tasks"):
        call(compression.learn, tiny_job(experiment, 1), state)


def test_the_report_counts_what_the_masks_leave_and_tells_the_accuracy_of_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = {
        "sequences": {"r": {"dataset": "digits", "kind": "repeated", "tasks": 2, "validation": {"first": 9}}},
        "networks": {"n": {"kind": "lenet", "initialisation": "uniform-fan-in"}},
        "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}},
        "experiments": {
            "x": {"sequence": "r", "network": "n", "training": "t", "method": "anpyc-compression", "seeds": 2}
            | {"options": {"thresholds": [0.5]}}
        },
        "reports": {"s": {"four": {"kind": "compression", "title": "Four", "experiments": {"LeNet": "x"}}}},
    }
    found = settings(written)
    for seed in (0, 1):
        for task in (0, 1):
            mask = {"hidden.0.bias": torch.ones(512), "convolutions.0.bias": torch.ones(32)}
            if task:
                mask["hidden.0.bias"][: 400 + 10 * seed] = 0
                mask["convolutions.0.bias"][:25] = 0
            write_state(paths.state("x", seed, task, "learn"), {"mask": mask}, {})
        rows = [[0.9, 0.9], [0.1, 0.97 + 0.02 * seed]]
        write_result(paths.scores("x", seed), {"test": {"task_incremental": rows}})
    draw_report(found, "s/four")
    with open("reports/s/four.csv", newline="") as handle:
        cells = {(int(line["x"]), line["row"]): line for line in csv.DictReader(handle)}
    assert (cells[1, "hidden.0.bias"]["mean"], cells[1, "hidden.0.bias"]["printed_mean"]) == ("107", "100")
    assert cells[1, "convolutions.0.bias"]["verdict"] == "same"
    assert float(cells[1, "total"]["mean"]) == 107 + 7
    assert float(cells[1, "network"]["mean"]) == pytest.approx(98)
    assert float(cells[0, "network"]["mean"]) == pytest.approx(90)
    assert cells[0, "network"]["verdict"] == "not judged"
    assert "4.77x" in Path("reports/s/four.md").read_text()  # 544 / 114
