"""ANPyC restated slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from support.tiny import (
    forward,
    pixels,
    shared_of,
)
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import AnpycOptions


def slow_change(w: np.ndarray, g: np.ndarray, h: np.ndarray, reading: str) -> np.ndarray:
    """N4: max(gW + W^2 H/2, 0); the sign of gW turned; nothing clamped but the sign dropped."""
    if reading == "plus":
        return np.maximum(g * w + w**2 * h / 2, 0)
    if reading == "minus":
        return np.maximum(w**2 * h / 2 - g * w, 0)
    return np.abs(g * w + w**2 * h / 2)


def fisher_of_image(leaves: dict[str, Tensor], image: Tensor, head: int) -> list[np.ndarray]:
    """Sum over the classes of q (d log q / dW)^2, class by class."""
    shared = shared_of(leaves)
    total = [np.zeros(tensor.shape) for tensor in shared.values()]
    q = torch.softmax(forward(leaves, image, head), 0)
    for c in range(len(q)):
        gradients = torch.autograd.grad(q[c].log(), list(shared.values()), retain_graph=True)
        total = [into + q[c].item() * g.numpy() ** 2 for into, g in zip(total, gradients, strict=True)]
    return total


def slow_importance(named: dict[str, Tensor], split: Split, head: int, options: AnpycOptions) -> dict[str, Tensor]:
    """3.1: I = -sum over batch and classes of q log q; mean over the batches of the change, or the change of the means of
    its two terms; image by image, float64."""
    leaves = {name: tensor.detach().double().requires_grad_() for name, tensor in named.items()}
    shared = shared_of(leaves)
    images = torch.from_numpy(pixels(split))
    starts = range(0, len(images), options.importance_batch)
    total = {name: np.zeros(tensor.shape) for name, tensor in shared.items()}
    gs, hs = ({name: np.zeros(tensor.shape) for name, tensor in shared.items()} for _ in range(2))
    for start in starts:
        own, fishers = [], []
        for image in images[start : start + options.importance_batch]:
            q = torch.softmax(forward(leaves, image, head), 0)
            own.append(torch.autograd.grad(-(q * q.log()).sum(), list(shared.values())))
            fishers.append(fisher_of_image(leaves, image, head))
        for place, (name, tensor) in enumerate(shared.items()):
            by_image = np.array([gradients[place].numpy() for gradients in own])
            g = by_image.sum(0)
            fisher = np.sum([one[place] for one in fishers], axis=0)
            h = {"batch-sum": g**2, "per-sample": (by_image**2).sum(0), "fisher": fisher}[options.curvature]
            gs[name] += g / len(starts)
            hs[name] += h / len(starts)
            total[name] += slow_change(tensor.detach().numpy(), g, h, options.first_order) / len(starts)
    if options.clamp == "total":
        total = {n: slow_change(t.detach().numpy(), gs[n], hs[n], options.first_order) for n, t in shared.items()}
    return {name: torch.from_numpy(array) for name, array in total.items()}


def anpyc_options(**options: Any) -> AnpycOptions:
    return AnpycOptions.model_validate({"strength": 1.0} | options)
