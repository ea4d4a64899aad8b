"""The baselines of Split2MetaFusion's Table 1 on a convolutional network with batch normalisation, a head a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tiny import (
    assert_close,
    call,
    identical,
    importances_by_image,
    run_chain,
    tiny_experiment,
    tiny_job,
    tiny_split,
)
from torch import Tensor

from lifelong.methods.gem import agem, gem
from lifelong.networks.base import shared_names
from lifelong.networks.small_conv import SmallConv
from lifelong.params import Experiment
from lifelong.params.networks import SmallConvNetwork
from lifelong.training.importance import fisher_diagonal, output_sensitivity
from lifelong.training.job import State

OPTIONS: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 1.0},
    "mas": {"strength": 1.0},
    "lwf": {"strength": 1.0},
    "gem": {"memory": 12},
    "agem": {"memory": 12, "reference_batch": 6},
}


def convolutional(method: str, options: dict[str, Any] | None = None, **budget: Any) -> Experiment:
    own = OPTIONS[method] | (options or {})
    found = tiny_experiment(method, options=own, heads="per-task", optimiser="adam", learning_rate=0.01, **budget)
    return replace(found, network=SmallConvNetwork(kind="small-conv", widths=[3, 4]))


@pytest.mark.parametrize("method", list(OPTIONS))
def test_chain(method: str) -> None:
    """All stages run, what is trained moves, running statistics follow, and it is the same twice."""
    states, again = (run_chain(convolutional(method)) for _ in range(2))
    assert all(identical(states[key]["network"], again[key]["network"]) for key in states)
    first, last = states[0, "learn"]["network"], states[2, "learn"]["network"]
    for name in ("convs.0.weight", "norms.1.weight", "norms.1.running_mean", "heads.2.weight"):
        assert not torch.equal(first[name], last[name])


@pytest.mark.parametrize("method", ["ewc", "mas"])
def test_a_huge_strength_holds_what_matters(method: str) -> None:
    """Scales and shifts of batch normalisation are held as convolutions are; nothing holds its running statistics."""
    free, held = (run_chain(convolutional(method, {"strength": strength}, epochs=1)) for strength in (0.0, 1e8))
    importance = free[0, "consolidate"]["importance"]
    start = free[0, "consolidate"]["network"]
    assert importance.keys() == set(shared_names(tiny_job(convolutional(method), 0).network(None)))
    for name in ("convs.0.weight", "norms.1.weight"):
        matters = importance[name] > importance[name].max() / 100
        moved = [(states[1, "learn"]["network"][name] - start[name])[matters].abs().max() for states in (free, held)]
        assert moved[1] < moved[0]


def conv_net() -> SmallConv:
    torch.manual_seed(0)
    network = SmallConv(1, [3, 4], [2, 2])
    for norm in network.norms:
        norm.get_buffer("running_mean").normal_(std=0.1)
        norm.get_buffer("running_var").uniform_(0.5, 2)
        torch.nn.init.normal_(norm.get_parameter("weight"), 1, 0.3)
    return network.eval()


def test_importances_are_sums_over_single_images() -> None:
    network, split = conv_net(), tiny_split(3, 7)
    for measure, expected in zip(
        (fisher_diagonal, output_sensitivity), importances_by_image(network, split, 1), strict=True
    ):
        for batch in (3, 100):
            assert_close(measure(network, split, 1, batch), expected, 1e-7)


@pytest.mark.parametrize("method", ["gem", "agem"])
def test_heads_of_earlier_tasks_learn_only_from_the_memory(method: str) -> None:
    """With a head a task, the own loss gives an earlier head no gradient; a projection gives it the memory's."""
    state = run_chain(convolutional(method, epochs=1))[0, "remember"]
    seen: list[dict[str, Tensor]] = []
    module: Any = {"gem": gem, "agem": agem}[method]
    hook: Any = {"gem": gem.Projection, "agem": agem.AveragedProjection}[method]
    job = tiny_job(convolutional(method, epochs=1, batch_size=100), 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hook, "on_gradients", lambda self, _, gradients: seen.append(dict(gradients)))
        found: State = call(module.learn, job, state)
    assert not seen[0]["heads.0.weight"].any()
    assert not seen[0]["heads.2.weight"].any()
    assert seen[0]["heads.1.weight"].any()
    assert torch.equal(found["network"]["heads.0.weight"], state["network"]["heads.0.weight"])
