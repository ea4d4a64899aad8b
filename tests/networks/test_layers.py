"""The fast linear layer and dropout against plain statements of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lifelong.networks import layers


def random_layer(inputs: int, outputs: int, dtype: torch.dtype) -> layers.Linear:
    layer = layers.Linear(inputs, outputs).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


@pytest.mark.parametrize("onednn", [True, False])
@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_linear_and_its_gradients_equal_numpy(onednn: bool, n: int, inputs: int, outputs: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = random_layer(inputs, outputs, torch.float32)
    x = torch.randn(n, inputs, requires_grad=True)
    g = torch.randn(n, outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "_LARGE", 0 if onednn else math.inf)
        z = layer(x)
        found = torch.autograd.grad(z, [x, layer.weight, layer.bias], g)
    a, w, b, d = (t.detach().double().numpy() for t in (x, layer.weight, layer.bias, g))
    np.testing.assert_allclose(z.detach().numpy(), a @ w.T + b, rtol=1e-4, atol=1e-4)
    for gradient, expected in zip(found, (d @ w, d.T @ a, d.sum(0)), strict=True):
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_gradients_equal_finite_differences() -> None:
    layer = random_layer(4, 3, torch.float64)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_the_share(p: float) -> None:
    torch.manual_seed(0)
    x = torch.full((400, 500), 3.0)
    dropped = layers.dropout(x, p, training=True)
    share = float((dropped == 0).double().mean())
    assert abs(share - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert torch.allclose(dropped[dropped != 0], torch.tensor(3.0 / (1 - p)))


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_dropout_off_is_the_identity(p: float, training: bool) -> None:
    x = torch.randn(3, 4)
    assert layers.dropout(x, p, training) is x


@pytest.mark.parametrize("inputs", [1, 2, 4, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pointwise_convolution_and_its_gradients_equal_numpy(inputs: int, stride: int) -> None:
    torch.manual_seed(inputs)
    layer = layers.PointwiseConvolution(inputs, 12, stride, bias=True)
    x = torch.randn(5, inputs, 7, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    z = layer(x)
    g = torch.randn_like(z)
    variables = [x, *layer.parameters()]
    found = torch.autograd.grad(z, variables, g)
    a, w, b, d = (t.detach().double().numpy() for t in (*variables, g))
    read = a[:, :, ::stride, ::stride]
    by_x = np.zeros_like(a)
    by_x[:, :, ::stride, ::stride] = np.einsum("nopq,oc->ncpq", d, w[:, :, 0, 0])
    expected = np.einsum("ncpq,oc->nopq", read, w[:, :, 0, 0]) + b[:, None, None]
    np.testing.assert_allclose(z.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    by_w = np.einsum("nopq,ncpq->oc", d, read)[:, :, None, None]
    for gradient, stated in zip(found, (by_x, by_w, d.sum((0, 2, 3))), strict=True):
        np.testing.assert_allclose(gradient.numpy(), stated, rtol=1e-4, atol=1e-4)
