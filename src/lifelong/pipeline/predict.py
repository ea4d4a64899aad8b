"""Task and class of any image, by what an experiment has learnt.

Where the outputs of all tasks may be compared, one softmax over all classes learnt answers, and the task is that of the best
class. Where they may not (a network of each task's own, permuted pixels), every task is asked and the surest answer counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lifelong.data.sequences import task_key
from lifelong.data.tensors import Features, Split
from lifelong.evaluation.answers import logits
from lifelong.params.experiment import Experiment
from lifelong.params.sequences import Dense, Permuted
from lifelong.pipeline.choose import apply_choice
from lifelong.pipeline.evaluate import Asked, Left, _read_left
from lifelong.pipeline.graph import DIVERGED
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.trained import Trained, asks_each_task, compares_tasks
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Answer:
    """What an image is taken for.

    Attributes:
        sure: the task's share of 1 among those learnt; none where the task was given.
        classes: the best first, each with its share of 1: of all classes where they are compared, else of the task's.
    """

    task: str
    sure: float | None
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Predictor:
    """A model that answers for images from outside."""

    inputs: Inputs
    model: Trained
    left: Left
    asked: Asked

    @classmethod
    def of(cls, experiment: Experiment, model: Trained) -> Predictor:
        if isinstance(experiment.sequence, Dense):
            raise UserError(f"{experiment.name}: labels pixels; predict answers for whole images: name another experiment")
        inputs = Inputs(apply_choice(experiment))
        left = _read_left(experiment, model.seed, model.task)
        if DIVERGED in left.state:
            raise UserError(f"{model.file}: training diverged, so nothing was learnt; take another --seed or experiment")
        network = inputs.network(model.seed)
        return cls(inputs, model, left, Asked(inputs.experiment, network, model.seed, inputs.classes, inputs.image_shape))

    def find_task(self, given: str) -> int:
        """The number of a task that has been learnt, by its number or its name."""
        known = {name: task for task in self._learnt for name in (self._name(task), str(task))}
        if given not in known:
            raise UserError(f"--task: found {given!r}, which {self.model} has not learnt; {did_you_mean(given, known)}")
        return known[given]

    @torch.no_grad()
    def answer(self, pixels: Tensor, given: int | None, top: int) -> list[Answer]:
        """For images as `Outside` reads them, [n, ...]; `given` is their task where it is known."""
        if given is not None:
            shares = self._within(pixels, given)
            return [Answer(self._name(given), None, self._rank(one, [given], top)) for one in shares]
        experiment = self.inputs.experiment
        if compares_tasks(experiment):
            return self._compare(pixels, top)
        if not asks_each_task(experiment) and not self.left.gates:
            raise UserError(
                f"{experiment.name}: all its tasks share one head, which does not tell which task it is: give --task"
            )
        within = [self._within(pixels, task) for task in self._learnt]
        best = torch.stack([shares.amax(1) for shares in within], 1)
        sure = best / best.sum(1, keepdim=True)
        return [
            Answer(self._name(task), float(sure[row, task]), self._rank(within[task][row], [task], top))
            for row, task in enumerate(best.argmax(1).tolist())
        ]

    def _compare(self, pixels: Tensor, top: int) -> list[Answer]:
        classes, tasks = self.inputs.classes, list(self._learnt)
        every = self._logits(self.left.network, pixels, 0)[:, : classes.offset(len(tasks))].softmax(1)
        owners = classes.owner(every.argmax(1)).tolist()
        # A model tuned to the task answers for its classes, as the evaluation asks it.
        tuned = {task: self._within(pixels, task) for task in set(owners) & set(self.left.adapted)}
        return [
            Answer(
                self._name(task),
                float(shares[classes.span(task)].sum()),
                self._rank(tuned[task][row], [task], top) if task in tuned else self._rank(shares, tasks, top),
            )
            for row, (shares, task) in enumerate(zip(every, owners, strict=True))
        ]

    @property
    def _learnt(self) -> range:
        return range(self.model.task + 1)

    def _name(self, task: int) -> str:
        entries = self.inputs.experiment.entries
        return entries[task].name if entries else str(task)

    def _within(self, pixels: Tensor, task: int) -> Tensor:
        """Shares of 1 of the task's classes, [n, size]."""
        experiment, classes = self.inputs.experiment, self.inputs.classes
        if experiment.method.network_of:
            all_logits = logits(self.asked._network_of(self.left, task), self._split(pixels, task))
        else:
            all_logits = self._logits(self.left.adapted.get(task, self.left.network), pixels, task)
        own = slice(classes.sizes[task]) if experiment.heads == "shared" else classes.span(task)
        return all_logits[:, own].softmax(1)

    def _logits(self, weights: Mapping[str, Tensor], pixels: Tensor, task: int) -> Tensor:
        return self.asked._logits(weights, self.left, self._split(pixels, task), task, len(self._learnt))

    def _split(self, pixels: Tensor, task: int) -> Split:
        nothing = torch.zeros(len(pixels), dtype=torch.int64)
        if pixels.dim() == 2:
            return Features(pixels, nothing)
        if isinstance(self.inputs.experiment.sequence, Permuted):
            arrays, _ = read_tensors(self.inputs.tasks_file, "tasks", [task_key(task, "permutation")])
            order = to_device(arrays[task_key(task, "permutation")])
            pixels = pixels.flatten(1)[:, order].view(pixels.shape)
        return Split(pixels, nothing)

    def _rank(self, shares: Tensor, tasks: Sequence[int], top: int) -> tuple[tuple[str, float], ...]:
        names = [name for task in tasks for name in self.inputs.outline.class_names[task]]
        best = shares.topk(min(top, len(names)))
        return tuple((names[label], share) for label, share in zip(best.indices.tolist(), best.values.tolist(), strict=True))
