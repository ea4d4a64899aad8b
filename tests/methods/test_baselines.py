"""The baselines: what each trains and by which loss, beside explicit gradient descent in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import (
    IMAGES,
    PER_TASK,
    SHAPE,
    assert_close,
    call,
    cross_entropy,
    descend,
    earlier,
    forward,
    identical,
    pixels,
    run_chain,
    shared_of,
    tiny_experiment,
    tiny_job,
    tiny_split,
    tiny_task,
)
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.methods.ewc import stages as ewc
from lifelong.methods.joint import stages as joint
from lifelong.networks.create import new_network
from lifelong.params.methods import Heads
from lifelong.training.importance import fisher_diagonal
from lifelong.training.job import State, weights
from lifelong.training.losses import cross_entropy_over_tasks

FULL: dict[str, Any] = {"epochs": 5, "decay_factor": 0.5, "decay_every": 2, "learning_rate": 0.3}
RATES = [0.3, 0.3, 0.15, 0.15, 0.075]
STRENGTH = 3.0


def learn(job: Any, state: State | None) -> State:
    return call(job.experiment.method.stage("learn").function, job, state)


@pytest.mark.parametrize("task", [0, 1, 2])
@pytest.mark.parametrize(
    ("method", "heads"),
    [
        ("finetune", "per-task"),
        ("sgd", "shared"),
        ("sgd", "all-classes"),
        ("sgd-f", "per-task"),
        ("sgd-f", "shared"),
        ("ewc", "per-task"),
        ("ewc", "all-classes"),
    ],
)
def test_learn_descends_its_loss(method: str, heads: str, task: int) -> None:
    """The task's cross-entropy under its own head (EWC: + lambda/2 sum F (W - W_old)^2); all else keeps its bits."""
    options = {"strength": STRENGTH} if method == "ewc" else {}
    job = tiny_job(tiny_experiment(method, options=options, heads=heads, batch_size=IMAGES, **FULL), task)
    before = earlier(job) if task else None
    start = before["network"] if before else weights(job.network(None))
    head, offset = (task, 0) if heads == "per-task" else (0, task * PER_TASK if heads == "all-classes" else 0)
    frozen = method == "sgd-f" and task > 0
    names = [f"heads.{head}.weight", f"heads.{head}.bias", *([] if frozen else shared_of(start))]

    def loss(named: dict[str, Tensor]) -> Tensor:
        value = cross_entropy(named, job.task.train, head, offset)
        if method == "ewc" and before:
            for name, fisher in before["importance"].items():
                value = value + STRENGTH / 2 * (fisher * (named[name] - before["network"][name]) ** 2).sum()
        return value

    found = learn(job, before)
    assert_close(found["network"], descend(start, names, loss, RATES))
    changed = {name for name, tensor in found["network"].items() if not torch.equal(tensor, start[name])}
    assert changed == set(names)


def test_the_order_of_images_is_the_seed_s() -> None:
    """From the same weights, on the same images."""
    experiment = tiny_experiment("finetune")
    state = earlier(tiny_job(experiment, 1))
    found = [learn(tiny_job(experiment, 1, seed=seed), state)["network"] for seed in (0, 0, 1)]
    assert identical(found[0], found[1])
    assert not identical(found[0], found[2])


@pytest.mark.parametrize(("method", "heads"), [("sgd", 1), ("finetune", 3), ("sgd-f", 3), ("ewc", 3), ("joint", 3)])
def test_usual_number_of_heads(method: str, heads: int) -> None:
    experiment = tiny_experiment(method, options={"strength": 1.0} if method == "ewc" else {})
    assert len(new_network(experiment, SHAPE, Classes((PER_TASK,) * 3), 0).heads) == heads


def test_earlier_answers_behind_frozen_features_keep_their_bits() -> None:
    states = run_chain(tiny_experiment("sgd-f", dropout=0.5, momentum=0.9))
    experiment = tiny_experiment("sgd-f")
    images = tiny_task(0).validation.batch(torch.arange(9))[0]
    answers = []
    for task in range(3):
        network = tiny_job(experiment, task).network(states[task, "learn"]).eval()
        with torch.no_grad():
            answers.append([network(images, head) for head in range(3)])
    for task in (1, 2):
        for head in range(3):
            assert torch.equal(answers[task][head], answers[task - 1][head]) == (head != task)


def slow_joint(named: dict[str, Tensor], data: Split, heads: str) -> Tensor:
    """Mean over images of -log softmax of class c among the outputs that compete for it; targets number all classes."""
    losses = []
    for image, target in zip(torch.from_numpy(pixels(data)), data.targets.tolist(), strict=True):
        task, label = divmod(target, PER_TASK)
        head, place = {"per-task": (task, label), "shared": (0, label), "all-classes": (0, target)}[heads]
        z = forward(named, image, head)
        losses.append(-torch.log(torch.exp(z[place]) / torch.exp(z).sum()))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
def test_joint_learns_the_union_of_the_tasks(heads: str) -> None:
    job = tiny_job(tiny_experiment("joint", heads=heads, batch_size=3 * IMAGES, **FULL), 2)
    parts = [(task.train.images, task.train.targets + number * PER_TASK) for number, task in enumerate(job.data)]
    union = Split(torch.cat([images for images, _ in parts]), torch.cat([targets for _, targets in parts]))
    start = weights(job.network(None))
    expected = descend(start, list(start), lambda named: slow_joint(named, union, heads), RATES)
    found = call(joint.learn, job, None)["network"]
    assert_close(found, expected)
    assert not any(torch.equal(found[name], start[name]) for name in start)


@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
def test_cross_entropy_over_tasks_image_by_image(heads: Heads) -> None:
    """With logits so far apart that a wrong competitor would decide, and its gradient."""
    network = tiny_job(tiny_experiment("joint", heads=heads), 2).network(None).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("heads.") and name.endswith("bias"):
                parameter.add_(8.0 * int(name.split(".")[1]))
    mixed = Split(tiny_split(5).images, torch.arange(IMAGES) % (3 * PER_TASK))
    leaves = {name: p.detach().double().requires_grad_() for name, p in network.named_parameters()}
    expected = slow_joint(leaves, mixed, heads)
    images, labels = mixed.batch(torch.arange(IMAGES))
    found = cross_entropy_over_tasks(network.all_logits(images), labels, heads, Classes((PER_TASK,) * 3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = zip(
        leaves,
        torch.autograd.grad(found, list(network.parameters())),
        torch.autograd.grad(expected, list(leaves.values())),
        strict=True,
    )
    for name, by_code, by_image in gradients:
        torch.testing.assert_close(by_code.double(), by_image, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("task", [0, 1])
def test_ewc_sums_the_fisher_of_every_task(task: int) -> None:
    """By the task's own head, over its training images, dropout off; the network is handed on as it is."""
    options = {"strength": STRENGTH, "fisher_batch": 7}
    job = tiny_job(tiny_experiment("ewc", options=options, dropout=0.5), task, "consolidate")
    state = earlier(job)
    without_dropout = tiny_job(tiny_experiment("ewc", options=options), task).network(state)
    own = fisher_diagonal(without_dropout, tiny_task(task).train, task, 100)
    if task == 0:
        state["importance"] = {}
    expected = {name: tensor + state["importance"].get(name, 0) for name, tensor in own.items()}
    found = call(ewc.consolidate, job, state)
    assert_close(found["importance"], expected, 1e-8)
    assert identical(found["network"], state["network"])
