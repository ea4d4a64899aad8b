"""Evaluation of one seed: the accuracy matrix under every protocol, and the answer to every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong import layout
from lifelong.artifacts import read_info, read_tensors, write_json, write_tensors
from lifelong.config import Experiment
from lifelong.data.tensors import Split, load_task, load_test
from lifelong.learning.evaluation import class_answers, gated_logits, task_answers
from lifelong.networks.base import Network
from lifelong.networks.create import new_network
from lifelong.networks.gates import GateTable
from lifelong.randomness import derived_seed
from lifelong.stages import DIVERGED, final_state

PROTOCOLS = ("task_incremental", "class_incremental")


def evaluate(experiment: Experiment, seed: int, threads: int = 1) -> None:
    """Write scores.json and predictions.safetensors of one seed.

    scores.json holds, for `test` and `validation` and for each protocol, R[i][j]: the accuracy on task j after learning
    task i, null where there is no model (a joint learner has the last row alone; a candidate that diverged none) or no
    such answer (class-incremental: tasks not yet seen, heads that tasks share); and `initial`, the test accuracy on each
    task of the network before it learnt anything. The predictions are int16 [n]: `after-i.on-j.task` within task j,
    `after-i.on-j.class` numbered over all tasks.
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
        rows = {split: dict.fromkeys(PROTOCOLS, nothing) for split in ("test", "validation")}
        _write(experiment, seed, rows, [None] * count, {})
        return

    # The untrained network stands behind the gates that the first task knows of the others: b_j of fwt_gem.
    _, gates = _state(experiment, seed, experiment.tasks[0])
    initial = [_share(_answers(network, gates, test[j], experiment, 0, j, per_task)[PROTOCOLS[0]]) for j in range(count)]
    accuracies: dict[str, Any] = {
        split: {protocol: [[None] * count for _ in range(count)] for protocol in PROTOCOLS}
        for split in ("test", "validation")
    }
    predictions: dict[str, np.ndarray] = {}
    for i in experiment.tasks:
        trained, gates = _state(experiment, seed, i)
        network.load_state_dict(trained)
        for j in range(count):
            for split, data in (("test", test[j]), ("validation", validation[j])):
                answers = _answers(network, gates, data, experiment, i, j, per_task)
                for protocol, found in answers.items():
                    accuracies[split][protocol][i][j] = _share(found)
                    if split == "test":
                        key = f"after-{i:02d}.on-{j:02d}.{protocol.partition('_')[0]}"
                        predictions[key] = found[0].to(torch.int16).numpy()
    _write(experiment, seed, accuracies, initial, predictions)


def _write(
    experiment: Experiment,
    seed: int,
    accuracies: Mapping[str, Any],
    initial: Sequence[float | None],
    predictions: Mapping[str, np.ndarray],
) -> None:
    info = {"experiment": experiment.name, "seed": seed}
    write_tensors(layout.predictions(experiment.name, seed), "predictions", predictions, info)
    write_json(layout.scores(experiment.name, seed), {**accuracies, "initial": list(initial), "tasks": len(initial)})


def _diverged(experiment: Experiment, seed: int, task: int) -> bool:
    """Whether a candidate of a grid has no network to evaluate."""
    return experiment.is_candidate and DIVERGED in read_info(final_state(experiment, seed, task), "state")["groups"]


def _state(experiment: Experiment, seed: int, task: int) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The network's parameters that a task left, and the gates of all tasks if the method has any."""
    arrays, _ = read_tensors(final_state(experiment, seed, task), "state")
    network, gates = (
        {key.removeprefix(group): torch.from_numpy(a) for key, a in arrays.items() if key.startswith(group)}
        for group in ("network/", "gates/")
    )
    return network, gates or None


def _answers(
    network: Network, gates: GateTable | None, split: Split, experiment: Experiment, i: int, j: int, per_task: int
) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Protocol -> (predicted, expected) on task j after task i."""
    all_logits = gated_logits(network, split, experiment.heads, gates, j, per_task)
    answers = {"task_incremental": (task_answers(all_logits, experiment.heads, j, per_task), split.targets)}
    by_class = class_answers(all_logits, experiment.heads, i + 1, per_task) if j <= i else None
    if by_class is not None:
        answers["class_incremental"] = (by_class, split.targets + j * per_task)
    return answers


def _share(answers: tuple[Tensor, Tensor]) -> float:
    predicted, expected = answers
    return float((predicted == expected).double().mean())
