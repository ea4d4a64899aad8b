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


def slow_importance(named: dict[str, Tensor], split: Split, head: int, options: AnpycOptions) -> dict[str, Tensor]:
    """3.1: I = -sum over batch and classes of q log q; mean over the batches of the change; image by image, float64."""
    leaves = {name: tensor.detach().double().requires_grad_() for name, tensor in named.items()}
    shared = shared_of(leaves)
    images = torch.from_numpy(pixels(split))
    starts = range(0, len(images), options.importance_batch)
    total = {name: np.zeros(tensor.shape) for name, tensor in shared.items()}
    for start in starts:
        own = []
        for image in images[start : start + options.importance_batch]:
            q = torch.softmax(forward(leaves, image, head), 0)
            own.append(torch.autograd.grad(-(q * q.log()).sum(), list(shared.values())))
        for place, (name, tensor) in enumerate(shared.items()):
            by_image = np.array([gradients[place].numpy() for gradients in own])
            g = by_image.sum(0)
            h = g**2 if options.curvature == "batch-sum" else (by_image**2).sum(0)
            total[name] += slow_change(tensor.detach().numpy(), g, h, options.first_order) / len(starts)
    return {name: torch.from_numpy(array) for name, array in total.items()}


def anpyc_options(**options: Any) -> AnpycOptions:
    return AnpycOptions.model_validate({"strength": 1.0} | options)
