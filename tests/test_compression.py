"""One network pruned in rounds by one threshold over all its tensors."""

from __future__ import annotations

import pytest
from conftest import shared_of, tiny_experiment, tiny_job
from test_anpyc import anpyc_options, slow_importance

from lifelong.errors import UserError
from lifelong.learning.job import State
from lifelong.methods.anpyc import compression


def compressed(task: int, state: State | None, thresholds: list[float]) -> State:
    """What round `task` leaves."""
    scenario = {"dataset": "digits", "kind": "repeated", "tasks": 1 + len(thresholds), "validation": {"first": 9}}
    options = {"thresholds": thresholds, "importance_batch": 10}
    experiment = tiny_experiment("anpyc-compression", options=options, scenario=scenario, learning_rate=0.3)
    return compression.learn(tiny_job(experiment, task), state)


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


def test_every_threshold_wants_a_round() -> None:
    state = compressed(0, None, [0.5])
    experiment = tiny_experiment("anpyc-compression", options={"thresholds": [0.5]})
    with pytest.raises(UserError, match="1 thresholds need a repeated scenario of 2 tasks"):
        compression.learn(tiny_job(experiment, 1), state)
