"""ER, GEM, A-GEM and iCaRL beside explicit statements; the losses they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from support.tiny import (
    PER_TASK,
    assert_close,
    call,
    cross_entropy,
    descend,
    forward,
    pixels,
    run_chain,
    tiny_experiment,
    tiny_job,
)

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.evaluation.answers import prototype_logits
from lifelong.methods.gem.agem import deflect_gradient
from lifelong.methods.gem.gem import project_gradient
from lifelong.methods.icarl import stages as icarl
from lifelong.params.methods import Heads
from lifelong.training.exemplars import split_of_task
from lifelong.training.flat import flatten_gradients, write_gradients
from lifelong.training.job import Job, weights
from lifelong.training.losses import cross_entropy_over_tasks, slice_cross_entropy
from lifelong.training.rehearsal import remember, replay_objective

LOGITS = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 2])


def test_slice_cross_entropy_is_equation_4() -> None:
    terms = []
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        for place in (0, 1):
            p = 1 / (1 + np.exp(-row[label // 2 * 2 + place]))
            terms.append(-np.log(p) if place == label % 2 else -np.log(1 - p))
    assert float(slice_cross_entropy(LOGITS, LABELS, Classes((2, 2, 2)))) == pytest.approx(np.mean(terms))


@pytest.mark.parametrize("heads", ["per-task", "all-classes", "shared"])
def test_cross_entropy_of_several_tasks(heads: Heads) -> None:
    z = LOGITS[:, :2] if heads == "shared" else LOGITS
    terms = []
    for row, label in zip(z.tolist(), LABELS.tolist(), strict=True):
        first = label // 2 * 2
        row, label = {
            "per-task": (row[first : first + 2], label % 2),
            "all-classes": (row, label),
            "shared": (row, label % 2),
        }[heads]
        terms.append(np.log(np.exp(row).sum()) - row[label])
    assert float(cross_entropy_over_tasks(z, LABELS, heads, Classes((2, 2, 2)))) == pytest.approx(np.mean(terms))


def rehearsal_job(method: str, task: int, stage: str = "learn", **options: object) -> Job:
    own = {"memory": 12} | options
    experiment = tiny_experiment(method, heads="all-classes", options=own, learning_rate=0.1, batch_size=100, epochs=1)
    return tiny_job(experiment, task, stage)


def test_er_averages_over_the_batch_and_as_many_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Split(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), torch.arange(5))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append((images, labels))
        return images.mean()

    drawn = torch.tensor([4, 0, 4])
    monkeypatch.setattr(torch, "randint", lambda high, shape: drawn if (high, shape) == (5, (3,)) else None)
    replay_objective(loss, memory, 6)(torch.ones(3, 1, 1, 1), torch.tensor([0, 1, 1]))
    images, labels = seen[0]
    torch.testing.assert_close(images.flatten(), torch.tensor([1, 1, 1, 4 / 255, 0, 4 / 255]))
    assert labels.tolist() == [6, 7, 7, 4, 0, 4]
    replay_objective(loss, None, 2)(torch.ones(3, 1, 1, 1), torch.tensor([0, 1, 1]))
    assert seen[1][1].tolist() == [2, 3, 3]


@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 0.5]))
def test_gem_solves_its_quadratic_programme(seed: int, tasks: int, margin: float) -> None:
    random = np.random.default_rng(seed)
    g, earlier = random.normal(size=6), random.normal(size=(tasks, 6))
    found = project_gradient(torch.from_numpy(g), torch.from_numpy(earlier), margin).numpy()
    if (earlier @ g >= 0).all():
        np.testing.assert_array_equal(found, g)
        return
    gram = earlier @ earlier.T + 1e-3 * np.eye(tasks)
    best = minimize(
        lambda v: v @ gram @ v / 2 + (earlier @ g) @ v,
        np.full(tasks, margin + 1),
        jac=lambda v: gram @ v + earlier @ g,
        bounds=[(margin, None)] * tasks,
        method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-10},
    )
    np.testing.assert_allclose(found, g + earlier.T @ best.x, atol=1e-4)
    assert (earlier @ found >= -0.05).all()


@given(st.integers(0, 10**6))
def test_agem_removes_what_opposes_the_reference(seed: int) -> None:
    g, r = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = deflect_gradient(g, r)
    if g @ r >= 0:
        assert found is g
    else:
        assert float(found @ r) == pytest.approx(0, abs=1e-9)
        assert torch.linalg.matrix_rank(torch.stack([found - g, r])) == 1


@pytest.mark.parametrize("method", ["gem", "agem"])
def test_projected_steps_are_descent_along_the_projected_gradient(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """One step of one mini-batch in float64: the gradients of task and memory by name, projected, times the rate."""
    job = rehearsal_job(method, 1)
    before = {"network": weights(job.network(None)), "memory": {}}
    before = call(remember, rehearsal_job("er", 0, "remember"), before)
    monkeypatch.setattr(torch, "randint", lambda high, _: torch.arange(high))  # A-GEM's batch: the whole memory
    found = call(job.experiment.method.stage("learn").function, job, before)
    names = list(before["network"])

    def gradient(split: Split, offset: int) -> torch.Tensor:
        moved = descend(before["network"], names, lambda w: cross_entropy(w, split, 0, offset), [1.0])
        return torch.cat([(before["network"][name].double() - moved[name]).flatten() for name in names])

    own, earlier = (
        gradient(job.task.train, PER_TASK),
        gradient(split_of_task(before["memory"], 0, job.classes, job.task.train), 0),
    )
    assert own @ earlier < 0
    step = project_gradient(own, earlier[None], 0.5) if method == "gem" else deflect_gradient(own, earlier)
    start = torch.cat([before["network"][name].double().flatten() for name in names])
    sizes = [before["network"][name].numel() for name in names]
    expected = (start - 0.1 * step).split(sizes)
    assert_close(found["network"], {n: e.view_as(before["network"][n]) for n, e in zip(names, expected, strict=True)})


def test_flat_gradients_return_to_their_places() -> None:
    gradients = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([5.0])}
    vector = flatten_gradients(list(gradients.values()))
    assert vector.tolist() == [1, 2, 3, 4, 5]
    write_gradients(gradients, 10 * vector)
    assert gradients["a"].tolist() == [[10, 20], [30, 40]] and gradients["b"].tolist() == [50]


def test_icarl_wants_old_outputs_of_old_classes_and_labels_of_new_ones() -> None:
    job = rehearsal_job("icarl", 1)
    network, old = job.network(None), job.network(None)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    images, labels = torch.rand(4, 1, 2, 3), torch.tensor([0, 1, 2, 3])
    found = icarl.distilling_objective(network, old, 2, 4)(images, labels)
    new, was = (forward(weights(n), images.flatten(1), 0).detach() for n in (network, old))
    total = 0.0
    for i in range(4):
        for c in range(4):
            p = 1 / (1 + np.exp(-float(new[i, c])))
            y = 1 / (1 + np.exp(-float(was[i, c]))) if c < 2 else float(labels[i] == c)
            total -= y * np.log(p) + (1 - y) * np.log(1 - p)
    assert found.item() == pytest.approx(total / 4, rel=1e-5)
    first = icarl.distilling_objective(network, None, 0, 2)(images[:2], labels[:2])
    p = 1 / (1 + np.exp(-new[:2, :2].double().numpy()))
    assert first.item() == pytest.approx(-np.log([p[0, 0], 1 - p[0, 1], 1 - p[1, 0], p[1, 1]]).sum() / 2, rel=1e-5)


def test_icarl_answers_by_the_nearest_mean_of_exemplars() -> None:
    states = run_chain(tiny_experiment("icarl", options={"memory": 12}, epochs=1))
    state = states[1, "remember"]
    job = rehearsal_job("icarl", 1)
    network = job.network(state)
    named = {name: tensor.double().numpy() for name, tensor in state["network"].items()}

    def unit(split: Split) -> np.ndarray:
        x = pixels(split)
        for layer in (0, 1):
            x = np.maximum(x @ named[f"hidden.{layer}.weight"].T + named[f"hidden.{layer}.bias"], 0)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    labels = state["memory"]["labels"]
    means = []
    for label in range(4):
        own = unit(Split(state["memory"]["images"][labels == label], labels[labels == label])).mean(0)
        means.append(own / np.linalg.norm(own))
    found = prototype_logits(network, job.task.validation, state["prototypes"]["means"])
    expected = [[-((x - mean) ** 2).sum() for mean in means] for x in unit(job.task.validation)]
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-5)
    assert (found[:, 4:] == -torch.inf).all()


@pytest.mark.parametrize("method", ["er", "gem", "agem", "icarl"])
def test_chains_keep_a_memory_under_its_quota(method: str) -> None:
    states = run_chain(tiny_experiment(method, options={"memory": 13}, epochs=1))
    assert [states[task, "remember"]["memory"]["labels"].bincount().tolist() for task in range(3)] == [
        [6] * 2,
        [3] * 4,
        [2] * 6,
    ]
