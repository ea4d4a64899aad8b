"""The training loop: the SGD step, the learning rate, what is frozen, and going on after a kill bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import PIXELS, identical, pixels, tiny_split
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.mlp import Mlp
from lifelong.params.schema import Training
from lifelong.runtime.errors import UserError
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit, Schedule
from lifelong.training.penalties import QuadraticPenalty

RATE, EVERY, FACTOR = 0.5, 2, 0.4


def perceptron(*hidden: int, dropout: float = 0.0) -> Mlp:
    network = Mlp(PIXELS, hidden, [2, 2], dropout)
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


def fit(network: Mlp, train: Split, *, epochs: int = 5, batch: int = 100, momentum: float = 0.0, **changes: Any) -> Fit:
    budget = Training(learning_rate=RATE, batch_size=batch, epochs=epochs, momentum=momentum)
    usual: dict[str, Any] = {
        "name": "learn",
        "objective": lambda images, targets: F.cross_entropy(network(images, 0), targets),
        "schedule": Schedule(RATE, FACTOR, EVERY),
        "seed": (0, "here"),
        "trainable": [name for name, _ in network.named_parameters() if not name.startswith("heads.1.")],
        "validation": lambda: 0.25,
        "checkpoints": Checkpoints(Path("none"), seconds=math.inf),
    }
    return Fit(network=network, train=train, budget=budget, **(usual | changes))


def run(job: Fit) -> list[dict[str, Any]]:
    with Progress("test", job.budget.epochs) as progress:
        return job.run(progress)


@given(st.floats(1e-3, 1), st.floats(0.1, 1), st.integers(1, 7), st.integers(0, 40))
def test_schedule_is_a_staircase(initial: float, factor: float, every: int, epoch: int) -> None:
    rate = initial
    for passed in range(1, epoch + 1):
        if passed % every == 0:
            rate *= factor
    assert Schedule(initial, factor, every)(epoch) == pytest.approx(rate)


@given(st.floats(0.1, 1), st.lists(st.integers(1, 9), max_size=3), st.integers(0, 12))
def test_schedule_falls_at_milestones(factor: float, milestones: list[int], epoch: int) -> None:
    rate = 0.5
    for passed in range(1, epoch + 1):
        rate *= factor ** milestones.count(passed)
    assert Schedule(0.5, factor, None, tuple(milestones))(epoch) == pytest.approx(rate)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("held", ["free", "penalty", "mask", "penalty and mask"])
@pytest.mark.parametrize("offset", [0, 3])
def test_steps_follow_the_closed_form(momentum: float, held: str, offset: int) -> None:
    """Logistic regression: v <- m v + mask * ((p - y)^T x / n + 2 s I (W - A)) and W <- W - rate * v, in numpy."""
    split = tiny_split(0)
    network = perceptron()
    random = np.random.default_rng(1)
    start = {name: p.detach().double().numpy().copy() for name, p in network.named_parameters() if "heads.0" in name}
    anchor, importance = ({name: random.random(w.shape) for name, w in start.items()} for _ in range(2))
    mask = {name: (random.random(w.shape) < 0.5).astype(float) for name, w in start.items()}
    strength = 0.3 if "penalty" in held else 0.0
    x, y = pixels(split), np.eye(2)[split.targets.numpy()]
    w, v = {name: array.copy() for name, array in start.items()}, {name: np.zeros(a.shape) for name, a in start.items()}
    losses, penalties = [], []
    for epoch in range(5):
        z = x @ w["heads.0.weight"].T + w["heads.0.bias"]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        losses.append(-np.log((p * y).sum(1)).mean())
        gradient = {"heads.0.weight": (p - y).T @ x / len(x), "heads.0.bias": (p - y).mean(0)}
        for name in w:
            step = gradient[name] + 2 * strength * importance[name] * (w[name] - anchor[name])
            v[name] = momentum * v[name] + step * (mask[name] if "mask" in held else 1)
            w[name] = w[name] - RATE * FACTOR ** ((offset + epoch) // EVERY) * v[name]
        penalties.append(sum(strength * (importance[name] * (w[name] - anchor[name]) ** 2).sum() for name in w))
    tensors = [
        {name: torch.from_numpy(array).float() for name, array in named.items()} for named in (importance, anchor, mask)
    ]
    curve = run(
        fit(
            network,
            split,
            momentum=momentum,
            penalty=QuadraticPenalty(strength, tensors[0], tensors[1]) if "penalty" in held else None,
            masks=tensors[2] if "mask" in held else {},
            epoch_offset=offset,
        )
    )
    found = dict(network.named_parameters())
    for name in w:
        np.testing.assert_allclose(found[name].detach(), w[name], rtol=1e-4, atol=1e-5)
        if "mask" in held:
            np.testing.assert_array_equal(found[name].detach().numpy()[mask[name] == 0], start[name][mask[name] == 0])
    rates = [RATE * FACTOR ** ((offset + epoch) // EVERY) for epoch in range(5)]
    assert [row["epoch"] for row in curve] == list(range(5))
    assert [row["learning_rate"] for row in curve] == pytest.approx(rates)
    assert [row["loss"] for row in curve] == pytest.approx(losses, rel=1e-4)
    assert [row["penalty"] for row in curve] == pytest.approx(penalties, rel=1e-4)
    assert {(row["fit"], row["validation_accuracy"]) for row in curve} == {("learn", 0.25)}


def test_what_is_not_trainable_keeps_its_bits() -> None:
    network = perceptron(4, 3, dropout=0.5)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    trainable = ["hidden.1.weight", "heads.0.bias"]
    run(fit(network, tiny_split(0), batch=5, momentum=0.9, trainable=trainable))
    assert {name for name, p in network.named_parameters() if not torch.equal(p, before[name])} == set(trainable)


def test_every_epoch_is_another_order_of_all_images() -> None:
    count = 50
    numbered = Split(
        torch.arange(count, dtype=torch.uint8).repeat_interleave(PIXELS).view(count, 1, 1, PIXELS), torch.zeros(count).long()
    )
    network = perceptron()
    batches: list[list[int]] = []

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        batches.append((images[:, 0, 0, 0] * 255).round().int().tolist())
        return F.cross_entropy(network(images, 0), targets)

    run(fit(network, numbered, epochs=3, batch=20, objective=objective))
    assert [len(batch) for batch in batches] == [20, 20, 10] * 3
    orders = [[image for batch in batches[at : at + 3] for image in batch] for at in (0, 3, 6)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(count)]}) == 4


class Killed(Exception):
    pass


def dying(at: int) -> Callable[[], float]:
    """A validation that raises in its call number `at`."""
    calls = iter(range(1000))

    def validation() -> float:
        if (call := next(calls)) == at:
            raise Killed
        return call / 10

    return validation


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("killed_in", range(5))
def test_resume_after_any_epoch_is_bit_for_bit(tmp_path: Path, momentum: float, killed_in: int) -> None:
    def one(at: int, places: Checkpoints, first: int = 0) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        network = perceptron(4, 3, dropout=0.5)
        torch.manual_seed(at + first)
        validation = dying(at)
        for _ in range(first):
            validation()
        curve = run(fit(network, tiny_split(0), batch=7, momentum=momentum, checkpoints=places, validation=validation))
        return network.state_dict(), curve

    expected, curve = one(99, Checkpoints(Path("none"), seconds=math.inf))
    places = Checkpoints(tmp_path / "here", seconds=0)
    with pytest.raises(Killed):
        one(killed_in, places)
    found, resumed = one(99, places, first=killed_in)  # the curve differs if an epoch is run again or left out
    assert identical(found, expected)
    assert resumed == curve
    places.remove()
    assert not places.folder.exists()


class Normalised(nn.Module):
    """Linear classifier behind batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm1d(PIXELS)
        self.head = nn.Linear(PIXELS, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.normalise(images.flatten(1)))


