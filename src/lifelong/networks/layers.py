"""Linear layer, convolution of few channels and dropout, made for training on a processor.

torch's own linear layer multiplies by MKL, which leaves more than half of an AMD processor idle, and its dropout draws
bit by bit. Here the products go to oneDNN, which torch carries too (`benchmarks/training.py` has the rates of both), and
dropout draws in one vectorised call. Elsewhere (a GPU, other number types, a build without oneDNN, small products) torch's
own product is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

_LARGE = 1 << 20
"""Multiplications below which oneDNN's fixed cost outweighs its speed."""

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [n, k] times the transpose of b [m, k], plus bias [m]: [n, m]."""
    if _ONEDNN and a.device.type == "cpu" and a.dtype == torch.float32 and a.shape[0] * b.numel() >= _LARGE:
        return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return nn.functional.linear(a, b, bias)


class _Affine(torch.autograd.Function):
    """z = x W^T + b with dz/dx = g W, dz/dW = g^T x, dz/db = sum of g."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        wants_x, wants_weight, wants_bias = context.needs_input_grad
        return (
            product(g, weight.t()) if wants_x else None,
            product(g.t(), x.t()) if wants_weight else None,
            g.sum(0) if wants_bias else None,
        )


class Linear(nn.Linear):
    """nn.Linear for inputs [n, in]; its parameters are not drawn here.

    Where its parameters are those of s layers side by side, [s, out, in] and [s, out], so are its inputs, [s, n, in].
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias, device="meta")
        self.to_empty(device="cpu")

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.dim() == 3:
            return torch.baddbmm(self.bias[:, None], input, self.weight.transpose(1, 2))
        return _Affine.apply(input, self.weight, self.bias)


_NNPACK = torch._nnpack_available()  # asking starts it

_MANY = 16
"""Images from which on NNPACK is the faster."""


def few_channel_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """x [n, c, h, w] convolved with weight [d, c, k, k] of odd k, same size: [n, d, h, w]; c and d are few.

    oneDNN fills up to eight channels; NNPACK does not, and is up to five times as fast.
    """
    padding = weight.shape[-1] // 2
    if _NNPACK and len(x) >= _MANY and x.device.type == "cpu" and x.dtype == torch.float32:
        return torch._nnpack_spatial_convolution(x, weight, None, [padding, padding])
    return nn.functional.conv2d(x, weight, padding=padding)


class _Convolution(torch.autograd.Function):
    """Convolution of stride 1 that keeps the size; dz/dx is the convolution of g by the mirrored, transposed kernel."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return few_channel_convolution(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        wants_x, wants_weight = context.needs_input_grad
        by_x = few_channel_convolution(g, weight.flip(2, 3).transpose(0, 1)) if wants_x else None
        return by_x, conv2d_weight(x, list(weight.shape), g, padding=weight.shape[-1] // 2) if wants_weight else None


class FewChannelConvolution(nn.Conv2d):
    """nn.Conv2d of odd kernel, stride 1, same size, without bias, for one to three channels.

    oneDNN's gradient by the input of so few channels costs some ten times a forward pass; here it costs one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return _Convolution.apply(input, self.weight)


class PointwiseConvolution(nn.Conv2d):
    """nn.Conv2d of 1x1 kernels and any stride, which takes the pixels that it reads first.

    With a stride, channels last and fewer channels than a register holds, oneDNN 3.13's gradient of the weight writes
    past its own memory (uxlfoundation/oneDNN issue 6035): a wrong gradient, or the end of the process.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bias: bool) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        down, across = self.stride
        return nn.functional.conv2d(input[:, :, ::down, ::across], self.weight, self.bias)


def dropout(x: Tensor, p: float, training: bool, noise: Sequence[torch.Generator] | None = None) -> Tensor:
    """Each value is 0 with probability p, else x / (1 - p), while training; x itself otherwise.

    With `noise` x is [s, ...], and each of the s draws from its own source.
    """
    if not training or p == 0:
        return x
    drawn = torch.rand_like(x) if noise is None else torch.stack([torch.rand(x.shape[1:], generator=g) for g in noise])
    return x * drawn.ge_(p).mul_(1 / (1 - p))
