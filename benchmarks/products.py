"""The matrix products of a training step and nothing else: what a step could take at best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor


def product_flops(widths: Sequence[int], batch: int) -> int:
    """Operations of one step's matrix products: z and dW of every layer, dA of every layer but the first."""
    products = ((2 if layer == 0 else 3) * a * b for layer, (a, b) in enumerate(pairwise(widths)))
    return 2 * batch * sum(products)


Product = Callable[[Tensor, Tensor, Tensor], object]
"""(a, b, out): a @ b, in `out` where the library can."""


def mm(a: Tensor, b: Tensor, out: Tensor) -> None:
    torch.mm(a, b, out=out)


def onednn(a: Tensor, b: Tensor, _: Tensor) -> None:
    """torch.mm takes MKL, which may leave half of a non-Intel processor idle; oneDNN uses its widest instructions."""
    torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")


def products_of_step(widths: Sequence[int], batch: int, product: Product) -> Callable[[], None]:
    """The matrix products of one training step and nothing else."""
    layers = []
    for inputs, outputs in pairwise(widths):
        weight, inward, backward = torch.randn(outputs, inputs), torch.randn(batch, inputs), torch.randn(batch, outputs)
        layers.append((weight, inward, backward, weight.clone(), inward.clone(), backward.clone()))

    def step() -> None:
        for number, (weight, inward, backward, d_weight, d_inward, z) in enumerate(layers):
            product(inward, weight.t(), z)
            product(backward.t(), inward, d_weight)
            if number:
                product(backward, weight, d_inward)

    return step
