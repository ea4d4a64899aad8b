"""ARI's stages beside slow restatements in float64, bit for bit where nothing but order differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.resuming import killed_and_resumed
from support.tiny import IMAGES, PER_TASK, assert_close, call, identical, random_like, run_chain, tiny_experiment, tiny_job
from torch import Tensor
from torch.func import functional_call

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.methods.ari import AriOptions, stages
from lifelong.methods.ari.step import TaskModels, flatten_parameters
from lifelong.networks import layers
from lifelong.params.schema import Training
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.exemplars import join_memory, split_of_task
from lifelong.training.job import Job, State, weights
from lifelong.training.optimisers import Optimiser
from lifelong.training.rehearsal import remember

ATTENTION = {"kind": "attention-mlp", "hidden": [6, 5]}
NARROW = {"kind": "attention-resnet18", "shape": "narrow", "widths": [2, 3, 4, 5]}
RATE = 0.3
TWOS = Classes((PER_TASK,) * 3)


def ari_job(task: int, stage: str = "learn", network: dict[str, Any] | None = None, **options: Any) -> Job:
    budget: dict[str, Any] = {"learning_rate": RATE, "batch_size": 100, "epochs": 1}
    budget |= {key: options.pop(key) for key in ("momentum", "batch_size", "epochs") if key in options}
    experiment = tiny_experiment("ari", options={"memory": 12} | options, network=network or ATTENTION, **budget)
    return tiny_job(experiment, task, stage)


def remembered(job: Job, task: int) -> State:
    """What the tasks before `task` leave: random weights, and exemplars of their images."""
    network = job.network(None)
    noise = random_like(dict(network.named_parameters()), 7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(noise[name] - 0.5)
    state: State = {"network": weights(network), "memory": {}}
    for earlier in range(task):
        state = call(remember, ari_job(earlier, "remember"), state)
    return state


def loss_of(network: torch.nn.Module, named: Mapping[str, Tensor], images: Tensor, labels: Tensor, task: int) -> Tensor:
    """-mean of y log p + (1 - y) log(1 - p) over images and the two classes of their task."""
    features = functional_call(network, dict(named), (images, 0))
    terms = []
    for row, label in zip(features, labels.tolist(), strict=True):
        for number in range(PER_TASK):
            p = 1 / (1 + torch.exp(-row[task * PER_TASK + number]))
            terms.append(torch.log(p) if label == task * PER_TASK + number else torch.log(1 - p))
    return -torch.stack(terms).mean()


def mixed(task_models: list[dict[str, Tensor]], base: dict[str, Tensor], fusion: str, session: int) -> dict[str, Tensor]:
    """The next base by the definitions, tensor by tensor."""
    every = [{n: (m[n] - base[n]).abs().sum() for n in base} for m in task_models]
    fused: dict[str, Tensor] = {}
    for name in base:
        stacked = torch.stack([m[name] for m in task_models])
        if fusion == "paper":
            d = torch.stack([torch.stack(list(one.values())).sum() for one in every])
            w = torch.cat([torch.exp(d / d.mean()), torch.ones(1, dtype=d.dtype)])
            stacked = torch.cat([stacked, base[name][None]])
        elif fusion == "intent":
            w = torch.stack([one[name] for one in every]) ** 2 + 0.85
        else:
            w = torch.ones(len(stacked), dtype=torch.float64)
        fused[name] = torch.einsum("m,m...->...", w / w.sum(), stacked)
    share = 0.1 if fusion == "paper" else float(np.exp(-session / 3))
    return {name: share * fused[name] + (1 - share) * base[name] for name in base}


@pytest.mark.parametrize("fusion", ["paper", "intent", "average"])
def test_a_mini_batch_of_three_tasks_is_algorithm_2(fusion: str) -> None:
    """One mini-batch an epoch, two epochs, no attack, no momentum; each task's model starts from the base."""
    rate = "constant" if fusion == "paper" else "exponential"
    job = ari_job(2, fusion=fusion, rate=rate, attack="none", epochs=2)
    before = remembered(job, 2)
    found = call(stages.learn, job, before)["network"]
    network = job.network(before).double()
    train = join_memory(job.task.train, 2, TWOS, before["memory"])
    images = train.images.double() / 255
    now = {name: p.detach() for name, p in network.named_parameters()}
    for _ in range(2):
        models = []
        for task in range(3):
            own = train.targets // PER_TASK == task
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in now.items()}
            gradients = torch.autograd.grad(
                loss_of(network, leaves, images[own], train.targets[own], task), list(leaves.values())
            )
            models.append({n: now[n] - RATE * g for n, g in zip(now, gradients, strict=True)})
        now = mixed(models, now, fusion, 2)
    assert_close(found, now)


