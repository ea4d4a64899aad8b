"""What a stage of a method is given, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lifelong.data.tensors import Split, Task
from lifelong.evaluation.answers import accuracy
from lifelong.networks.base import Network, shared_names
from lifelong.networks.create import Setup, State
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit, Objective, Schedule, StepHook, Update
from lifelong.training.losses import cross_entropy
from lifelong.training.penalties import QuadraticPenalty

Weights = dict[str, Tensor]


@dataclass
class Job(Setup):
    """One stage of one task of one seed: its data, its settings, and the verbs every method needs.

    `data` is the task's training and validation images; a joint learner gets all tasks, the others one. `earlier` is what
    the same stage left for the task before, for stages that add to it. `others` is how many seeds the stage runs for beside
    this one; `trains` runs a fit and returns its curve.
    """

    stage: str
    data: Sequence[Task]
    checkpoints: Checkpoints
    earlier: State | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    others: int = 0
    trains: Callable[[Fit, Progress], list[dict[str, Any]]] = Fit.run

    @property
    def tasks(self) -> int:
        """How many tasks the sequence has."""
        return len(self.classes)

    @property
    def task(self) -> Task:
        return self.data[-1]

    @property
    def head(self) -> int:
        """Which head answers for this task."""
        return self.task.index if self.experiment.heads == "per-task" else 0

    def objective(self, network: Network) -> Objective:
        """Mean cross-entropy of this task's labels under the head that answers for it."""
        head = self.head
        offset = self.classes.offset(self.task.index) if self.experiment.heads == "all-classes" else 0
        return lambda images, targets: cross_entropy(network(images, head), targets + offset)

    def trainable(self, network: Network, shared: bool = True) -> list[str]:
        """Names of the parameters that learn: this task's head, and the shared ones unless they are frozen."""
        head = [name for name, _ in network.named_parameters() if name.startswith(f"heads.{self.head}.")]
        return (shared_names(network) if shared else []) + head

    def schedule(self, first_stage: bool = True) -> Schedule:
        """The learning rate over the epochs of a task; the first task's first stage may have its own decay."""
        budget = self.experiment.training
        factor = budget.decay_factor
        if first_stage and self.task.index == 0 and budget.first_task_decay_factor is not None:
            factor = budget.first_task_decay_factor
        return Schedule(budget.learning_rate, factor, budget.decay_every, tuple(budget.milestones or ()))

    def fit(
        self,
        network: Network,
        *,
        name: str | None = None,
        train: Split | None = None,
        objective: Objective | None = None,
        objective_of: Callable[[Network], Objective] | None = None,
        trainable: Sequence[str] | None = None,
        schedule: Schedule | None = None,
        penalty: QuadraticPenalty | None = None,
        masks: Mapping[str, Tensor] | None = None,
        hook: StepHook | None = None,
        update: Update | None = None,
        epochs: int | None = None,
        epoch_offset: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Train the network in place; the curve is kept in the job.

        Where `objective` is not given it is that of `objective_of`, by default the job's own.
        """
        budget = self.experiment.training
        if objective is None:
            objective_of = objective_of or self.objective
            objective = objective_of(network)
        run = Fit(
            name=name or self.stage,
            network=network,
            train=train or self.task.train,
            objective=objective,
            objective_of=objective_of,
            budget=budget,
            schedule=schedule or self.schedule(),
            seed=(self.seed, self.task.index, self.stage),
            trainable=self.trainable(network) if trainable is None else trainable,
            validation=lambda: accuracy(network, self.task, self.experiment.heads, self.classes),
            checkpoints=self.checkpoints,
            penalty=penalty,
            masks=masks or {},
            hook=hook or StepHook(),
            update=update,
            epochs=epochs,
            epoch_offset=epoch_offset,
        )
        if progress is not None:
            self.curve += self.trains(run, progress)
            return
        with Progress(self.label, budget.epochs if epochs is None else epochs) as own:
            self.curve += self.trains(run, own)

    @property
    def label(self) -> str:
        who = f"seed {self.seed} and {self.others} more" if self.others else f"seed {self.seed}"
        return f"{self.experiment.name} {who} task {self.task.index} {self.stage}"


def weights(network: torch.nn.Module) -> Weights:
    """A copy of all parameters and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


__all__ = ["Job", "State", "Weights", "weights"]
