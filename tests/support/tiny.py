"""Tiny experiments, data and jobs, and slow restatements of the network and of SGD."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong import params
from lifelong.data.classes import Classes
from lifelong.data.tensors import Split, Task
from lifelong.networks.base import Network, shared_names
from lifelong.params import Experiment
from lifelong.params.methods import shipped_methods
from lifelong.pipeline.graph import stages_of
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.device import to_device
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import Job, State, weights

SHAPE = (1, 2, 3)
PIXELS = 6
IMAGES = 24
PER_TASK = 2
OF_IMAGES = sorted(name for name, method in shipped_methods().items() if method.sequences != ("dense",))


def tiny_experiment(
    method: str,
    *,
    options: dict[str, Any] | None = None,
    heads: str | None = None,
    sequence: dict[str, Any] | None = None,
    dropout: float = 0.0,
    initialisation: str = "truncated-normal",
    seeds: int | list[int] = 1,
    network: dict[str, Any] | None = None,
    **budget: Any,
) -> Experiment:
    """Three tasks of two classes, a 6-5 network, two epochs of mini-batches of eight; `budget` overrides Training."""
    mlp = {"kind": "mlp", "hidden": [6, 5], "dropout": dropout, "initialisation": initialisation}
    split = {"dataset": "digits", "kind": "split", "tasks": 3, "classes_per_task": 2, "validation": {"first": 9}}
    entry: dict[str, Any] = {"sequence": "three", "network": "net", "training": "short", "method": method, "seeds": seeds}
    entry |= {"options": options or {}} | ({"heads": heads} if heads else {})
    return params.settings(
        {
            "sequences": {"three": sequence or split},
            "networks": {"net": network or mlp},
            "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2} | budget},
            "experiments": {"tiny": entry},
            "reports": {},
        }
    ).experiment("tiny")


def tiny_split(seed: int, count: int = IMAGES) -> Split:
    """Random images of two random classes."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return Split(to_device(images), to_device(random.integers(0, PER_TASK, count)))


def tiny_task(index: int) -> Task:
    first = index * PER_TASK
    return Task(index, tiny_split(10 * index), tiny_split(10 * index + 1, 9), torch.arange(first, first + PER_TASK))


def tiny_job(
    experiment: Experiment, task: int, stage: str = "learn", seed: int = 0, checkpoints: Checkpoints | None = None
) -> Job:
    """A job on `tiny_task`s that writes no checkpoint unless it is given a place for them."""
    return Job(
        experiment=experiment,
        seed=seed,
        stage=stage,
        data=[tiny_task(index) for index in (range(task + 1) if experiment.method.joint else [task])],
        classes=Classes((PER_TASK,) * experiment.count),
        image_shape=SHAPE,
        checkpoints=checkpoints or Checkpoints(Path("none"), seconds=math.inf),
    )


def write_images(name: str) -> None:
    """Random images of six classes as those of a data set, in the working directory."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 120), ("test", 90)):
        arrays[f"{part}_images"] = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
        arrays[f"{part}_labels"] = random.permutation(np.arange(count) % 6)
    write_tensors(paths.images(name), "images", arrays, {"content": "c" * 64, "class_names": list("abcdef")})


def call(stage: Callable[..., State], job: Job, state: State | None) -> State:
    """What a stage leaves, given the options of the job's experiment."""
    return stage(job, job.experiment.options, state)


def run_chain(experiment: Experiment) -> dict[tuple[int, str], State]:
    """The state that every stage of every task leaves, in memory."""
    states: dict[tuple[int, str], State] = {}
    state: State | None = None
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            job = tiny_job(experiment, task, stage)
            job.earlier = states.get((task - 1, stage)) if stage in experiment.method.adding else None
            state = call(experiment.method.stage(stage).function, job, state)
            states[task, stage] = state
    return states