def literal_by_hand(job: Job, before: State, epochs: int) -> dict[str, Tensor]:
    """Plain SGD with momentum on each task's images of the batch in turn, then out = base + alpha (last - base)."""
    network = job.network(before).train()
    flatten_parameters(network)  # the same places in memory: a product's rounding depends on its operands' alignment
    parameters = list(network.parameters())
    velocity = [torch.zeros_like(p) for p in parameters]
    train = join_memory(job.task.train, job.task.index, TWOS, before["memory"])
    images, labels = train.batch(torch.arange(len(train)))
    fresh = True
    for _ in range(epochs):
        base = [p.detach().clone() for p in parameters]
        for task in range(job.task.index + 1):
            own = labels // PER_TASK == task
            z = network.all_logits(images[own]).view(-1, 3, PER_TASK)[torch.arange(int(own.sum())), task]
            y = torch.nn.functional.one_hot(labels[own] - task * PER_TASK, PER_TASK).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
            with torch.no_grad():
                for p, v, g in zip(parameters, velocity, torch.autograd.grad(loss, parameters), strict=True):
                    v.copy_(g) if fresh else v.mul_(0.5).add_(g)
                    p.add_(v, alpha=-RATE)
            fresh = False
        with torch.no_grad():
            # As one vector: how a product is rounded depends on where in a vectorised loop it stands.
            start, last = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (base, parameters))
            share = float(np.exp(-job.task.index / 3))
            out = torch.lerp(start, last, share).split([p.numel() for p in parameters])
            for p, part in zip(parameters, out, strict=True):
                p.copy_(part.view_as(p))
    return weights(network)


def test_literal_is_plain_sgd_and_a_pull_back_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randperm", torch.arange)
    job = ari_job(2, fusion="literal", rate="exponential", attack="none", momentum=0.5, epochs=3)
    before = remembered(job, 2)
    assert identical(call(stages.learn, job, before)["network"], literal_by_hand(job, before, 3))


def updater(job: Job, **options: Any) -> tuple[TaskModels, Tensor, Tensor]:
    network = job.network(remembered(job, 0)).train()
    images, labels = Split(job.task.train.images, job.task.train.targets).batch(torch.arange(IMAGES))
    return TaskModels(network, AriOptions(**options), TWOS, 0, 3), images, labels


def test_attack_moves_pixels_up_the_loss_by_finite_differences() -> None:
    """x' - x has the sign of the difference of the cross-entropy over all classes, times epsilon (1 - A^2)."""
    update, images, labels = updater(ari_job(0), epsilon=0.01)
    images = images.clamp(0.1, 0.9)
    network = update.network
    moved = (update.attacked(images, labels) - images).double()
    attention = network.attended(images)[1]  # type: ignore[operator]
    torch.testing.assert_close(moved.abs().float(), (0.01 * (1 - attention**2)).expand_as(images), atol=1e-6, rtol=0)
    network.double()
    x = images.double()
    for place in [(0, 0, 0, 0), (3, 0, 1, 2), (11, 0, 0, 1), (20, 0, 1, 0)]:
        values = []
        for step in (1e-6, -1e-6):
            changed = x.clone()
            changed[place] += step
            z = network.all_logits(changed)
            values.append(torch.stack([torch.log(torch.exp(r).sum()) - r[k] for r, k in zip(z, labels, strict=True)]).mean())
        assert torch.sign(values[0] - values[1]) == torch.sign(moved[place])


