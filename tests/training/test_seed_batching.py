"""Seeds trained side by side end where each ends alone, but for rounding; killed, they go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.elsewhere import elsewhere
from support.project import Project
from support.tiny import OF_IMAGES, OPTIONS, ROUNDS, SHAPE, assert_close, identical, tiny_experiment, tiny_split, until_done

from lifelong.data import catalog, sequences
from lifelong.data.classes import Classes
from lifelong.data.tensors import Features
from lifelong.networks.create import new_network
from lifelong.networks.mlp import Mlp
from lifelong.params import Experiment
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import DIVERGED, stages_of
from lifelong.pipeline.run import run_seeds
from lifelong.pipeline.states import read_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info, read_result
from lifelong.runtime.device import computing_on
from lifelong.runtime.errors import Diverged, UserError
from lifelong.training import seed_batching
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit
from lifelong.training.job import State
from lifelong.training.losses import cross_entropy
from lifelong.training.stacked_fit import OrderedTogether, StackedFit, stack_networks

SEEDS = (0, 1, 4)
STACKED = {"ewc", "ewc-online", "finetune", "joint", "mas", "sgd", "sgd-f", "si"}
STACKED |= {"anpyc", "anpyc-compression", "anpyc-removal"}
States = dict[tuple[int, int, str], State]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "images"
    catalog.prepare("digits", None, path, Path("none"), [])
    return path


def prepared(experiment: Experiment, digits: Path) -> Experiment:
    paths.images("digits").parent.mkdir(parents=True, exist_ok=True)
    paths.images("digits").symlink_to(digits)
    sequences.build(experiment.sequence, {"digits": digits}, paths.tasks("three"))
    return experiment


def run(experiment: Experiment, groups: Sequence[Sequence[int]]) -> States:
    """The state of every seed, task and stage, with the seeds of each group together."""
    states = {}
    for seeds in groups:
        for task in experiment.tasks:
            for stage in stages_of(experiment, task):
                for seed, path in zip(seeds, run_seeds(experiment, seeds, task, stage), strict=True):
                    states[seed, task, stage] = read_state(path)
    return states


def alone_and_together(experiment: Experiment) -> tuple[States, States]:
    return run(experiment, [[seed] for seed in SEEDS]), run(experiment, [SEEDS])


def assert_same(found: States, expected: States, absolute: float = 1e-4) -> None:
    assert found.keys() == expected.keys()
    for key, state in expected.items():
        assert found[key].keys() == state.keys()
        for group, named in state.items():
            assert_close(found[key][group], named, absolute)


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[StackedFit]:
    """What has been trained as one so far."""
    found: list[StackedFit] = []
    real = StackedFit.of

    def of(fits: Sequence[Fit], checkpoints: Checkpoints) -> StackedFit | None:
        stack = real(fits, checkpoints)
        found.extend([stack] if stack else [])
        return stack

    monkeypatch.setattr(StackedFit, "of", of)
    return found


@pytest.mark.parametrize("method", OF_IMAGES)
def test_together_as_alone(method: str, digits: Path, stacks: list[StackedFit]) -> None:
    network = {"kind": "attention-mlp", "hidden": [6, 5]} if method in ("ari", "itaml") else None
    sequence = ROUNDS if method == "anpyc-compression" else None
    options = OPTIONS.get(method)
    experiment = tiny_experiment(
        method, options=options, network=network, sequence=sequence, seeds=list(SEEDS), dropout=0.2, batch_size=64
    )
    alone, together = alone_and_together(prepared(experiment, digits))
    assert_same(together, alone)
    assert all(len(stack.fits) == len(SEEDS) for stack in stacks)
    assert (len(stacks) >= (1 if method == "joint" else len(experiment.tasks))) == (method in STACKED)


@pytest.mark.parametrize(
    "budget", [{"momentum": 0.9, "weight_decay": 0.01}, {"optimiser": "adam", "learning_rate": 0.01}], ids=str
)
@pytest.mark.parametrize("heads", ["per-task", "shared", "all-classes"])
@pytest.mark.parametrize("method", ["joint", "si"])
def test_budgets_and_heads(method: str, heads: str, budget: dict[str, Any], digits: Path, stacks: list[StackedFit]) -> None:
    usual: dict[str, Any] = {"batch_size": 64, "seeds": list(SEEDS), "options": OPTIONS.get(method)}
    experiment = prepared(tiny_experiment(method, heads=heads, **usual, **budget), digits)
    alone, together = alone_and_together(experiment)
    assert_same(together, alone)
    assert stacks


def test_scores_and_curves_are_those_of_each_alone(digits: Path) -> None:
    experiment = tiny_experiment("ewc", options={"strength": 1}, seeds=list(SEEDS), dropout=0.2, batch_size=64)
    prepared(experiment, digits)

    def found(groups: Sequence[Sequence[int]]) -> tuple[list[Any], list[Any]]:
        run(experiment, groups)
        for seed in SEEDS:
            evaluate(experiment, seed)
        curves = "".join(paths.curve(paths.state("tiny", seed, 2, "learn")).read_text() for seed in SEEDS)
        tests = [read_result(paths.scores("tiny", seed))["test"] for seed in SEEDS]
        return tests, [json.loads(row) for row in curves.splitlines()]

    (alone, rows_alone), (together, rows_together) = found([[seed] for seed in SEEDS]), found([SEEDS])
    assert together == alone
    assert len(rows_together) == len(rows_alone) == 2 * len(SEEDS)
    assert len({row["loss"] for row in rows_together}) == 2 * len(SEEDS)
    for a, b in zip(rows_together, rows_alone, strict=True):
        assert {**a, "loss": 0, "penalty": 0} == {**b, "loss": 0, "penalty": 0}
        assert (a["loss"], a["penalty"]) == pytest.approx((b["loss"], b["penalty"]), rel=1e-4)
    info = read_info(paths.state("tiny", 4, 2, "consolidate"), "state")
    assert info["together"] == list(SEEDS)


@pytest.mark.parametrize("method", ["anpyc", "si"])
def test_killed_after_any_epoch_they_go_on_bit_for_bit(method: str, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = OPTIONS[method]
    experiment = tiny_experiment(method, options=options, seeds=list(SEEDS), momentum=0.9, dropout=0.2, batch_size=64)
    prepared(experiment, digits)
    expected = run(experiment, [SEEDS])
    kills = []
    save = Checkpoints.save

    def killed(checkpoints: Checkpoints, name: str, tensors: Any, info: Any) -> None:
        save(checkpoints, name, tensors, info)
        kills.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "due", lambda _: True)
    monkeypatch.setattr(Checkpoints, "save", killed)

    def finished(task: int, stage: str) -> None:
        run_seeds(experiment, SEEDS, task, stage)

    for _, task, stage in expected:
        until_done(partial(finished, task, stage))
    assert len(kills) >= 6
    for (seed, task, stage), state in expected.items():
        found = read_state(paths.state("tiny", seed, task, stage))
        assert all(identical(found[group], named) for group, named in state.items())
    assert not list(paths.CHECKPOINTS.glob("*"))


def test_one_that_diverges_leaves_the_others_alone(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 1 starts from weights whose squares leave the finite numbers."""
    experiment = tiny_experiment("finetune", seeds=list(SEEDS), batch_size=64)
    prepared(experiment, digits)
    from lifelong.networks import create

    def started(experiment: Experiment, shape: Any, classes: Classes, seed: int) -> Any:
        network = new_network(experiment, shape, classes, seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1e30 if seed == 1 else 1)
        return network

    monkeypatch.setattr(create, "new_network", started)
    expected = run(experiment, [[0], [4]])
    with pytest.raises(Diverged, match="lower the learning rate"):
        run_seeds(experiment, SEEDS, 0, "learn")
    object.__setattr__(experiment, "may_diverge", True)
    found = run(experiment, [SEEDS])
    assert all(set(state) == {DIVERGED} for (seed, _, _), state in found.items() if seed == 1)
    assert_same({key: state for key, state in found.items() if key[0] != 1}, expected)


