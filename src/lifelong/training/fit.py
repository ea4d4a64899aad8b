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

from lifelong.data.tensors import Split
from lifelong.networks.base import Network
from lifelong.params.schema import Training
from lifelong.runtime.errors import Diverged, UserError
from lifelong.runtime.progress import Progress
from lifelong.runtime.randomness import derived_seed
from lifelong.training.augmentation import crop_flip
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.optimisers import Optimiser
from lifelong.training.penalties import QuadraticPenalty

BatchNorm = nn.modules.batchnorm._BatchNorm

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
        """After the objective's gradients, before the penalty's are added to them."""

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        """After the update, with the gradients it was made of and its learning rate."""

    def stacked(self, hooks: Sequence[StepHook]) -> StepHook | None:
        """One hook that does on stacked tensors what these, of its class, do each; none where there is no such.

        What each of them sums up is from then on its part of the stacked sum.
        """
        return self if type(self) is StepHook else None


class Update:
    """How one mini-batch changes the weights, for methods where it is not one step down the gradient of an objective."""

    def __call__(self, images: Tensor, targets: Tensor, optimiser: Optimiser, rate: float) -> Tensor:
        """Change the weights in place; returns the mean loss of the batch."""
        raise NotImplementedError

    def measures(self) -> dict[str, float]:
        """What the curve's row of the epoch that has just ended says beside its loss."""
        return {}


