"""Evaluation of one seed: the accuracy matrix under every protocol, and the answer to every image."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split
from lifelong.evaluation.answers import class_answers, gated_logits, logits, prototype_logits, task_answers
from lifelong.evaluation.dense import count_confusion, mean_iou
from lifelong.evaluation.protocols import answer_by_guess, protocols
from lifelong.networks.base import Network
from lifelong.networks.create import Setup, State
from lifelong.networks.gates import GateTable
from lifelong.params.experiment import Experiment
from lifelong.params.sequences import Dense
from lifelong.pipeline.graph import DIVERGED, final_state
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.states import read_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info, write_result, write_tensors
from lifelong.runtime.randomness import derived_seed, draw_on_processor, generator

SHORT = {"task_incremental": "task", "class_incremental": "class"}
"""What the predictions under a protocol are called; those of a guessed task keep the protocol's name."""


def evaluate(experiment: Experiment, seed: int) -> None:
    """Write scores.json and predictions.safetensors of one seed.

    scores.json holds, for `test` and `validation` and for each of `protocols`, R[i][j]: the accuracy on task j after
    learning task i, null where there is no model (a joint learner has the last row alone; a seed that diverged none)
    or no such answer (class-incremental: tasks not yet seen, heads that tasks share); `initial`, the task-incremental test
    accuracy on each task of the network before it learnt anything; and `initial_by_protocol`, the same under protocols that
    guess the task. The predictions are int16 [n]: `after-i.on-j.task` within task j, `after-i.on-j.class` numbered over
    all tasks, `after-i.on-j.task_prediction_p` the task guessed in chunks of p.
    """
    inputs, count = Inputs(experiment), experiment.count
    if isinstance(experiment.sequence, Dense):
        _evaluate_dense(inputs, seed)
        return
    if any(_diverged(experiment, seed, i) for i in experiment.tasks):
        nothing: list[list[None]] = [[None] * count for _ in range(count)]
        rows = {split: dict.fromkeys(protocols(experiment.heads), nothing) for split in ("test", "validation")}
        _write(experiment, seed, rows, {"task_incremental": [None] * count}, {})
        return

    network = inputs.network(seed)
    network.dropout_at_test = experiment.dropout_at_test
    torch.manual_seed(derived_seed(seed, "evaluate"))  # dropout, where it is on
    test = [inputs.test(j) for j in range(count)]
    validation = [inputs.task(j).validation for j in range(count)]
    asked = Asked(experiment, network, seed, inputs.classes, inputs.image_shape)
    # The untrained network stands behind the gates that the first task knows of the others: b_j of fwt_gem.
    first = _read_left(experiment, seed, experiment.tasks[0])
    fresh = replace(first, network=network.state_dict(), adapted={}, prototypes=None, untrained=True)
    initial = [
        {p: _share(result) for p, result in asked.answers(fresh, "test", test[j], 0, j).items()} for j in range(count)
    ]
    accuracies: dict[str, Any] = {
        split: {protocol: [[None] * count for _ in range(count)] for protocol in protocols(experiment.heads)}
        for split in ("test", "validation")
    }
    predictions: dict[str, np.ndarray] = {}
    for i in experiment.tasks:
        left = _read_left(experiment, seed, i)
        for j in range(count if not experiment.method.network_of else i + 1):
            for split, data in (("test", test[j]), ("validation", validation[j])):
                for protocol, result in asked.answers(left, split, data, i, j).items():
                    accuracies[split][protocol][i][j] = _share(result)
                    if split == "test" and not protocol.startswith("chunk"):
                        key = f"after-{i:02d}.on-{j:02d}.{SHORT.get(protocol, protocol)}"
                        predictions[key] = result[0].to(torch.int16).cpu().numpy()
    by_protocol = {p: [one[p] for one in initial] for p in accuracies["test"] if all(p in one for one in initial)}
    _write(experiment, seed, accuracies, by_protocol, predictions)