def test_a_stage_that_refuses_does_so_for_all(digits: Path) -> None:
    experiment = prepared(tiny_experiment("hat", seeds=list(SEEDS), batch_size=4096, options=OPTIONS.get("hat")), digits)
    with pytest.raises(UserError, match="one batch"):
        run_seeds(experiment, SEEDS, 0, "learn")
    with pytest.raises(UserError, match="found seed 2"):
        run_seeds(experiment, (0, 2), 0, "learn")


def test_together_elsewhere(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for another device, too, is to be entered anew on every thread."""

    @contextmanager
    def entered(name: str) -> Iterator[None]:
        with elsewhere(), computing_on(name):
            yield

    experiment = tiny_experiment("anpyc", options={"strength": 1}, seeds=list(SEEDS), dropout=0.2, batch_size=64)
    here = run(prepared(experiment, digits), [SEEDS])
    with elsewhere() as name, computing_on(name):
        monkeypatch.setattr(seed_batching, "computing_on", entered)
        there = run(experiment, [SEEDS])
        held = {key: {g: {n: t.cpu() for n, t in named.items()} for g, named in s.items()} for key, s in there.items()}
    assert all(identical(held[key][group], named) for key, state in here.items() for group, named in state.items())


def test_networks_side_by_side_answer_as_each_does() -> None:
    experiment = tiny_experiment("finetune")
    networks = [new_network(experiment, SHAPE, Classes((2, 2, 2)), seed).eval() for seed in SEEDS]
    images = torch.stack([tiny_split(seed, 7).batch(torch.arange(7))[0] for seed in SEEDS])
    expected = torch.stack([network.all_logits(one) for network, one in zip(networks, images, strict=True)])
    together = stack_networks([network for network in networks if isinstance(network, Mlp)])
    together.noise = []
    np.testing.assert_allclose(together.all_logits(images).detach(), expected.detach(), atol=1e-6)
    with torch.no_grad():
        for parameter in together.parameters():
            parameter.mul_(2)
    assert identical(dict(networks[1].named_parameters()), {n: p[1] for n, p in together.named_parameters()})


def test_cross_entropy_of_models_side_by_side() -> None:
    logits, targets = torch.randn(3, 7, 4), torch.randint(4, (3, 7))
    expected = [cross_entropy(a, b).item() for a, b in zip(logits, targets, strict=True)]
    assert cross_entropy(logits, targets).tolist() == pytest.approx(expected)


def test_a_gpus_rules_train_the_seeds_of_perceptrons_in_one_job(tmp_path: Path) -> None:
    """With the processor in the place of the GPU."""
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder)
    project.edit("params.yaml", "options: {strength: 0.01}, seeds: 1", "options: {strength: 0.01}, seeds: 3")
    gpu = ("--config", "gpu=1", "device=cpu", "--")
    targets = [*gpu, "results/split-digits-anpyc/summary.json", "results/split-digits-sgd-all/summary.json"]
    project.snakemake(*targets)
    stages = [path.stem for path in sorted(folder.glob("results/split-digits-anpyc/seed-2/task-*/*.safetensors"))]
    assert len(stages) == 5  # two tasks of learn and consolidate, of which the first prunes
    for path in folder.glob("results/split-digits-anpyc/seed-*/task-*/*.safetensors"):
        assert read_info(path, "state")["together"] == [0, 1, 2]
    logs = {str(path.relative_to(folder / "logs")) for path in folder.glob("logs/split-digits-*/seed-*/task-0/learn.log")}
    assert logs == {"split-digits-anpyc/seed-0-1-2/task-0/learn.log", "split-digits-sgd-all/seed-0/task-0/learn.log"}
    assert project.planned(*targets) == []


def test_features_are_drawn_as_they_are_for_every_seed() -> None:
    features = Features(torch.tensor([[1.0, -2.0], [300.0, 4.0], [5.0, 6.0]]), torch.tensor([0, 1, 2]))
    chosen = torch.tensor([[2, 0], [1, 1]])
    images, targets = OrderedTogether(features.images, features.targets, features).batch(chosen)
    assert torch.equal(images, features.images[chosen])
    assert torch.equal(targets, features.targets[chosen])
