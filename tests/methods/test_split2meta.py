"""The stages of NSP, TPNSP, Connector and Split2MetaFusion, one after the other on tiny tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.resuming import killed_and_resumed
from support.tiny import call, identical, run_chain, tiny_experiment, tiny_job
from torch.nn import functional as F

from lifelong.methods.split2meta import SlowOptions, connector, slow, stages
from lifelong.methods.split2meta.null_space import from_tensors
from lifelong.params import Experiment
from lifelong.params.networks import SmallConvNetwork
from lifelong.pipeline.graph import earlier_state, final_state, input_state, stages_of
from lifelong.training.checkpoints import Checkpoints

NSP = {"kind": "nsp", "threshold": 0.01}
TPNSP = {"kind": "tpnsp", "threshold": 0.01}
DREAMS = {"images": 6, "iterations": 4}
META = {"kind": "meta", "steps": 5}


def experiment(method: str, options: dict[str, Any] | None = None, **changes: Any) -> Experiment:
    spaces: dict[str, Any] = {"nsp": NSP, "tpnsp": TPNSP, "connector": NSP, "split2meta": TPNSP}
    own: dict[str, Any] = {"null_space": spaces[method]} | (options or {})
    if method == "split2meta":
        own = {"dreams": DREAMS, "fusion": META, "fast_epochs": 1} | own
    budget: dict[str, Any] = {"optimiser": "adam", "learning_rate": 0.01} | changes
    return tiny_experiment(method, options=own, **budget)


def convolutional(method: str, options: dict[str, Any] | None = None) -> Experiment:
    """The same with a small convolutional network."""
    return replace(experiment(method, options), network=SmallConvNetwork(kind="small-conv", widths=[3, 4]))


def test_which_stages_a_task_has() -> None:
    """The first task has one model, the last needs no projection, linear fusion no dreams."""
    nsp, con, full = (experiment(name) for name in ("nsp", "connector", "split2meta"))
    assert [stages_of(nsp, t) for t in range(3)] == [("slow", "project"), ("slow", "project"), ("slow",)]
    assert stages_of(con, 0) == ("slow", "project")
    assert stages_of(con, 2) == ("slow", "fast", "fuse")
    assert stages_of(full, 0) == ("slow", "dream", "project")
    assert stages_of(full, 1) == ("slow", "fast", "dream", "fuse", "project")
    assert stages_of(full, 2) == ("slow", "fast", "dream", "fuse")
    linear = experiment("split2meta", {"fusion": {"kind": "linear"}})
    assert stages_of(linear, 1) == ("slow", "fast", "fuse", "project")


def test_project_adds_to_what_it_left_for_the_task_before() -> None:
    full = experiment("split2meta")
    assert earlier_state(full, 0, 1, "project") == final_state(full, 0, 0)
    assert earlier_state(full, 0, 0, "project") is None
    assert earlier_state(full, 0, 1, "slow") is None
    assert input_state(full, 0, 1, "slow") == final_state(full, 0, 0)


@pytest.mark.parametrize("make", [experiment, convolutional])
@pytest.mark.parametrize("method", ["nsp", "tpnsp", "connector", "split2meta"])
def test_chain(method: str, make: Any) -> None:
    """All stages run; what other tasks' heads answer with is left alone; directions never grow; the same twice."""
    states = run_chain(make(method))
    last = states[max(key for key in states if key[0] == 2)[0], stages_of(make(method), 2)[-1]]
    for name, tensor in states[0, "slow"]["network"].items():
        if name.startswith("heads.0"):
            assert torch.equal(last["network"][name], tensor)
    dimensions = [
        {name: space.dimensions for name, space in from_tensors(states[task, "project"]["subspaces"]).items()}
        for task in range(2)
    ]
    assert dimensions[0].keys() == dimensions[1].keys()
    assert all(dimensions[1][name] <= dimensions[0][name] for name in dimensions[0])
    again = run_chain(make(method))
    assert all(identical(states[key]["network"], again[key]["network"]) for key in states)


def test_moments_are_summed_over_the_tasks() -> None:
    states = run_chain(experiment("nsp"))
    job = tiny_job(experiment("nsp"), 1, "project")
    alone = call(slow.project, job, states[1, "slow"])
    for name, moment in states[1, "project"]["moments"].items():
        torch.testing.assert_close(moment, states[0, "project"]["moments"][name] + alone["moments"][name])
        assert moment.dtype == torch.float64


def test_first_task_is_plain_training() -> None:
    full = experiment("split2meta")
    job = tiny_job(full, 0, "slow")
    network = job.network(None)
    job.fit(network)
    found = call(slow.slow, tiny_job(full, 0, "slow"), None)["network"]
    assert identical(found, {name: tensor.detach() for name, tensor in network.state_dict().items()})


