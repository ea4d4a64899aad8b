"""ARI's background attack: images changed where the network does not look (paper Eqs. 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Mask = Literal["one-minus", "one-minus-square", "reciprocal"]


def background_mask(attention: Tensor, mask: Mask) -> Tensor:
    """B of Eq. 1 from attention A in (0, 1): 1 - A, 1 - A*A or 1/A, elementwise."""
    if mask == "one-minus":
        return 1 - attention
    if mask == "one-minus-square":
        return 1 - attention.square()
    return attention.reciprocal()


def perturb(
    images: Tensor, gradient: Tensor, mask: Tensor, epsilon: float, start: Tensor | None = None, bound: float | None = None
) -> Tensor:
    """x' = clip(x + B * epsilon * sgn(dG/dx)) of Eq. 2: images [n, C, H, W] in [0, 1], B [n, 1, H, W].

    `start` is added to the step before B weighs both, and `bound` limits the weighed sum: so the released variant
    delta = clamp((start + epsilon * sgn) * B, -bound, bound). Without them B = 1/A is not limited (reading A12).
    """
    step = epsilon * gradient.sign()
    delta = (step if start is None else start + step) * mask
    if bound is not None:
        delta = delta.clamp(-bound, bound)
    return (images + delta).clamp(0, 1)


@contextmanager
def hold_constant(parameters: Sequence[Tensor]) -> Iterator[None]:
    """What the block computes has no gradients by the parameters, so a backward pass to images is spared them."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()


@contextmanager
def keep_statistics(network: nn.Module) -> Iterator[None]:
    """While the block runs, batch normalisation in training mode leaves its running statistics as they are."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    before = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, tracked in zip(layers, before, strict=True):
            layer.track_running_stats = tracked


def resize_attention(attention: Tensor, images: Tensor) -> Tensor:
    """A of the size of the images: bilinear where the first layer has shrunk them."""
    if attention.shape[-2:] == images.shape[-2:]:
        return attention
    return F.interpolate(attention, images.shape[-2:], mode="bilinear", align_corners=False)
