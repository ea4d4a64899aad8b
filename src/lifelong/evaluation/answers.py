"""What a network answers, with dropout off, under each protocol.

Task-incremental: the task is told, and the answer is the best class of that task. Class-incremental: it is not, and the
answer is the best of all classes seen so far; a head that tasks share cannot answer that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong.data.classes import Classes
from lifelong.data.tensors import Split, Task
from lifelong.evaluation.dense import pixel_accuracy
from lifelong.networks.base import Network
from lifelong.networks.gates import FixedGate, GateTable
from lifelong.params.methods import Heads

BATCH = 1000
DIFFERENCES = 1 << 22  # between features and means, held at once


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
    rows = max(1, DIFFERENCES // means.numel())
    return torch.cat([-(part[:, None] - means).square().sum(2) for part in unit.split(rows)])


def gated_logits(
    network: Network, split: Split, heads: Heads, gates: GateTable | None, task: int, classes: Classes, seen: int
) -> Tensor:
    """`logits`, each task's outputs behind that task's gates; those of one shared head behind the gates of `task`.

    So task-incremental answers use the gates of the task that is told, and class-incremental ones compare outputs that
    each stand behind their own. Of per-task heads only those that can answer are asked: of `task` and, if it is among them,
    of the first `seen` tasks; the others are minus infinity. Without gates it is `logits`.
    """
    if gates is None:
        return logits(network, split)
    if heads == "shared":
        return _behind(network, split, gates, task)
    known = len(gates["hidden.0"])
    compared = max(task + 1, seen) if heads == "all-classes" else seen if task < seen else 0
    outputs = torch.full((len(split), classes.offset(known)), -torch.inf)
    for one in sorted({task, *range(compared)}):
        outputs[:, classes.span(one)] = _behind(network, split, gates, one)[:, classes.span(one)]
    return outputs


def _behind(network: Network, split: Split, gates: GateTable, task: int) -> Tensor:
    """`logits` behind a task's gates."""
    network.gate = FixedGate(gates, task)
    result = logits(network, split)
    network.gate = None
    return result


def task_answers(all_logits: Tensor, heads: Heads, task: int, classes: Classes) -> Tensor:
    """Task-incremental answers [n]: the best class within the task that is told."""
    own = slice(classes.sizes[task]) if heads == "shared" else classes.span(task)
    return all_logits[:, own].argmax(1)


def class_answers(all_logits: Tensor, heads: Heads, seen: int, classes: Classes) -> Tensor | None:
    """Class-incremental answers [n]: the best of all classes of the first `seen` tasks, numbered over the tasks."""
    return None if heads == "shared" else all_logits[:, : classes.offset(seen)].argmax(1)


def accuracy(network: Network, task: Task, heads: Heads, classes: Classes) -> float:
    """Task-incremental validation accuracy of one task; of a dense one, over its own pixels."""
    if task.validation.targets.dim() > 1:
        return pixel_accuracy(network, task.validation, task.index)
    answers = task_answers(logits(network, task.validation), heads, task.index, classes)
    return float((answers == task.validation.targets).double().mean())
