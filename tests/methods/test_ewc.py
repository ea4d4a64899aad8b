"""EWC's released estimate of the Fisher diagonal, and online EWC's running one, beside explicit loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import (
    IMAGES,
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
    tiny_task,
)
from torch import Tensor

from lifelong.methods.ewc import stages as ewc
from lifelong.methods.ewc import stages as ewc_online
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import generator
from lifelong.training.importance import first_sample_fisher, fisher_diagonal

STRENGTH, GAMMA = 3.0, 0.25
ONLINE = {"strength": STRENGTH, "gamma": GAMMA}


def squared(named: dict[str, Tensor], image: Tensor, head: int, label: int) -> dict[str, Tensor]:
    """(d log p_label / dW)^2 of one image, in float64."""
    leaves = {name: tensor.double().requires_grad_() for name, tensor in named.items()}
    z = forward(leaves, image, head)
    log_p = z[label] - torch.log(torch.exp(z).sum())
    gradients = torch.autograd.grad(log_p, [leaves[name] for name in shared_of(leaves)])
    return {name: g.square() for name, g in zip(shared_of(leaves), gradients, strict=True)}


@pytest.mark.parametrize("batch", [7, 1000])
def test_first_sample_is_one_image_of_each_batch_with_one_of_the_models_labels(batch: int) -> None:
    job = tiny_job(tiny_experiment("ewc", options={"strength": 1.0}), 1)
    named = earlier(job)["network"]
    network = job.network({"network": named}).eval()
    images = torch.from_numpy(pixels(job.task.train))[::batch]
    found = first_sample_fisher(network, job.task.train, 1, batch, generator(3))
    choices = [[squared(named, image, 1, label) for label in (0, 1)] for image in images]
    possible = []
    for code in range(2 ** len(choices)):
        picked = [each[code >> i & 1] for i, each in enumerate(choices)]
        possible.append({name: torch.stack([p[name] for p in picked]).mean(0) for name in picked[0]})
    fits = [all(torch.allclose(found[n].double(), p[n], rtol=1e-4, atol=1e-9) for n in p) for p in possible]
    assert sum(fits) == 1


def test_first_samples_labels_follow_the_models_distribution() -> None:
    """Over many draws the estimate at batch 1 tends to the exact diagonal, and no two seeds need agree."""
    job = tiny_job(tiny_experiment("ewc", options={"strength": 1.0}), 1)
    network = job.network(earlier(job)).eval()
    exact = fisher_diagonal(network, job.task.train, 1, 100)
    draws = [first_sample_fisher(network, job.task.train, 1, 1, generator(seed)) for seed in range(40)]
    for name, tensor in exact.items():
        mean = torch.stack([draw[name] for draw in draws]).mean(0)
        assert float((mean - tensor).norm() / tensor.norm()) < 0.15, name
    assert not identical(draws[0], draws[1])


def test_ewc_takes_the_estimate_it_is_told() -> None:
    options = {"strength": STRENGTH, "fisher": "first-sample", "sample_batch": 7}
    job = tiny_job(tiny_experiment("ewc", options=options, dropout=0.5), 1, "consolidate")
    state = earlier(job)
    network = job.network(state).eval()
    own = first_sample_fisher(network, tiny_task(1).train, 1, 7, generator(0, 1, "consolidate", "labels"))
    found = call(ewc.consolidate, job, state)["importance"]
    assert_close(found, {name: tensor + state["importance"][name] for name, tensor in own.items()}, 1e-8)


@pytest.mark.parametrize("wrong", [{"fisher": "first-sample"}, {"sample_batch": 10}])
def test_impossible_estimates_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="'sample_batch' goes with 'fisher: first-sample'"):
        tiny_experiment("ewc", options={"strength": 1.0} | wrong)


def test_online_ewc_descends_its_loss() -> None:
    rates = [0.3, 0.3, 0.15]
    budget: dict[str, Any] = {"epochs": 3, "decay_factor": 0.5, "decay_every": 2, "learning_rate": 0.3}
    job = tiny_job(tiny_experiment("ewc-online", options=ONLINE, batch_size=IMAGES, **budget), 1)
    before = earlier(job)
    names = [*shared_of(before["network"]), "heads.1.weight", "heads.1.bias"]

    def loss(named: dict[str, Tensor]) -> Tensor:
        held = [
            (fisher * (named[name] - before["network"][name]) ** 2).sum() for name, fisher in before["importance"].items()
        ]
        return cross_entropy(named, job.task.train, 1) + STRENGTH / 2 * torch.stack(held).sum()

    assert_close(call(ewc_online.learn, job, before)["network"], descend(before["network"], names, loss, rates))


def test_online_fisher_forgets_at_each_new_task() -> None:
    """F after task t is sum_k gamma^(t-k) F_k, each by its own head, dropout off."""
    experiment = tiny_experiment("ewc-online", options=ONLINE, dropout=0.5)
    states = run_chain(experiment)
    own = []
    for task in range(3):
        job = tiny_job(experiment, task)
        network = job.network(states[task, "learn"]).eval()
        own.append(fisher_diagonal(network, job.task.train, task, 100))
        expected = {
            name: torch.stack([GAMMA ** (task - k) * own[k][name] for k in range(task + 1)]).sum(0) for name in own[0]
        }
        assert_close(states[task, "consolidate"]["importance"], expected, 1e-8)


def test_online_ewc_that_forgets_nothing_is_ewc() -> None:
    online = run_chain(tiny_experiment("ewc-online", options={"strength": STRENGTH, "gamma": 1.0}))
    plain = run_chain(tiny_experiment("ewc", options={"strength": STRENGTH}))
    assert all(identical(online[key][group], plain[key][group]) for key in plain for group in ("network", "importance"))