def test_rates_of_head_and_later_tasks() -> None:
    """Of the head always, of the other parameters from the second task on; normalisation has its own."""
    options = {"head_rate": 10.0, "norm_rate": 5.0, "later_rate": 0.5}
    for task, shared in ((0, 1.0), (1, 0.5)):
        job = tiny_job(convolutional("nsp", options), task, "slow")
        chosen = job.experiment.options
        assert isinstance(chosen, SlowOptions)
        rates = slow.update_rule(job, chosen, job.network(None), {}).rates
        assert rates.get("convs.0.weight", 1.0) == shared
        assert rates[f"heads.{task}.bias"] == 10.0
        assert rates["norms.1.weight"] == 5.0


def test_connectors_fast_model_starts_from_the_old_network_and_keeps_its_features() -> None:
    job = tiny_job(experiment("connector"), 1, "fast")
    network, old = job.network(None), job.network(None).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    images, targets = job.task.train.batch(torch.arange(5))
    found = connector.close_objective(job.objective(network), network, old, 3.0)(images, targets)
    distance = (network.features(images) - old.features(images)).square().sum() / (5 * 5)
    torch.testing.assert_close(found, F.cross_entropy(network(images, 1), targets) + 3 * distance)
    states = run_chain(experiment("connector", epochs=1, learning_rate=1e-12))
    for name, tensor in states[0, "project"]["network"].items():
        torch.testing.assert_close(states[1, "fast"]["network"][name], tensor)


def test_linear_fusion_is_the_mean_with_the_earlier_tasks_count() -> None:
    for method, options in (("connector", {}), ("split2meta", {"fusion": {"kind": "linear"}})):
        states = run_chain(experiment(method, options))
        before, after = states[2, "fast"], states[2, "fuse"]["network"]
        for name, tensor in after.items():
            torch.testing.assert_close(tensor, 2 / 3 * before["slow"][name] + 1 / 3 * before["network"][name])


def test_dreams_are_kept_with_the_answers_of_their_dreamer() -> None:
    """uint8 images of every task so far, and the logits of the fast model (the first task's only one)."""
    full = experiment("split2meta")
    states = run_chain(full)
    kept = states[2, "fuse"]["dreams"]
    assert sorted(kept) == sorted(f"{what}/{task:03d}" for what in ("images", "logits") for task in range(3))
    assert kept["images/001"].dtype == torch.uint8
    assert kept["images/001"].shape == (6, 1, 2, 3)
    for task, dreamer in ((0, "slow"), (1, "fast")):
        network = tiny_job(full, task).network(states[task, dreamer]).eval()
        logits = network(kept[f"images/{task:03d}"] / 255, task)
        torch.testing.assert_close(kept[f"logits/{task:03d}"], logits)


def test_bank_of_all_tasks_or_the_last() -> None:
    states = run_chain(experiment("split2meta"))
    assert [one.head for one in stages.dream_bank(states[2, "dream"], 2, "all")] == [0, 1, 2]
    assert [one.head for one in stages.dream_bank(states[2, "dream"], 2, "last")] == [1, 2]
    assert [one.head for one in stages.dream_bank(states[1, "dream"], 1, "last")] == [0, 1]


@pytest.mark.parametrize("statistics", ["fused", "dreams"])
def test_losses_on_dreams_are_told(statistics: str) -> None:
    fusion = META | {"norm_statistics": statistics, "steps": 20}
    states = run_chain(convolutional("split2meta", {"fusion": fusion}))
    losses = states[1, "fuse"]["losses"]
    assert losses["meta"] <= losses["linear"]
    before = states[1, "dream"]
    mean = states[1, "fuse"]["network"]["norms.0.running_mean"]
    share = states[1, "fuse"]["shares"]["norms.0.running_mean"]
    mixed = share * before["slow"]["norms.0.running_mean"] + (1 - share) * before["network"]["norms.0.running_mean"]
    assert torch.allclose(mean, mixed, atol=1e-6) == (statistics == "fused")


def test_batch_normalisation_is_held() -> None:
    """With a huge strength scales and shifts that matter stay where the first task left them."""
    free, held = (run_chain(convolutional("nsp", {"norm_strength": strength})) for strength in (0.0, 1e9))
    name = "norms.1.weight"
    start = free[0, "project"]["network"][name]
    matters = free[0, "project"]["norm_importance"][name] > 0
    assert matters.any()
    moved = [(states[1, "slow"]["network"][name] - start)[matters].abs().mean() for states in (free, held)]
    assert moved[1] < 0.5 * moved[0]


def test_resume_is_bit_for_bit(tmp_path: Path) -> None:
    nsp = experiment("nsp", epochs=4, batch_size=7)
    before = run_chain(nsp)[0, "project"]

    def job() -> Any:
        return tiny_job(nsp, 1, "slow")

    found = killed_and_resumed(slow.slow, job, before, Checkpoints(tmp_path / "here", seconds=0), 2, "slow")
    assert identical(found["network"], call(slow.slow, job(), before)["network"])