def test_the_attack_computes_no_gradients_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for those by the images alone, and afterwards every parameter learns again."""

    def refused(*_: object, **__: object) -> Tensor:
        raise AssertionError("a gradient by a kernel")

    monkeypatch.setattr(layers, "conv2d_weight", refused)
    update, images, labels = updater(ari_job(0))
    update.attacked(images, labels)
    assert all(parameter.requires_grad for parameter in update.parameters)


@pytest.mark.parametrize(("statistics", "moves"), [("training", False), ("released", True)])
def test_the_attack_moves_batch_statistics_only_as_released(
    monkeypatch: pytest.MonkeyPatch, statistics: str, moves: bool
) -> None:
    monkeypatch.setattr(tiny, "SHAPE", (1, 8, 8))
    update, images, labels = updater(ari_job(0, network=NARROW), statistics=statistics)
    before = {name: tensor.clone() for name, tensor in update.network.named_buffers()}
    parameters = update.vector.clone()
    update.attacked(images, labels)
    same = identical(before, {name: tensor.clone() for name, tensor in update.network.named_buffers()})
    assert same != moves
    assert torch.equal(update.vector, parameters)


def stepped(network: torch.nn.Module, images: Tensor, labels: Tensor) -> None:
    loss = loss_of(network, dict(network.named_parameters()), images, labels, 0)
    with torch.no_grad():
        for p, g in zip(network.parameters(), torch.autograd.grad(loss, list(network.parameters())), strict=True):
            p.sub_(RATE * g)


@pytest.mark.parametrize("updates", ["clean-then-attacked", "attacked-only"])
@pytest.mark.parametrize("attack_model", ["updated", "base"])
def test_order_of_updates(updates: str, attack_model: str) -> None:
    """One task, literal, whole share: clean update, attack, attacked update; or the attacked alone."""
    update, images, labels = updater(
        ari_job(0), fusion="literal", rate="exponential", updates=updates, attack_model=attack_model
    )
    other, *_ = updater(ari_job(0))
    optimiser = Optimiser(
        Training(learning_rate=RATE, batch_size=1, epochs=1), ["w"] * len(update.parameters), update.parameters
    )
    update(images, labels, optimiser, RATE)
    changed = other.attacked(images, labels)
    if updates == "clean-then-attacked":
        stepped(other.network, images, labels)
        if attack_model == "updated":
            changed = other.attacked(images, labels)
    stepped(other.network, changed, labels)
    torch.testing.assert_close(update.vector, other.vector, rtol=1e-4, atol=1e-6)


def test_released_perturbation_starts_at_random_within_its_bound() -> None:
    update, images, labels = updater(ari_job(0), perturbation="released", epsilon=0.05, attack="reciprocal")
    torch.manual_seed(0)
    first = update.attacked(images, labels)
    second = update.attacked(images, labels)
    assert not torch.equal(first, second)
    assert (first - images).abs().max() <= 0.05 + 1e-6
    plain, *_ = updater(ari_job(0), epsilon=0.05, attack="reciprocal")
    assert (plain.attacked(images, labels) - images).abs().max() > 0.06


def test_regulariser_pulls_task_models_together() -> None:
    """Its first step acts between task models alone: each starts on the base, where the distance has no slope."""
    moved = {}
    for coefficient in (0.0, 1000.0):
        job = ari_job(1, attack="none", regulariser=coefficient, gamma=1.0)
        before = remembered(job, 1)
        moved[coefficient] = call(stages.learn, job, before)["network"]
    assert not identical(moved[0.0], moved[1000.0])
    single = {}
    for coefficient in (0.0, 1000.0):
        job = ari_job(0, attack="none", regulariser=coefficient)
        single[coefficient] = call(stages.learn, job, None)["network"]
    assert identical(single[0.0], single[1000.0])


def test_the_raw_softmax_warns() -> None:
    with pytest.warns(UserWarning, match="saturates"):
        updater(ari_job(0), distance="raw")


def test_parameters_are_views_of_one_vector() -> None:
    network = ari_job(0).network(None)
    vector = flatten_parameters(network)
    vector.zero_()
    assert all(not p.any() for p in network.parameters())
    with torch.no_grad():
        next(network.parameters()).fill_(1)
    assert vector.sum() == next(network.parameters()).numel()


def test_the_curve_holds_mean_distances_to_the_base() -> None:
    job = ari_job(1, attack="none", fusion="average", rate="constant", gamma=1.0)
    before = remembered(job, 1)
    call(stages.learn, job, before)
    row = job.curve[0]
    assert row["distance_0"] > 0 and row["distance_1"] > 0
    assert "distance_2" not in row
    job = ari_job(0, attack="none", fusion="average", rate="constant", gamma=1.0)
    before = remembered(job, 0)
    after = call(stages.learn, job, before)["network"]
    flat = torch.cat([(after[name] - before["network"][name]).abs().flatten() for name in after])
    assert job.curve[0]["distance_0"] == pytest.approx(float(flat.mean()), rel=1e-4)


@pytest.mark.parametrize("after", [1, 2])
def test_resume_is_bit_for_bit(tmp_path: Path, after: int) -> None:
    def job() -> Job:
        return ari_job(1, momentum=0.5, batch_size=7, epochs=3, perturbation="released")

    before = remembered(job(), 1)
    found = killed_and_resumed(stages.learn, job, before, Checkpoints(tmp_path / "here", seconds=0), after)
    assert identical(found["network"], call(stages.learn, job(), before)["network"])


def test_the_chain_remembers_and_adapts_without_changing_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "SHAPE", (1, 8, 8))
    experiment = tiny_experiment("ari", options={"memory": 12, "meta_epochs": 1}, network=NARROW, epochs=1)
    states = run_chain(experiment)
    assert [stage for task, stage in states if task == 1] == ["learn", "metatrain", "remember", "adapt"]
    assert not identical(states[1, "learn"]["network"], states[1, "metatrain"]["network"])
    assert identical(states[1, "metatrain"]["network"], states[1, "adapt"]["network"])
    assert states[0, "adapt"]["adapted"] == {}
    for task in (1, 2):
        adapted = states[task, "adapt"]["adapted"]
        assert {key.partition("/")[0] for key in adapted} == {str(seen) for seen in range(task + 1)}
        for seen in range(task + 1):
            own = {key.partition("/")[2]: t for key, t in adapted.items() if key.startswith(f"{seen}/")}
            assert own.keys() == states[task, "adapt"]["network"].keys()
            assert not identical(own, states[task, "adapt"]["network"])
    labels = states[2, "adapt"]["memory"]["labels"]
    assert labels.bincount().tolist() == [2] * 6
    assert split_of_task(states[2, "adapt"]["memory"], 1, TWOS, tiny_job(experiment, 2).task.train).targets.tolist() == [
        2,
        2,
        3,
        3,
    ]


def test_adapting_lowers_the_loss_on_the_exemplars_of_its_task() -> None:
    options: dict[str, Any] = {"attack": "none", "adapt_epochs": 20, "adapt_rate": 0.05}
    before = remembered(ari_job(1, "remember"), 2)
    state = call(stages.adapt, ari_job(1, "adapt", **options), before)
    network = ari_job(1).network(before)
    split = split_of_task(before["memory"], 0, TWOS, ari_job(1).task.train)
    images, labels = split.batch(torch.arange(len(split)))
    losses = []
    own = {key.partition("/")[2]: t for key, t in state["adapted"].items() if key.startswith("0/")}
    for named in (before["network"], own):
        losses.append(float(loss_of(network, named, images, labels, 0)))
    assert losses[1] < losses[0] - 0.05