def importances_by_image(network: Network, split: Split, head: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Means over images by autograd, one by one: Fisher's sum over classes of p (d log p / dW)^2; MAS's |d ||f||^2 / dW|."""
    named = {name: network.get_parameter(name) for name in shared_names(network)}
    fisher, mas = ({name: torch.zeros_like(p) for name, p in named.items()} for _ in range(2))
    for i in range(len(split)):
        logits = network(split.batch(torch.tensor([i]))[0], head)[0]
        for c in range(len(logits)):
            log_p = logits.log_softmax(0)[c]
            gradients = torch.autograd.grad(log_p, list(named.values()), retain_graph=True)
            for total, g in zip(fisher.values(), gradients, strict=True):
                total += log_p.detach().exp() * g.square() / len(split)
        gradients = torch.autograd.grad(logits.square().sum(), list(named.values()))
        for total, g in zip(mas.values(), gradients, strict=True):
            total += g.abs() / len(split)
    return fisher, mas


def until_done(run: Callable[[], object]) -> None:
    """Begin again after each interruption."""
    for _ in range(100):
        try:
            run()
            return
        except KeyboardInterrupt:
            continue
    raise AssertionError("it does not end")


def random_like(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Positive random tensors of the same names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(tensor.shape, generator=generator) for name, tensor in tensors.items()}


def shared_of(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in named.items() if name.startswith("hidden.")}


def pixels(split: Split) -> np.ndarray:
    """float64 [n, pixels] in [0, 1]."""
    return split.images.numpy().reshape(len(split), -1) / 255


def forward(weights: Mapping[str, Any], x: Any, head: int) -> Any:
    """Logits without dropout, for numpy arrays or tensors: ReLU(W x + b) of each layer, then the head."""
    layer = 0
    while f"hidden.{layer}.weight" in weights:
        x = x @ weights[f"hidden.{layer}.weight"].T + weights[f"hidden.{layer}.bias"]
        x = x * (x > 0)
        layer += 1
    return x @ weights[f"heads.{head}.weight"].T + weights[f"heads.{head}.bias"]


def cross_entropy(weights: Mapping[str, Tensor], split: Split, head: int, offset: int = 0) -> Tensor:
    """Mean of -log softmax of the label, image by image."""
    images = torch.from_numpy(pixels(split))
    losses = []
    for image, target in zip(images, split.targets, strict=True):
        z = forward(weights, image, head)
        losses.append(torch.log(torch.exp(z).sum()) - z[target + offset])
    return torch.stack(losses).mean()


def descend(
    start: Mapping[str, Tensor],
    names: Sequence[str],
    loss: Callable[[dict[str, Tensor]], Tensor],
    rates: Iterable[float],
    masks: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Plain gradient descent in float64, one step a rate: W <- W - rate * mask * dloss/dW."""
    now = {name: tensor.detach().double() for name, tensor in start.items()}
    for rate in rates:
        leaves = {name: now[name].clone().requires_grad_() for name in names}
        gradients = torch.autograd.grad(loss(now | leaves), list(leaves.values()))
        for name, gradient in zip(names, gradients, strict=True):
            now[name] = now[name] - rate * gradient * (masks or {}).get(name, 1)
    return now


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], absolute: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name].double(), expected[name].double(), rtol=1e-4, atol=absolute, msg=name)


def identical(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """The same names with the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def earlier(job: Any) -> State:
    """What tasks before might have left, away from the initial weights."""
    named = weights(job.network(None))
    noise = random_like(named, 1)
    named = {name: tensor + 0.3 * noise[name] for name, tensor in named.items()}
    return {"network": named, "importance": random_like(shared_of(named), 2)}


NSP = {"null_space": {"threshold": 0.01}}
TPNSP = {"null_space": {"kind": "tpnsp", "threshold": 0.01}}
OPTIONS: dict[str, dict[str, Any]] = {
    **{method: {"strength": 1} for method in ["anpyc", "ewc", "lwf", "mas", "rwalk", "si"]},
    "ewc-online": {"strength": 1, "gamma": 1},
    **{method: {"memory": 12} for method in ["agem", "ari", "der++", "er", "gem", "icarl", "itaml"]},
    "connector": NSP,
    "nsp": NSP,
    "tpnsp": TPNSP,
    "split2meta": {
        **TPNSP,
        "fast_epochs": 1,
        "dreams": {"images": 4, "iterations": 2},
        "fusion": {"kind": "meta", "steps": 2},
    },
    "xdg": {"fraction_off": 0.5},
}


ROUNDS = {"dataset": "digits", "kind": "repeated", "tasks": 6, "validation": {"first": 9}}