def test_resume_brings_back_buffers_and_the_optimiser_s_memory(tmp_path: Path) -> None:
    """Killed after the second epoch of three, with Adam and the running statistics of batch normalisation."""

    def job(epochs: int, folder: str) -> tuple[nn.Module, Fit]:
        torch.manual_seed(0)
        network = Normalised()
        made = fit(
            network,  # type: ignore[arg-type]
            tiny_split(0),
            batch=5,
            objective=lambda images, targets: F.cross_entropy(network(images), targets),
            trainable=[name for name, _ in network.named_parameters()],
            checkpoints=Checkpoints(tmp_path / folder, seconds=0),
            epochs=epochs,
        )
        made.budget = made.budget.model_copy(update={"optimiser": "adam"})
        return network, made

    whole, uninterrupted = job(3, "whole")
    run(uninterrupted)
    _, killed = job(2, "cut")
    run(killed)
    resumed, again = job(3, "cut")
    run(again)
    assert identical(whole.state_dict(), resumed.state_dict())


def test_dropout_is_on_in_every_batch_whatever_validation_does() -> None:
    network = perceptron(4, dropout=0.5)
    modes: list[bool] = []

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        modes.append(network.training)
        return F.cross_entropy(network(images, 0), targets)

    run(
        fit(
            network.eval(),
            tiny_split(0),
            epochs=2,
            batch=8,
            objective=objective,
            validation=lambda: len(network.eval().heads),
        )
    )
    assert modes == [True] * 6


@pytest.mark.parametrize("part", ["seed", "name"])
def test_order_and_dropout_depend_on_the_job(part: str) -> None:
    found: list[dict[str, Tensor]] = []
    for value in ("a", "a", "b"):
        network = perceptron(4, dropout=0.5)
        torch.manual_seed(len(found))
        named: dict[str, Any] = {part: (value,) if part == "seed" else value}
        run(fit(network, tiny_split(0), batch=7, **named))
        found.append(network.state_dict())
    assert identical(found[0], found[1])
    assert not identical(found[0], found[2])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_divergence_names_the_epoch(bad: float) -> None:
    network = perceptron()
    calls = iter(range(100))

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(network(images, 0), targets) * (bad if next(calls) == 2 else 1)

    with pytest.raises(UserError, match=r"learn.*epoch 2\b.*lower the learning rate"):
        run(fit(network, tiny_split(0), objective=objective))


def test_a_blow_up_in_the_last_update_is_named() -> None:
    """The loss of an epoch is taken before its last update; the weights show what that did."""
    network = perceptron()

    def steep(images: Tensor, targets: Tensor) -> Tensor:
        return 1e6 * F.cross_entropy(network(images, 0), targets)

    with pytest.raises(UserError, match=r"sum of the weights is .*epoch 0\b.*lower the learning rate"):
        run(fit(network, tiny_split(0), epochs=1, objective=steep, schedule=Schedule(1e38, 1, 1)))


def test_an_overflowing_penalty_is_named() -> None:
    network = perceptron()
    weights = {name: tensor.detach() for name, tensor in network.named_parameters() if name.startswith("heads.0")}
    importance = {name: torch.full_like(tensor, 1e38) for name, tensor in weights.items()}
    penalty = QuadraticPenalty(1.0, importance, {name: tensor - 1e3 for name, tensor in weights.items()})
    with pytest.raises(UserError, match=r"the penalty is (inf|nan) in epoch 0\b"):
        run(fit(network, tiny_split(0), epochs=1, penalty=penalty, schedule=Schedule(0.0, 1, 1)))
