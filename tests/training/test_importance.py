"""The exact diagonal of the Fisher information, beside slower statements of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny import PIXELS, forward, pixels, shared_of, tiny_split
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.networks.mlp import Mlp
from lifelong.training.importance import fisher_diagonal, record_layers, shared_layers

HEADS = [2, 3]


class Exact(Split):
    """A split whose batches are float64."""

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        images, targets = super().batch(chosen)
        return images.double(), targets


@pytest.fixture
def network() -> Mlp:
    network = Mlp(PIXELS, [4, 3], HEADS, 0.5).double().eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


@pytest.fixture
def split() -> Exact:
    return Exact(tiny_split(3, 7).images, tiny_split(3, 7).targets)


def class_by_class(network: Mlp, split: Split, head: int) -> dict[str, np.ndarray]:
    """Mean over the images of sum_c p_c (d log p_c / dW)^2, one backward pass for every image and class."""
    named = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    shared = shared_of(named)
    total = {name: np.zeros(tensor.shape) for name, tensor in shared.items()}
    for image in torch.from_numpy(pixels(split)):
        p = torch.softmax(forward(named, image, head), 0)
        for c in range(HEADS[head]):
            gradients = torch.autograd.grad(torch.log(p[c]), list(shared.values()), retain_graph=True)
            for name, gradient in zip(shared, gradients, strict=True):
                total[name] += p[c].item() * gradient.numpy() ** 2 / len(split)
    return total


def by_differences(network: Mlp, split: Split, head: int) -> dict[str, np.ndarray]:
    """Diagonal of J^T (diag(p) - p p^T) J, with the logits' Jacobian J by central differences."""
    weights = {name: p.detach().numpy().copy() for name, p in network.named_parameters()}
    z = forward(weights, pixels(split), head)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    total = {name: np.zeros(array.shape) for name, array in weights.items() if name.startswith("hidden.")}
    for name, diagonal in total.items():
        for place in np.ndindex(diagonal.shape):
            found = []
            for step in (1e-6, -1e-6):
                kept = weights[name][place]
                weights[name][place] += step
                found.append(forward(weights, pixels(split), head))
                weights[name][place] = kept
            j = (found[0] - found[1]) / 2e-6
            diagonal[place] = ((p * j**2).sum(1) - (p * j).sum(1) ** 2).mean()
    return total


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.parametrize("slow", [class_by_class, by_differences])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_fisher_diagonal(network: Mlp, split: Exact, head: int, slow: object, batch: int) -> None:
    assert callable(slow)
    expected = slow(network, split, head)
    found = fisher_diagonal(network, split, head, batch)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-8)


def test_no_label_of_the_data_is_used(network: Mlp, split: Exact) -> None:
    flipped = Exact(split.images, 1 - split.targets)
    a, b = (fisher_diagonal(network, data, 0, 100) for data in (split, flipped))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_hooks_go_whatever_happens(network: Mlp) -> None:
    with pytest.raises(ZeroDivisionError), record_layers(shared_layers(network)):
        raise ZeroDivisionError
    assert not any(layer._forward_hooks for layer in network.modules())
