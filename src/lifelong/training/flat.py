"""Gradients of all parameters as one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def flatten_gradients(gradients: Sequence[Tensor]) -> Tensor:
    """All gradients behind each other [P]."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def write_gradients(gradients: Mapping[str, Tensor], vector: Tensor) -> None:
    """Write a vector [P] back to the gradients it was made of, in place."""
    for gradient, part in zip(gradients.values(), vector.split([g.numel() for g in gradients.values()]), strict=True):
        gradient.copy_(part.view_as(gradient))
