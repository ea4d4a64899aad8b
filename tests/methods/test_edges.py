"""Projections, solvers, penalties and masks at the edges: any size of number, ties, zeros and duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import call, run_chain, tiny_experiment, tiny_job, tiny_split
from torch import Tensor, nn

from lifelong.methods.ari.fusion import softmax_weights
from lifelong.methods.gem.agem import deflect_gradient
from lifelong.methods.gem.gem import project_gradient
from lifelong.methods.split2meta.null_space import find_subspace
from lifelong.networks.attention_resnet18 import AttentionResNet18, GeneralisedMean
from lifelong.networks.base import Network, initialise, shared_names
from lifelong.networks.layers import Linear
from lifelong.runtime.errors import Diverged, UserError
from lifelong.training.exemplars import herding
from lifelong.training.importance import (
    batch_sensitivity,
    fisher_diagonal,
    output_sensitivity,
    record_layers,
    shared_layers,
)
from lifelong.training.penalties import QuadraticPenalty

exponents = st.integers(-20, 20)
directions = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]), min_size=3, max_size=3)


@given(directions, directions, exponents, exponents)
def test_agem_never_opposes_the_reference(g: list[float], r: list[float], size_g: int, size_r: int) -> None:
    gradient, reference = (torch.tensor(v) * 10.0**e for v, e in ((g, size_g), (r, size_r)))
    found = deflect_gradient(gradient, reference)
    a, b = np.array(g), np.array(r)
    expected = a if a @ b >= 0 else a - (a @ b) / (b @ b) * b
    np.testing.assert_allclose(found.double() / 10.0**size_g, expected, atol=1e-5)


def test_agem_as_reported() -> None:
    found = deflect_gradient(torch.tensor([1, -2, 0.5]), 1e-23 * torch.tensor([-1.0, 0, -1]))
    torch.testing.assert_close(found, torch.tensor([0.25, -2, -0.25]))


@given(directions, st.lists(directions, min_size=1, max_size=4), exponents, st.sampled_from([0.0, 0.5]), st.booleans())
def test_gem_agrees_with_earlier_tasks_at_any_size(
    g: list[float], rows: list[list[float]], size: int, margin: float, twice: bool
) -> None:
    """Multiplicity, zeros and size of the gradients change nothing: G g' >= 0 but for the ridge and rounding."""
    earlier = torch.tensor(rows * (1 + twice)) * 10.0**size
    gradient = torch.tensor(g) * 10.0**size
    found = project_gradient(gradient, earlier, margin)
    assert found.isfinite().all()
    if (earlier.double() @ gradient.double() >= 0).all():
        assert torch.equal(found, gradient)
    elif size > 0:  # the ridge of 1e-3 rules below
        products = earlier.double() @ found.double() / 10.0 ** (2 * size)
        assert (products >= -1e-4).all()


def test_gem_of_gradients_that_are_not_finite_says_so() -> None:
    with pytest.raises(Diverged, match="not finite"):
        project_gradient(torch.tensor([torch.nan, 1]), torch.ones(2, 2), 0.5)


@given(st.lists(exponents, min_size=2, max_size=5), exponents)
def test_the_quadratic_penalty_has_its_gradient_at_any_size(weights: list[int], away: int) -> None:
    weight = torch.tensor([10.0**e for e in weights], dtype=torch.float64)
    penalty = QuadraticPenalty(0.5, {"w": weight}, {"w": torch.zeros(len(weights), dtype=torch.float64)})
    w = torch.full((len(weights),), 10.0**away, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(penalty.value({"w": w}), w)
    found = [torch.zeros_like(w)]
    penalty.add_gradient_(["w"], [w.detach()], found)
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=0)


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4), exponents, st.sampled_from([0.0, 0.01, 0.5]))
def test_null_space_is_a_projection_at_any_size(vector: list[int], size: int, threshold: float) -> None:
    v = torch.tensor(vector, dtype=torch.float64)
    space = find_subspace(torch.outer(v, v) * 10.0**size, "energy", threshold)
    update = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    once = space.project(update)
    torch.testing.assert_close(space.project(once), once, rtol=1e-5, atol=1e-5)
    assert (once.double() @ v).norm() <= 1e-5 * (1 + v.norm())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), exponents)
def test_fusion_weights_sum_to_one_at_any_size(distances: list[float], size: int) -> None:
    found = softmax_weights(torch.tensor([[*distances, 0.0]]) * 10.0**size, 7, "relative")
    assert found.sum().item() == pytest.approx(1, abs=1e-6)


@given(st.lists(directions, min_size=1, max_size=6), exponents)
def test_herding_chooses_each_image_once(rows: list[list[float]], size: int) -> None:
    found = herding(torch.tensor(rows) * 10.0**size, len(rows)).tolist()
    assert sorted(found) == list(range(len(rows)))


BUDGETS: tuple[dict[str, Any], ...] = (
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "momentum": 0.9},
    {"weight_decay": 0.1, "optimiser": "adam", "learning_rate": 0.01},
    {"weight_decay": 0.1, "optimiser": "radam", "learning_rate": 0.01},
)


