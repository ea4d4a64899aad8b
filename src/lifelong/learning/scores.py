"""Evaluation of one seed: the accuracy matrix under every protocol, and the answer to every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong import layout
from lifelong.artifacts import read_info, read_tensors, write_json, write_tensors
from lifelong.config import Experiment
from lifelong.data.tensors import Split, load_task, load_test
from lifelong.device import placed
from lifelong.learning.evaluation import class_answers, gated_logits, prototype_logits, task_answers
from lifelong.learning.protocols import guessing_answers, protocols
from lifelong.networks.base import Network
from lifelong.networks.create import new_network
from lifelong.networks.gates import GateTable
from lifelong.randomness import derived_seed, drawn, generator
from lifelong.stages import DIVERGED, final_state

SHORT = {"task_incremental": "task", "class_incremental": "class"}
"""What the predictions under a protocol are called; those of a guessed task keep the protocol's name."""


def evaluate(experiment: Experiment, seed: int, threads: int = 1) -> None:
    """Write scores.json and predictions.safetensors of one seed.

    scores.json holds, for `test` and `validation` and for each of `protocols`, R[i][j]: the accuracy on task j after
    learning task i, null where there is no model (a joint learner has the last row alone; a seed that diverged none)
    or no such answer (class-incremental: tasks not yet seen, heads that tasks share); `initial`, the task-incremental test
    accuracy on each task of the network before it learnt anything; and `initial_by_protocol`, the same under protocols that
    guess the task. The predictions are int16 [n]: `after-i.on-j.task` within task j, `after-i.on-j.class` numbered over
    all tasks, `after-i.on-j.task_prediction_p` the task guessed in chunks of p.
    """
    torch.set_num_threads(threads)
    images, tasks = layout.images(experiment.scenario.dataset), layout.tasks(experiment.scenario_name)
    shape = read_info(tasks, "tasks")
    count, per_task = shape["tasks"], shape["classes_per_task"]
    network = new_network(experiment, shape["image_shape"], count, per_task, seed)
    network.dropout_at_test = experiment.dropout_at_test
    torch.manual_seed(derived_seed(seed, "evaluate"))  # dropout, where it is on
    test = [load_test(images, tasks, j) for j in range(count)]
    validation = [load_task(images, tasks, j).validation for j in range(count)]

    if any(_diverged(experiment, seed, i) for i in experiment.tasks):
        nothing: list[list[None]] = [[None] * count for _ in range(count)]
        rows = {split: dict.fromkeys(protocols(experiment.heads), nothing) for split in ("test", "validation")}
        _write(experiment, seed, rows, {"task_incremental": [None] * count}, {})
        return

    asked = Asked(experiment, network, seed, count, per_task)
    # The untrained network stands behind the gates that the first task knows of the others: b_j of fwt_gem.
    fresh = replace(_left(experiment, seed, experiment.tasks[0]), network=network.state_dict(), adapted={}, prototypes=None)
    initial = [{p: _share(found) for p, found in asked.answers(fresh, "test", test[j], 0, j).items()} for j in range(count)]
    accuracies: dict[str, Any] = {
        split: {protocol: [[None] * count for _ in range(count)] for protocol in protocols(experiment.heads)}
        for split in ("test", "validation")
    }
    predictions: dict[str, np.ndarray] = {}
    for i in experiment.tasks:
        left = _left(experiment, seed, i)
        for j in range(count):
            for split, data in (("test", test[j]), ("validation", validation[j])):
                for protocol, found in asked.answers(left, split, data, i, j).items():
                    accuracies[split][protocol][i][j] = _share(found)
                    if split == "test" and not protocol.startswith("chunk"):
                        key = f"after-{i:02d}.on-{j:02d}.{SHORT.get(protocol, protocol)}"
                        predictions[key] = found[0].to(torch.int16).cpu().numpy()
    by_protocol = {p: [one[p] for one in initial] for p in accuracies["test"] if all(p in one for one in initial)}
    _write(experiment, seed, accuracies, by_protocol, predictions)


def _write(
    experiment: Experiment,
    seed: int,
    accuracies: Mapping[str, Any],
    initial: Mapping[str, Sequence[float | None]],
    predictions: Mapping[str, np.ndarray],
) -> None:
    info = {"experiment": experiment.name, "seed": seed}
    write_tensors(layout.predictions(experiment.name, seed), "predictions", predictions, info)
    told = list(initial["task_incremental"])
    untrained = {"initial": told, "initial_by_protocol": {p: r for p, r in initial.items() if p != "task_incremental"}}
    write_json(layout.scores(experiment.name, seed), {**accuracies, **untrained, "tasks": len(told)})


def _diverged(experiment: Experiment, seed: int, task: int) -> bool:
    """Whether there is no network to evaluate."""
    return experiment.may_diverge and DIVERGED in read_info(final_state(experiment, seed, task), "state")["groups"]


@dataclass(frozen=True)
class Left:
    """What a task left that answers.

    Attributes:
        gates: of all tasks, if the method has any.
        adapted: the network tuned to a task, which answers once that task is told or guessed.
        prototypes: [classes, d] feature means; the nearest answers instead of the heads (classes not seen: infinite).
    """

    network: Mapping[str, Tensor]
    gates: GateTable | None
    adapted: Mapping[int, Mapping[str, Tensor]]
    prototypes: Tensor | None


def _left(experiment: Experiment, seed: int, task: int) -> Left:
    arrays, _ = read_tensors(final_state(experiment, seed, task), "state")
    network, gates, adapted, prototypes = (
        {key.removeprefix(group): placed(a) for key, a in arrays.items() if key.startswith(group)}
        for group in ("network/", "gates/", "adapted/", "prototypes/")
    )
    by_task: dict[int, dict[str, Tensor]] = {}
    for key, tensor in adapted.items():
        number, _, name = key.partition("/")
        by_task.setdefault(int(number), {})[name] = tensor
    return Left(network, gates or None, by_task, prototypes.get("means"))


@dataclass(frozen=True)
class Asked:
    """Asks one network, under other weights each time, for its answers under every protocol."""

    experiment: Experiment
    network: Network
    seed: int
    tasks: int
    per_task: int

    def answers(self, left: Left, split: str, data: Split, i: int, j: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Protocol -> (predicted, expected) on task j after task i."""
        heads, per_task = self.experiment.heads, self.per_task
        all_logits = self._logits(left.network, left, data, j)
        told_by = self._logits(left.adapted[j], left, data, j) if j in left.adapted else all_logits
        told = task_answers(told_by, heads, j, per_task)
        found = {"task_incremental": (told, data.targets)}
        by_class = class_answers(all_logits, heads, i + 1, per_task) if j <= i else None
        if by_class is not None:
            found["class_incremental"] = (by_class, data.targets + j * per_task)
        if heads == "all-classes":
            order = drawn(torch.randperm, len(data), generator=generator(self.seed, "chunks", split, j))
            found |= guessing_answers(all_logits, told, data.targets, order, max(i, j) + 1, j, per_task)
        return found

    def _logits(self, weights: Mapping[str, Tensor], left: Left, data: Split, task: int) -> Tensor:
        self.network.load_state_dict(weights)
        if left.prototypes is not None:
            return prototype_logits(self.network, data, left.prototypes)
        return gated_logits(self.network, data, self.experiment.heads, left.gates, task, self.per_task)


def _share(answers: tuple[Tensor, Tensor]) -> float:
    predicted, expected = answers
    return float((predicted == expected).double().mean())