def _evaluate_dense(inputs: Inputs, seed: int) -> None:
    """scores.json of a dense sequence: for class-incremental R[i][j] the mean intersection over union of task j's classes.

    On `validation` what is labelled are the task's own classes alone: all other answers count as background there. Beside
    it `confusion[i][true][answer]` counts the test images' pixels after task i, void ones left out.
    """
    experiment, classes, count = inputs.experiment, inputs.classes, inputs.experiment.count
    network, rows = inputs.network(seed), classes.total + 1
    test, validation = inputs.test(0), [inputs.task(j).validation for j in range(count)]
    scores: dict[str, list[list[float | None]]] = {
        split: [[None] * count for _ in range(count)] for split in ("test", "validation")
    }
    counts = []
    for i in experiment.tasks:
        network.load_state_dict(_read_left(experiment, seed, i).network)
        result = count_confusion(network, test, i, rows).cpu().numpy()
        counts.append(result.tolist())
        for j in range(i + 1):
            scores["test"][i][j] = mean_iou(result, classes, j)
            own = count_confusion(network, validation[j], i, rows).cpu().numpy()
            span = classes.span(j)
            others = [k for k in range(1, rows) if not span.start < k <= span.stop]
            own[:, 0] += own[:, others].sum(1)
            own[:, others] = 0
            scores["validation"][i][j] = mean_iou(own, classes, j)
    by_protocol = {split: {"class_incremental": table} for split, table in scores.items()}
    extra = {"sizes": list(classes.sizes), "confusion": counts, "measure": "mean intersection over union"}
    _write(experiment, seed, by_protocol, {}, {}, extra)


def _write(
    experiment: Experiment,
    seed: int,
    accuracies: Mapping[str, Any],
    initial: Mapping[str, Sequence[float | None]],
    predictions: Mapping[str, np.ndarray],
    extra: Mapping[str, Any] | None = None,
) -> None:
    info = {"experiment": experiment.name, "seed": seed}
    write_tensors(paths.predictions(experiment.name, seed), "predictions", predictions, info)
    untrained = {
        "initial": list(initial["task_incremental"]) if initial else None,
        "initial_by_protocol": {p: r for p, r in initial.items() if p != "task_incremental"},
    }
    scores = {**accuracies, **untrained, **(extra or {}), "tasks": experiment.count}
    write_result(paths.scores(experiment.name, seed), scores)


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
        state: all groups, for methods that make the network that answers themselves.
    """

    network: Mapping[str, Tensor]
    gates: GateTable | None
    adapted: Mapping[int, Mapping[str, Tensor]]
    prototypes: Tensor | None
    state: State
    untrained: bool = False


def _read_left(experiment: Experiment, seed: int, task: int) -> Left:
    state = read_state(final_state(experiment, seed, task))
    adapted: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.get("adapted", {}).items():
        number, _, name = key.partition("/")
        adapted.setdefault(int(number), {})[name] = tensor
    prototypes = state.get("prototypes", {}).get("means")
    return Left(state.get("network", {}), state.get("gates") or None, adapted, prototypes, state)


@dataclass(frozen=True)
class Asked:
    """Asks one network, under other weights each time, for its answers under every protocol."""

    experiment: Experiment
    network: Network
    seed: int
    classes: Classes
    image_shape: tuple[int, ...]

    def answers(self, left: Left, split: str, data: Split, i: int, j: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Protocol -> (predicted, expected) on task j after task i."""
        heads, classes = self.experiment.heads, self.classes
        if self.experiment.method.network_of and not left.untrained:
            within_task = task_answers(logits(self._network_of(left, j), data), heads, j, classes)
            return {"task_incremental": (within_task, data.targets)}
        seen = 0 if left.untrained else i + 1
        all_logits = self._logits(left.network, left, data, j, seen)
        task_logits = self._logits(left.adapted[j], left, data, j, seen) if j in left.adapted else all_logits
        within_task = task_answers(task_logits, heads, j, classes)
        result = {"task_incremental": (within_task, data.targets)}
        by_class = class_answers(all_logits, heads, i + 1, classes) if j <= i else None
        if by_class is not None:
            result["class_incremental"] = (by_class, data.targets + classes.offset(j))
        if heads == "all-classes":
            order = draw_on_processor(torch.randperm, len(data), generator=generator(self.seed, "chunks", split, j))
            result |= answer_by_guess(all_logits, within_task, data.targets, order, max(i, j) + 1, j, classes)
        return result

    def _network_of(self, left: Left, task: int) -> Network:
        """The network by which a method answers once the task is told."""
        module, _, name = self.experiment.method.network_of.partition(":")
        setup = Setup(self.experiment, self.seed, self.classes, self.image_shape)
        result: Network = getattr(importlib.import_module(module), name)(setup, self.experiment.options, left.state, task)
        return result

    def _logits(self, weights: Mapping[str, Tensor], left: Left, data: Split, task: int, seen: int) -> Tensor:
        self.network.load_state_dict(weights)
        if left.prototypes is not None:
            return prototype_logits(self.network, data, left.prototypes)
        return gated_logits(self.network, data, self.experiment.heads, left.gates, task, self.classes, seen)


def _share(answers: tuple[Tensor, Tensor]) -> float:
    predicted, expected = answers
    return float((predicted == expected).double().mean())
