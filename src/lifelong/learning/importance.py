"""Squared gradients of every image in one pass.

For a linear layer z = W a + b the gradient of one image's loss is g a^T with g = dloss/dz, so the sum of its squares over
the images of a batch is (G*G)^T (A*A): no loop over images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.layers import product


class LinearRecord:
    """Inputs [b, in] and pre-activations [b, out] of one linear layer in one forward pass."""

    def __init__(self) -> None:
        self.inputs = torch.empty(0)
        self.outputs = torch.empty(0)


@contextmanager
def recorded(layers: dict[str, nn.Linear]) -> Iterator[dict[str, LinearRecord]]:
    """Records what goes in and out of the layers while the block runs."""
    records = {name: LinearRecord() for name in layers}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            records[name].inputs, records[name].outputs = inputs[0].detach(), output

        return keep

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def shared_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers that all tasks share: all but the heads."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith("heads.")
    }


def squared_sum(record: LinearRecord, squared: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over images of the squared gradients of weight [out, in] and bias [out]; `squared` is G*G, [b, out]."""
    return product(squared.T, record.inputs.square().T), squared.sum(0)


def fisher_diagonal(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of the shared parameters, exact and in one pass over the images.

    F = mean over images of sum_c p_c * (d log p_c / dW)^2, the expectation over the model's own labels in closed form
    (no label is drawn, none is taken from the data). Since A is the same for every class, the classes are summed before
    the one product per layer. The network must be in evaluation mode.
    """
    layers = shared_layers(network)
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters() if not name.startswith("heads.")}
    for chosen in torch.arange(len(split)).split(batch):
        images, _ = split.batch(chosen)
        with recorded(layers) as records:
            log_p = F.log_softmax(network(images, head), dim=1)
        outputs = [records[name].outputs for name in layers]
        weighted = [torch.zeros_like(output) for output in outputs]
        for c in range(log_p.shape[1]):
            gradients = torch.autograd.grad(log_p[:, c].sum(), outputs, retain_graph=True)
            p = log_p[:, c : c + 1].detach().exp()
            for into, gradient in zip(weighted, gradients, strict=True):
                into.addcmul_(p, gradient.square())
        for name, squared in zip(layers, weighted, strict=True):
            weight, bias = squared_sum(records[name], squared.detach())
            total[f"{name}.weight"] += weight
            total[f"{name}.bias"] += bias
    return {name: tensor / len(split) for name, tensor in total.items()}