@dataclass
class Fit:
    """One training run of a network: what is trained, on what, held by what.

    Attributes:
        name: names the run within its job (its checkpoint, its part of the curve).
        trainable: names of the parameters that learn.
        penalty: added to the objective by its gradient, or, where it is proximal, acting behind each update.
        masks: what updates are multiplied by, penalty, momentum and weight decay in them; where 0, the parameter keeps its
            value.
        hook: what the method does inside each step.
        update: takes the place of the step; objective, penalty, masks and hook are not asked then.
        epochs: how many; by default the budget's.
        epoch_offset: epochs already counted by the learning-rate schedule.
        validation: the accuracy written in the curve; never used to choose.
        objective_of: the objective of another network on the same images, where nothing else differs between seeds.
        curve: a row for every epoch done.
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
    update: Update | None = None
    epochs: int | None = None
    epoch_offset: int = 0
    objective_of: Callable[[Any], Objective] | None = None
    curve: list[dict[str, Any]] = field(default_factory=list, init=False)

    def run(self, progress: Progress) -> list[dict[str, Any]]:
        """Train; returns the curve.

        Raises:
            UserError: a batch has one image, whose map batch normalisation finds to be one pixel.
            Diverged: the loss, the penalty or a weight is not finite any more.
        """
        self._refuse_single_image()
        parameters = self._parameters()
        optimiser = Optimiser(self.budget, self.trainable, parameters)
        self.curve = []
        if (kept := self.checkpoints.load(self.name)) is not None:
            tensors, info = kept
            self.curve = info["curve"]
            with torch.no_grad():
                for name, tensor in self._changing(parameters).items():
                    tensor.copy_(tensors[name])
            optimiser.restore(tensors)
            progress.resume(len(self.curve))
        for epoch in range(len(self.curve), self.budget.epochs if self.epochs is None else self.epochs):
            rate = self.schedule(self.epoch_offset + epoch)
            total = self._epoch(epoch, rate, parameters, optimiser)
            self.curve.append(self.row(epoch, rate, total))
            progress.step(f"loss {self.curve[-1]['loss']:.4f}")
            if self.checkpoints.due():
                changed = {**self._changing(parameters), **optimiser.tensors()}
                self.checkpoints.save(self.name, changed, {"curve": self.curve})
        return self.curve

    def _refuse_single_image(self) -> None:
        """Batch normalisation cannot train on one value a channel; said before the first epoch and not at its end.

        An `update` may part its batches, so that any may have one image.
        """
        size = self.budget.batch_size
        if self.update is None and size > 1 and len(self.train) % size != 1:
            return
        train_unfrozen(self.network, self.trainable)
        single = find_single_value(self.network, self.train.batch(torch.arange(1))[0])
        if single is not None:
            raise UserError(
                f"{self.name}: {len(self.train)} images in batches of training.batch_size = {size} may leave one alone, and "
                f"batch normalisation {single!r} sees one pixel of it; take another batch_size, or a network less deep"
            )

    def _epoch(self, epoch: int, rate: float, parameters: list[Tensor], optimiser: Optimiser) -> Tensor:
        """One pass over the training images; returns the sum of their objectives."""
        order = self._order(epoch)
        train_unfrozen(self.network, self.trainable)
        masked = [parameters[i] for i, name in enumerate(self.trainable) if name in self.masks]
        masks = [self.masks[name] for name in self.trainable if name in self.masks]
        total = torch.zeros(order.shape[:-1])
        batches = order.split(self.budget.batch_size, dim=-1)
        named = dict(zip(self.trainable, parameters, strict=True))
        proximal = self.penalty if self.penalty is not None and self.penalty.proximal else None
        shares = proximal.shares(rate, self.masks) if proximal else []
        for number, chosen in enumerate(batches):
            self.hook.before_step(number, len(batches))
            images, targets = self.train.batch(chosen)
            if self.budget.augmentation == "crop-flip":
                images = crop_flip(images)
            if self.update is not None:
                total += self.update(images, targets, optimiser, rate) * chosen.shape[-1]
                continue
            loss = self.objective(images, targets)
            gradients = list(torch.autograd.grad(loss, parameters, torch.ones_like(loss)))
            total += loss.detach() * chosen.shape[-1]
            by_name = dict(zip(self.trainable, gradients, strict=True))
            with torch.no_grad():
                self.hook.on_gradients(named, by_name)
                if self.penalty is not None and not proximal:
                    self.penalty.add_gradient_(self.trainable, parameters, gradients)
                before = [parameter.clone() for parameter in masked]
                optimiser.step(gradients, rate)
                if proximal:
                    proximal.pull_(self.trainable, parameters, shares)
                if masks:
                    torch._foreach_copy_(masked, torch._foreach_lerp(before, masked, masks))
                self.hook.after_step(named, by_name, rate)
        return total

    def _order(self, epoch: int) -> Tensor:
        """The images of the epoch, one after the other; from here on all random numbers are this epoch's."""
        torch.manual_seed(self.epoch_seed(epoch))
        return torch.randperm(len(self.train))

    def epoch_seed(self, epoch: int) -> int:
        return derived_seed(*self.seed, self.name, epoch)

    def row(self, epoch: int, rate: float, total: Tensor) -> dict[str, Any]:
        """What the curve says of an epoch whose objectives sum to `total`.

        Raises:
            Diverged: a number is not finite any more.
        """
        loss = float(total) / len(self.train)
        with torch.no_grad():
            penalty = self.penalty.value(dict(self.network.named_parameters())).item() if self.penalty else 0.0
        # The last update shows in the weights alone; a sum is not finite when any term is not.
        for what, value in (("loss", loss), ("penalty", penalty), ("sum of the weights", _total(self._parameters()))):
            if not math.isfinite(value):
                raise Diverged(
                    f"{self.name}: the {what} is {value} in epoch {epoch}; training diverged: lower the learning rate "
                    f"({rate:g}) or the method's strength"
                )
        return {
            "fit": self.name,
            "epoch": epoch,
            "learning_rate": rate,
            "loss": loss,
            "penalty": penalty,
            "validation_accuracy": self.validation(),
            **(self.update.measures() if self.update else {}),
        }

    def _parameters(self) -> list[Tensor]:
        named = dict(self.network.named_parameters())
        return [named[name] for name in self.trainable]

    def _changing(self, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
        """What training changes beside the optimiser's memory, by the names it has in a checkpoint."""
        result = {f"weight/{name}": tensor for name, tensor in zip(self.trainable, parameters, strict=True)}
        result |= {f"buffer/{name}": tensor for name, tensor in self.network.named_buffers()}
        return result | {f"hook/{name}": tensor for name, tensor in self.hook.tensors().items()}


def train_unfrozen(network: nn.Module, trainable: Sequence[str]) -> None:
    """Training mode, but for batch normalisation none of whose parameters learn: frozen features keep its statistics too."""
    network.train()
    learning = {name.rpartition(".")[0] for name in trainable}
    for name, layer in network.named_modules():
        if isinstance(layer, BatchNorm) and layer.affine:
            layer.train(name in learning)


@torch.no_grad()
def find_single_value(network: nn.Module, image: Tensor) -> str | None:
    """The first batch normalisation in training mode that gets one value a channel of images [1, ...]; none: nowhere."""
    modes = {name: layer.training for name, layer in network.named_modules()}
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: found.append(name) if inputs[0].numel() == inputs[0].shape[1] else None

    learning = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, BatchNorm) and modes[name]]
    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in learning]
    if handles and isinstance(network, Network):
        network.eval().features(image)
        for name, layer in network.named_modules():
            layer.training = modes[name]
    for handle in handles:
        handle.remove()
    return found[0] if found else None


@torch.no_grad()
def _total(parameters: Sequence[Tensor]) -> float:
    return float(sum(parameter.double().sum() for parameter in parameters))
