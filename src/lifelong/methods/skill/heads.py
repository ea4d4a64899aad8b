"""The head of one task: a linear layer on the features of the frozen backbone, alone or with beneficial biases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lifelong.data.selection import TaskData
from lifelong.networks.backbones.biases import BiasedBackbone
from lifelong.networks.backbones.images import prepare_images
from lifelong.params.backbones import Backbone
from lifelong.params.schema import Training
from lifelong.params.skill import BiasHead, LinearHead
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import Diverged
from lifelong.runtime.progress import Progress
from lifelong.runtime.randomness import draw_on_processor, generator
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.optimisers import Optimiser


@dataclass
class Head:
    """What is learnt for a task, and how: `weight` [c, d], `bias` [c], and `biases` [channels] where there are any."""

    parameters: dict[str, Tensor]
    score: float
    epoch: int  # whose parameters these are, from 1
    curve: list[dict[str, Any]] = field(default_factory=list)


def train_linear(train: TaskData, judged: TaskData, settings: LinearHead, seed: int, task: str) -> Head:
    """Cross-entropy on cached features. `judged` is the split whose accuracy chooses the epoch."""
    features, labels = to_device(train.rows), to_device(train.labels)
    start = initial_head(len(train.names), features.shape[1], seed, task)

    def gradients(parameters: dict[str, Tensor], index: Tensor) -> tuple[dict[str, Tensor], float]:
        x, y = features[index], labels[index]
        logits = torch.addmm(parameters["bias"], x, parameters["weight"].T)
        log_share = torch.log_softmax(logits, 1)
        error = log_share.exp()
        error[torch.arange(len(y)), y] -= 1
        error /= len(y)
        loss = -log_share[torch.arange(len(y)), y].mean().item()
        return {"weight": error.T @ x, "bias": error.sum(0)}, loss

    x, y = to_device(judged.rows), to_device(judged.labels)

    def score(parameters: dict[str, Tensor]) -> float:
        return (linear(parameters, x).argmax(1) == y).float().mean().item()

    return _train(start, len(train), gradients, score, settings, seed, task, None)


def train_biased(
    backbone: BiasedBackbone,
    prepared: Backbone,
    train: TaskData,
    judged: TaskData,
    settings: BiasHead,
    seed: int,
    task: str,
    features: int,
    checkpoints: Checkpoints,
) -> Head:
    """Head and biases together through the frozen network, from a new head and zero biases (SKILL, Eq. 1)."""
    start = initial_head(len(train.names), features, seed, task) | {"biases": torch.zeros_like(backbone.biases)}

    def gradients(parameters: dict[str, Tensor], index: Tensor) -> tuple[dict[str, Tensor], float]:
        images = prepare_images(to_device(train.rows[index.cpu().numpy()]), prepared)
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items() if name != "biases"}
        backbone.biases.data.copy_(parameters["biases"])
        logits = linear(leaves, backbone(images))
        loss = functional.cross_entropy(logits, to_device(train.labels)[index])
        result = torch.autograd.grad(loss, [*leaves.values(), backbone.biases])
        return dict(zip([*leaves, "biases"], result, strict=True)), loss.item()

    def score(parameters: dict[str, Tensor]) -> float:
        guessed = biased_logits(backbone, prepared, parameters, judged.rows).argmax(1)
        return float((guessed == judged.labels).mean())

    return _train(start, len(train), gradients, score, settings, seed, task, checkpoints)


def biased_logits(
    backbone: BiasedBackbone, prepared: Backbone, parameters: dict[str, Tensor], images: np.ndarray, batch: int = 32
) -> np.ndarray:
    """Logits [n, c] of a task's head behind the backbone with the task's biases."""
    backbone.biases.data.copy_(parameters["biases"])
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            inputs = prepare_images(to_device(images[start : start + batch]), prepared)
            parts.append(linear(parameters, backbone(inputs)))
    return torch.cat(parts).cpu().numpy()


def initial_head(classes: int, features: int, seed: int, task: str) -> dict[str, Tensor]:
    """torch's own start of a linear layer: uniform within 1 / sqrt(features)."""
    source = generator(seed, task, "head")
    bound = features**-0.5
    shapes = {"weight": (classes, features), "bias": (classes,)}
    device = torch.get_default_device()
    return {
        name: torch.empty(shape, device="cpu").uniform_(-bound, bound, generator=source).to(device)
        for name, shape in shapes.items()
    }


def linear(parameters: dict[str, Tensor], features: Tensor) -> Tensor:
    return torch.addmm(parameters["bias"], features, parameters["weight"].T)


def _train(
    start: dict[str, Tensor],
    count: int,
    gradients: Callable[[dict[str, Tensor], Tensor], tuple[dict[str, Tensor], float]],
    score: Callable[[dict[str, Tensor]], float],
    settings: LinearHead | BiasHead,
    seed: int,
    task: str,
    checkpoints: Checkpoints | None,
) -> Head:
    """Adam; the parameters of the first epoch with the best score are kept (reading S20)."""
    parameters = {name: tensor.clone() for name, tensor in start.items()}
    optimiser = Optimiser(_budget(settings), list(parameters), list(parameters.values()))
    best, done = Head({}, -1.0, 0), 0
    result = checkpoints.load("head") if checkpoints else None
    if result is not None:
        tensors, info = result
        for name, tensor in parameters.items():
            tensor.copy_(tensors[f"now/{name}"])
        optimiser.restore({key.removeprefix("optimiser/"): kept for key, kept in tensors.items()})
        held = {name: tensors[f"best/{name}"] for name in parameters}
        best, done = Head(held, info["score"], info["best"], info["curve"]), info["epoch"]
    with Progress(f"head of {task}", settings.epochs) as progress:
        if done:
            progress.resume(done)
        for epoch in range(done + 1, settings.epochs + 1):
            if epoch > best.epoch + settings.patience + 1:
                break
            order = draw_on_processor(torch.randperm, count, generator=generator(seed, task, "order", epoch))
            losses = []
            for index in order.split(settings.batch_size):
                slopes, loss = gradients(parameters, index)
                losses.append(loss)
                optimiser.step([slopes[name] for name in parameters], settings.learning_rate)
            if not np.isfinite(losses).all():
                raise Diverged(
                    f"head of {task}: the loss is not finite in epoch {epoch}; training diverged: lower the learning rate "
                    f"({settings.learning_rate:g})"
                )
            now = score(parameters)
            best.curve.append({"epoch": epoch, "loss": float(np.mean(losses)), "accuracy": now})
            if now > best.score:
                best.score, best.epoch = now, epoch
                best.parameters = {name: tensor.clone() for name, tensor in parameters.items()}
            if checkpoints and checkpoints.due():
                kept = {f"now/{name}": tensor for name, tensor in parameters.items()}
                kept |= {f"best/{name}": tensor for name, tensor in best.parameters.items()}
                kept |= {f"optimiser/{name}": tensor for name, tensor in optimiser.tensors().items()}
                state = {"epoch": epoch, "score": best.score, "best": best.epoch, "curve": best.curve}
                checkpoints.save("head", kept, state)
            progress.step(f"loss {best.curve[-1]['loss']:.3f}, accuracy {now:.3f}")
    return best


def _budget(settings: LinearHead | BiasHead) -> Training:
    return Training(
        optimiser="adam",
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
    )
