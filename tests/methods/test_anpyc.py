"""ANPyC: importance (Eq. 7), the pruning rule and the three stages, beside slow statements of readings N1 to N9."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from support.anpyc import anpyc_options, slow_change, slow_importance
from support.tiny import (
    IMAGES,
    assert_close,
    call,
    cross_entropy,
    descend,
    forward,
    identical,
    pixels,
    random_like,
    run_chain,
    shared_of,
    tiny_experiment,
    tiny_job,
    tiny_split,
)
from torch import Tensor

from lifelong.methods.anpyc import stages
from lifelong.methods.anpyc.importance import entropy_change, entropy_importance
from lifelong.pipeline.graph import stages_of
from lifelong.training import job as job_module
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import State, weights

READINGS: list[Literal["plus", "minus", "absolute"]] = ["plus", "minus", "absolute"]


@pytest.mark.parametrize("reading", READINGS)
@given(values=arrays_of.arrays(np.float64, (3, 7), elements=st.floats(-5, 5)))
def test_change(reading: str, values: np.ndarray) -> None:
    w, g, h = values[0], values[1], np.abs(values[2])
    found = entropy_change(torch.from_numpy(g * w), torch.from_numpy(w**2 * h / 2), reading)
    np.testing.assert_allclose(found, slow_change(w, g, h, reading), rtol=1e-9, atol=1e-12)
    assert (found >= 0).all()


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("curvature", ["batch-sum", "per-sample", "fisher"])
@pytest.mark.parametrize("clamp", ["batch", "total"])
@pytest.mark.parametrize("batch", [5, 11, 100])
@pytest.mark.parametrize("head", [0, 2])
def test_entropy_importance(reading: str, curvature: str, clamp: str, batch: int, head: int) -> None:
    options = anpyc_options(first_order=reading, curvature=curvature, clamp=clamp, importance_batch=batch)
    network = tiny_job(tiny_experiment("anpyc", options={"strength": 1.0}, dropout=0.5), 0).network(None).eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    split = tiny_split(3, 11)
    expected = slow_importance(network.state_dict(), split, head, options)
    assert any(tensor.any() for tensor in expected.values())
    assert_close(entropy_importance(network, split, head, options), expected, 1e-6)


@pytest.mark.parametrize("curvature", ["batch-sum", "per-sample"])
def test_certain_answers_have_no_importance_and_no_nan(curvature: str) -> None:
    """N6: q log q is 0 at q = 0."""
    network = tiny_job(tiny_experiment("anpyc", options={"strength": 1.0}), 0).network(None).eval()
    with torch.no_grad():
        dict(network.named_parameters())["heads.0.weight"].mul_(1e5)
        certainty = torch.softmax(network(tiny_split(0).batch(torch.arange(IMAGES))[0], 0), 1)
    assert (certainty == 0).any(1).all()
    found = entropy_importance(network, tiny_split(0), 0, anpyc_options(curvature=curvature))
    assert not any(tensor.any() for tensor in found.values())  # NaN would count as true


@pytest.mark.parametrize("pruning", ["released", "none"])
def test_the_last_task_is_not_pruned(pruning: str) -> None:
    experiment = tiny_experiment("anpyc", options={"strength": 1.0, "pruning": pruning})
    first = ("learn", "prune", "consolidate") if pruning == "released" else ("learn", "consolidate")
    assert [stages_of(experiment, task) for task in range(3)] == [first, first, ("learn", "consolidate")]


@pytest.fixture(scope="module")
def chain() -> dict[tuple[int, str], State]:
    """Three tasks with dropout, momentum and mini-batches; a constant 20 % in rounds of 10 %."""
    constant = {"pruning": "constant", "prune_percent": 20, "prune_step": 10}
    options = {"strength": 1.0, "first_order": "absolute", "importance_batch": 10, **constant}
    return run_chain(tiny_experiment("anpyc", options=options, dropout=0.5, momentum=0.5))


@pytest.mark.parametrize("task", [0, 1])
def test_pruned_weights_are_zero_until_the_next_task_moves_them(chain: dict[tuple[int, str], State], task: int) -> None:
    learnt, pruned, after = chain[task, "learn"], chain[task, "prune"], chain[task, "consolidate"]
    retrained, freed = [], []
    assert pruned["mask"].keys() == shared_of(pruned["network"]).keys()  # biases too, no head
    for name, mask in pruned["mask"].items():
        gone = mask == 0
        assert not pruned["network"][name][gone].any()
        assert not after["importance"][name][gone].any()  # N9: nothing will hold them
        assert not (gone & (chain[0, "prune"]["mask"][name] == 1)).any()  # N8
        retrained.append((pruned["network"][name] != learnt["network"][name])[~gone])
        freed.append((chain[task + 1, "learn"]["network"][name] != 0)[gone])
    assert identical(after["network"], pruned["network"])
    assert identical(after["mask"], pruned["mask"])
    assert torch.cat(retrained).double().mean() > 0.5
    assert torch.cat(freed).double().mean() > 0.2  # not all: a unit that lost its whole row and bias is a dead ReLU


def earlier(seed: int, pruned: bool = False) -> State:
    """What a task before might have left."""
    named = weights(tiny_job(tiny_experiment("anpyc", options={"strength": 1.0}), 0).network(None))
    named = {name: tensor + 0.3 * random_like(named, seed)[name] for name, tensor in named.items()}
    mask = {name: (tensor > 0.4).float() for name, tensor in random_like(shared_of(named), seed + 1).items()}
    if pruned:
        named |= {name: named[name] * mask[name] for name in mask}
    return {"network": named, "importance": random_like(shared_of(named), seed + 2), "mask": mask}


BUDGET: dict[str, Any] = {
    "batch_size": IMAGES,
    "epochs": 5,
    "learning_rate": 0.2,
    "decay_factor": 0.5,
    "decay_every": 3,
    "first_task_decay_factor": 0.9,
}


@pytest.mark.parametrize("task", [0, 1])
def test_learn_descends_cross_entropy_and_penalty(task: int) -> None:
    """CE + lambda * sum of importance * (W - W_old)^2, by the task's own head; pruned weights learn from 0 on."""
    strength = 0.7
    experiment = tiny_experiment("anpyc", options={"strength": strength}, **BUDGET)
    job = tiny_job(experiment, task)
    before = earlier(1, pruned=True) if task else None
    start = before["network"] if before else weights(job.network(None))

    def loss(named: dict[str, Tensor]) -> Tensor:
        pull = sum(
            (importance * (named[name] - before["network"][name]) ** 2).sum()
            for name, importance in (before["importance"] if before else {}).items()
            if before
        )
        return cross_entropy(named, job.task.train, task) + strength * pull

    names = [*shared_of(start), f"heads.{task}.weight", f"heads.{task}.bias"]
    factor = 0.5 if task else 0.9
    expected = descend(start, names, loss, [0.2 * factor ** (epoch // 3) for epoch in range(5)])
    found = call(stages.learn, job, before)
    assert_close(found["network"], expected)
    if before:
        assert identical(found["importance"], before["importance"])
        assert identical(found["mask"], before["mask"])
        assert identical(found["anchor"], shared_of(before["network"]))


def test_a_strong_penalty_keeps_important_weights_where_the_last_task_left_them() -> None:
    before = earlier(1)
    held = before["mask"]  # importance 1 where the mask is 1, none elsewhere
    moved: dict[float, list[float]] = {}
    for strength in (0.0, 4.5):  # 2 * rate * strength = 0.9 < 2: stable
        experiment = tiny_experiment("anpyc", options={"strength": strength}, epochs=20)
        found = call(stages.learn, tiny_job(experiment, 1), {**before, "importance": held})["network"]
        distance = {name: (found[name] - before["network"][name]).abs() for name in held}
        moved[strength] = [
            float(torch.cat([distance[name][held[name] == value] for name in held]).mean()) for value in (1, 0)
        ]
    assert moved[4.5][0] < 0.2 * moved[0.0][0]
    assert moved[4.5][1] > 0.3 * moved[0.0][1]


@pytest.mark.parametrize("task", [0, 1])
def test_prune_is_the_released_loop(task: int) -> None:
    """3.3: in every round importance, the rule per tensor, zeroes, and the same loss with masked gradients."""
    options = anpyc_options(pruning="constant", prune_percent=50, prune_step=20, importance_batch=10, strength=0.7)
    budget = BUDGET | {"epochs": 2}
    experiment = tiny_experiment("anpyc", options=options.model_dump(), **budget)
    job = tiny_job(experiment, task, "prune")
    before = earlier(1, pruned=True)
    state: State = {"network": earlier(7)["network"], "importance": {}, "mask": {}, "anchor": {}}
    if task:
        state |= {**before, "network": state["network"], "anchor": shared_of(before["network"])}

    def loss(named: dict[str, Tensor]) -> Tensor:
        pull = sum((state["importance"][n] * (named[n] - anchor) ** 2).sum() for n, anchor in state["anchor"].items())
        return cross_entropy(named, job.task.train, task) + options.strength * pull

    now: dict[str, Tensor] = state["network"]
    names = [*shared_of(now), f"heads.{task}.weight", f"heads.{task}.bias"]
    for number, percent in enumerate([20, 40, 50]):
        masks = {}
        for name, found in slow_importance(now, job.task.train, task, options).items():
            free = before["mask"][name] == 0 if task else torch.ones_like(found, dtype=torch.bool)
            threshold = np.percentile(found[free], percent)
            gone = free & (found <= threshold) if task else (found < threshold) | (found == 0)
            masks[name] = (~gone).double()
        now = {name: tensor * masks.get(name, 1) for name, tensor in now.items()}
        rates = [0.2 * 0.5 ** (epoch // 3) for epoch in range(2 * (number + 1), 2 * (number + 2))]
        now = descend(now, names, loss, rates, masks)
    outcome = call(stages.prune, job, copy.deepcopy(state))
    assert_close(outcome["mask"], masks)
    assert_close(outcome["network"], now)
    assert_close(outcome["importance"], {name: tensor * masks[name] for name, tensor in state["importance"].items()})


@pytest.mark.parametrize("accumulation", ["sum", "max"])
@pytest.mark.parametrize("task", [0, 2])
def test_consolidate_accumulates(accumulation: str, task: int) -> None:
    """Eq. 8, or the elementwise maximum; by the task's head on its training images, dropout off."""
    options = {"strength": 1.0, "accumulation": accumulation, "importance_batch": 10}
    experiment = tiny_experiment("anpyc", options=options, dropout=0.5)
    job = tiny_job(experiment, task, "consolidate")
    state = earlier(4)
    own = slow_importance(state["network"], job.task.train, task, anpyc_options(**options))
    old = {name: 0.02 * tensor for name, tensor in state["importance"].items()} if task else {}
    merge = np.add if accumulation == "sum" else np.maximum
    expected = {
        name: torch.from_numpy(merge(old[name].numpy(), tensor.numpy())) if task else tensor for name, tensor in own.items()
    }
    found = call(stages.consolidate, job, {**state, "importance": old})
    assert_close(found["importance"], expected, 1e-7)
    assert identical(found["network"], state["network"])
    assert identical(found["mask"], state["mask"])


@pytest.mark.parametrize("moment", [1, 3, 5])
def test_a_killed_prune_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Two rounds of three epochs, killed in the middle and at the end of the first, and in the second."""
    options = {"strength": 1.0, "pruning": "constant", "prune_percent": 30, "prune_step": 15}
    experiment = tiny_experiment("anpyc", options=options, dropout=0.5, momentum=0.9, epochs=3)
    state: State = {**earlier(1), "anchor": shared_of(earlier(2)["network"])}
    undisturbed = tiny_job(experiment, 1, "prune")
    expected = call(stages.prune, undisturbed, state)
    places = Checkpoints(tmp_path, seconds=0)
    accuracy, calls = job_module.accuracy, iter(range(100))

    def dying(*arguments: Any) -> float:
        if next(calls) == moment:
            raise KeyboardInterrupt
        return accuracy(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job_module, "accuracy", dying)
        call(stages.prune, tiny_job(experiment, 1, "prune", checkpoints=places), state)
    resumed = tiny_job(experiment, 1, "prune", checkpoints=places)
    found = call(stages.prune, resumed, state)
    assert all(identical(found[group], expected[group]) for group in expected)
    assert resumed.curve == undisturbed.curve


def test_consolidate_by_sensitivity_is_mas_s_measure() -> None:
    """Fig. 7's ablation: mean over the images of |d ||f||^2 / dW|, image by image."""
    experiment = tiny_experiment("anpyc", options={"strength": 1.0, "measure": "sensitivity"}, dropout=0.5)
    job = tiny_job(experiment, 1, "consolidate")
    before = earlier(1)
    found = call(stages.consolidate, job, before)
    named = {name: tensor.double().requires_grad_() for name, tensor in before["network"].items()}
    shared = shared_of(named)
    expected = {name: before["importance"][name].double() for name in shared}
    for image in torch.from_numpy(pixels(job.task.train)):
        gradients = torch.autograd.grad((forward(named, image, 1) ** 2).sum(), list(shared.values()))
        for name, gradient in zip(shared, gradients, strict=True):
            expected[name] = expected[name] + gradient.abs() / IMAGES
    assert_close(found["importance"], expected)


def test_without_pretraining_rounds_start_from_the_last_task_s_weights() -> None:
    options = {"strength": 1.0, "pretraining": False, "pruning": "constant", "prune_percent": 20}
    experiment = tiny_experiment("anpyc", options=options, learning_rate=0.3)
    before = earlier(1)
    learnt = call(stages.learn, tiny_job(experiment, 1), before)
    assert identical(learnt["network"], before["network"])
    pruned = call(stages.prune, tiny_job(experiment, 1, "prune"), learnt)
    assert not identical(pruned["network"], before["network"])
    last = call(stages.learn, tiny_job(experiment, 2), before)
    assert not identical(last["network"], before["network"])


def test_random_gates_close_the_same_units_while_learning_measuring_and_answering() -> None:
    options = {"strength": 1.0, "pruning": "random-gates", "fraction_off": 0.5, "first_order": "absolute"}
    experiment = tiny_experiment("anpyc", options=options, learning_rate=0.5)
    states = run_chain(experiment)
    assert {stage for _, stage in states} == {"learn", "consolidate"}
    for task in range(3):
        learnt, after = states[task, "learn"], states[task, "consolidate"]
        assert identical(learnt["gates"], states[0, "learn"]["gates"])
        assert identical(after["gates"], learnt["gates"])
        before = states[task - 1, "consolidate"]["importance"] if task else {}
        for layer, table in after["gates"].items():
            closed = table[task] == 0
            assert 0 < closed.sum() < len(closed)
            own = after["importance"][f"{layer}.weight"] - before.get(f"{layer}.weight", 0)
            assert not own[closed].any()
            assert own[~closed].any()
