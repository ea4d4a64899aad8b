"""The training loop: mini-batches and an optimiser, able to stop after any epoch and to go on bit for bit.

The order of the images, their augmentation and the dropout of an epoch come from that epoch's own seed, so weights, buffers,
what the optimiser and a method's hook remember and the epoch's number are all there is to keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.config.schema import Training
from lifelong.data.tensors import Split
from lifelong.errors import Diverged
from lifelong.learning.augmentation import crop_flip
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.optimisers import Optimiser
from lifelong.learning.penalties import QuadraticPenalty
from lifelong.progress import Progress
from lifelong.randomness import derived_seed

Objective = Callable[[Tensor, Tensor], Tensor]
"""(float images [b, ...], targets [b]) -> mean loss of the batch."""


@dataclass(frozen=True)
class Schedule:
    """Staircase learning rate: initial * factor ** (falls so far), a fall every so many epochs or at each milestone."""

    initial: float
    factor: float = 1.0
    every: int | None = None
    milestones: tuple[int, ...] = ()

    def __call__(self, epoch: int) -> float:
        falls = epoch // self.every if self.every else sum(epoch >= milestone for milestone in self.milestones)
        return self.initial * self.factor**falls


class StepHook:
    """What a method does inside the steps of the loop; by default nothing.

    Gradients and parameters come by name, for everything that is trained, and may be changed in place.
    """

    def tensors(self) -> Mapping[str, Tensor]:
        """What the hook sums up over the steps, changed in place only: it is kept with and restored from checkpoints."""
        return {}

    def before_step(self, batch: int, batches: int) -> None:
        """Before the objective of batch `batch` of an epoch's `batches`, from 0."""

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """After the objective's gradients, before penalty and masks are added to them."""

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        """After the update, with the gradients it was made of and its learning rate."""


@dataclass
class Fit:
    """One training run of a network: what is trained, on what, held by what.

    Attributes:
        name: names the run within its job (its checkpoint, its part of the curve).
        trainable: names of the parameters that learn.
        penalty: added to the objective by its gradient.
        masks: what gradients, the penalty's included, are multiplied by; where 0, the parameter keeps its value.
        hook: what the method does inside each step.
        epochs: how many; by default the budget's.
        epoch_offset: epochs already counted by the learning-rate schedule.
        validation: the accuracy written in the curve; never used to choose.
    """

    name: str
    network: nn.Module
    train: Split
    objective: Objective
    budget: Training
    schedule: Schedule
    seed: tuple[int | str, ...]
    trainable: Sequence[str]
    validation: Callable[[], float]
    checkpoints: Checkpoints
    penalty: QuadraticPenalty | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    hook: StepHook = field(default_factory=StepHook)
    epochs: int | None = None
    epoch_offset: int = 0

    def run(self, progress: Progress) -> list[dict[str, Any]]:
        """Train; returns the curve, a row an epoch."""
        named = dict(self.network.named_parameters())
        parameters: list[Tensor] = [named[name] for name in self.trainable]
        optimiser = Optimiser(self.budget, self.trainable, parameters)
        curve: list[dict[str, Any]] = []
        if (kept := self.checkpoints.load(self.name)) is not None:
            tensors, info = kept
            curve = info["curve"]
            with torch.no_grad():
                for name, tensor in self._changing(parameters).items():
                    tensor.copy_(tensors[name])
            optimiser.restore(tensors)
            progress.resume(len(curve))
        for epoch in range(len(curve), self.budget.epochs if self.epochs is None else self.epochs):
            rate = self.schedule(self.epoch_offset + epoch)
            loss = self._epoch(epoch, rate, parameters, optimiser)
            penalty = self._penalty_value(named)
            # The last update shows in the weights alone; a sum is not finite when any term is not.
            for what, value in (("loss", loss), ("penalty", penalty), ("sum of the weights", _total(parameters))):
                if not math.isfinite(value):
                    raise Diverged(
                        f"{self.name}: the {what} is {value} in epoch {epoch}; training diverged: lower the learning rate "
                        f"({rate:g}) or the method's strength"
                    )
            curve.append(
                {
                    "fit": self.name,
                    "epoch": epoch,
                    "learning_rate": rate,
                    "loss": loss,
                    "penalty": penalty,
                    "validation_accuracy": self.validation(),
                }
            )
            progress.step(f"loss {loss:.4f}")
            if self.checkpoints.due():
                changed = {**self._changing(parameters), **optimiser.tensors()}
                self.checkpoints.save(self.name, changed, {"curve": curve})
        return curve

    def _epoch(self, epoch: int, rate: float, parameters: list[Tensor], optimiser: Optimiser) -> float:
        """One pass over the training images; returns the mean objective."""
        torch.manual_seed(derived_seed(*self.seed, self.name, epoch))
        self.network.train()
        masked = [i for i, name in enumerate(self.trainable) if name in self.masks]
        masks = [self.masks[self.trainable[i]] for i in masked]
        total = torch.zeros(())
        batches = torch.randperm(len(self.train)).split(self.budget.batch_size)
        named = dict(zip(self.trainable, parameters, strict=True))
        for number, chosen in enumerate(batches):
            self.hook.before_step(number, len(batches))
            images, targets = self.train.batch(chosen)
            if self.budget.augmentation == "crop-flip":
                images = crop_flip(images)
            loss = self.objective(images, targets)
            gradients = list(torch.autograd.grad(loss, parameters))
            total += loss.detach() * len(chosen)
            by_name = dict(zip(self.trainable, gradients, strict=True))
            with torch.no_grad():
                self.hook.on_gradients(named, by_name)
                if self.penalty is not None:
                    self.penalty.add_gradient_(self.trainable, parameters, gradients)
                if masks:
                    torch._foreach_mul_([gradients[i] for i in masked], masks)
                optimiser.step(gradients, rate)
                self.hook.after_step(named, by_name, rate)
        return float(total) / len(self.train)

    @torch.no_grad()
    def _penalty_value(self, named: Mapping[str, Tensor]) -> float:
        return self.penalty.value(named).item() if self.penalty else 0.0

    def _changing(self, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
        """What training changes beside the optimiser's memory, by the names it has in a checkpoint."""
        found = {f"weight/{name}": tensor for name, tensor in zip(self.trainable, parameters, strict=True)}
        found |= {f"buffer/{name}": tensor for name, tensor in self.network.named_buffers()}
        return found | {f"hook/{name}": tensor for name, tensor in self.hook.tensors().items()}


@torch.no_grad()
def _total(parameters: Sequence[Tensor]) -> float:
    return float(sum(parameter.double().sum() for parameter in parameters))