@pytest.mark.parametrize("budget", BUDGETS)
def test_hat_keeps_what_is_in_use(budget: dict[str, Any]) -> None:
    """Weight decay and what the optimiser remembers are part of the update: a weight in use by an earlier task stays."""
    experiment = tiny_experiment("hat", **budget)
    state = call(experiment.method.stage("learn").function, tiny_job(experiment, 0), None)
    state["gates"] = {name: table.clone() for name, table in state["gates"].items()}
    for table in state["gates"].values():
        table[0] = 1.0
    after = call(experiment.method.stage("learn").function, tiny_job(experiment, 1), state)
    for name, before in state["network"].items():
        if name.startswith("hidden.") and not name.startswith("hidden.0.weight"):
            assert torch.equal(after["network"][name], before), name
    assert torch.equal(after["network"]["hidden.0.weight"], state["network"]["hidden.0.weight"])


@pytest.mark.parametrize("budget", BUDGETS)
def test_pruned_weights_stay_pruned(budget: dict[str, Any]) -> None:
    experiment = tiny_experiment("anpyc", options={"strength": 0.01}, **budget)
    learn, prune = (experiment.method.stage(name).function for name in ("learn", "prune"))
    learnt = call(learn, tiny_job(experiment, 0), None)
    state = call(prune, tiny_job(experiment, 0, "prune"), learnt)
    for name, mask in state["mask"].items():
        assert (state["network"][name][mask == 0] == 0).all()


def test_frozen_features_do_not_move_with_batch_normalisation() -> None:
    """Running statistics and affine parameters are features too: a later task leaves them, so earlier answers stay."""
    states = run_chain(tiny_experiment("sgd-f", heads="per-task", network={"kind": "preact-resnet", "width": 2}))
    first, last = states[0, "learn"]["network"], states[2, "learn"]["network"]
    moved = [name for name in first if not name.startswith("heads.") and not torch.equal(first[name], last[name])]
    assert moved == []


def test_a_single_image_under_batch_normalisation_is_refused_before_the_first_epoch() -> None:
    network = {"kind": "preact-resnet", "width": 2}
    experiment = tiny_experiment("finetune", network=network, batch_size=23)  # 24 images: the last batch has one
    with pytest.raises(UserError, match=r"may leave one alone.*'blocks.\d.norm2'.*another batch_size"):
        run_chain(experiment)
    run_chain(tiny_experiment("finetune", network=network, batch_size=22))


class Odd(Network):
    """A network with parameters in layers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding="same")
        self.norm = nn.GroupNorm(2, 4)
        self.pool = GeneralisedMean()
        self.plain = Linear(4, 3, bias=False)
        self.heads = nn.ModuleList([nn.Linear(3, 2)])

    def features(self, images: Tensor) -> Tensor:
        return self.plain(self.pool(self.norm(self.conv(images))))


@pytest.mark.parametrize("kind", ["odd", "attention-resnet18"])
def test_every_shared_parameter_has_its_importance(kind: str) -> None:
    """Beside autograd image by image, whatever layer the parameter is of."""
    network: Network = Odd() if kind == "odd" else AttentionResNet18(1, [2, 2, 3, 3], [2], narrow=True)
    initialise(network.eval(), "truncated-normal", torch.Generator().manual_seed(0))
    split = tiny_split(3, 5)
    images = split.images.repeat(1, 1, 4, 3)
    split = type(split)(images, split.targets)
    names = shared_names(network)
    parameters = [network.get_parameter(name) for name in names]
    fisher, mas = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for one in torch.arange(len(split)).split(1):
        logits = network(split.batch(one)[0], 0)[0]
        log_p = logits.log_softmax(0)
        for c in range(2):
            for total, g in zip(fisher, torch.autograd.grad(log_p[c], parameters, retain_graph=True), strict=True):
                total += log_p[c].detach().exp() * g.square() / len(split)
        for total, g in zip(mas, torch.autograd.grad(logits.square().sum(), parameters), strict=True):
            total += g.abs() / len(split)
    for found, expected in (
        (fisher_diagonal(network, split, 0, 3), fisher),
        (output_sensitivity(network, split, 0, 3), mas),
    ):
        assert list(found) == names
        for name, right in zip(names, expected, strict=True):
            torch.testing.assert_close(found[name], right, rtol=1e-3, atol=1e-6)
    assert all(tensor.isfinite().all() for tensor in batch_sensitivity(network, split, 0, 3).values())


def test_importance_that_cannot_be_known_is_refused() -> None:
    network = Odd().eval()
    network.register_parameter("scale", nn.Parameter(torch.ones(1)))
    with pytest.raises(UserError, match="importance of scale is not known"):
        shared_layers(network)
    layer = nn.Linear(2, 2)
    with pytest.raises(UserError, match="acts twice"), record_layers({"one": layer}):
        layer(layer(torch.ones(1, 2)))
