"""What a network answers, with dropout off, under each protocol.

Task-incremental: the task is told, and the answer is the best class of that task. Class-incremental: it is not, and the
answer is the best of all classes seen so far; a head that tasks share cannot answer that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.config.schema import Heads
from lifelong.data.tensors import Split, Task
from lifelong.networks.base import Network
from lifelong.networks.gates import FixedGate, GateTable

BATCH = 1000


@torch.no_grad()
def logits(network: Network, split: Split) -> Tensor:
    """Logits of all heads side by side, [n, total], in evaluation mode (dropout off)."""
    network.eval()
    chosen = torch.arange(len(split)).split(BATCH)
    return torch.cat([network.all_logits(split.batch(part)[0]) for part in chosen])


@torch.no_grad()
def features(network: Network, split: Split) -> Tensor:
    """Features [n, d] in evaluation mode."""
    network.eval()
    return torch.cat([network.features(split.batch(part)[0]) for part in torch.arange(len(split)).split(BATCH)])


def prototype_logits(network: Network, split: Split, means: Tensor) -> Tensor:
    """Minus the squared distance of each image's features, brought to length 1, to each class's mean [n, classes]."""
    unit = torch.nn.functional.normalize(features(network, split), dim=1)
    return -(unit[:, None] - means).square().sum(2)


def gated_logits(
    network: Network, split: Split, heads: Heads, gates: GateTable | None, task: int, classes_per_task: int
) -> Tensor:
    """`logits`, each task's outputs behind that task's gates; those of one shared head behind the gates of `task`.

    So task-incremental answers use the gates of the task that is told, and class-incremental ones compare outputs that
    each stand behind their own. Without gates it is `logits`.
    """
    if gates is None:
        return logits(network, split)
    asked = [task] if heads == "shared" else range(len(gates["hidden.0"]))
    outputs = []
    for one in asked:
        network.gate = FixedGate(gates, one)
        start = 0 if heads == "shared" else one * classes_per_task
        outputs.append(logits(network, split)[:, start : start + classes_per_task])
    network.gate = None
    return torch.cat(outputs, dim=1)


def task_answers(all_logits: Tensor, heads: Heads, task: int, classes_per_task: int) -> Tensor:
    """Task-incremental answers [n]: the best class within the task that is told."""
    start = 0 if heads == "shared" else task * classes_per_task
    return all_logits[:, start : start + classes_per_task].argmax(1)


def class_answers(all_logits: Tensor, heads: Heads, seen: int, classes_per_task: int) -> Tensor | None:
    """Class-incremental answers [n]: the best of all classes of the first `seen` tasks, numbered over the tasks."""
    return None if heads == "shared" else all_logits[:, : seen * classes_per_task].argmax(1)


def accuracy(network: Network, task: Task, heads: Heads) -> float:
    """Task-incremental validation accuracy of one task."""
    answers = task_answers(logits(network, task.validation), heads, task.index, len(task.classes))
    return float((answers == task.validation.targets).double().mean())
