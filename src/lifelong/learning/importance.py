"""How much each shared weight matters to a task, from gradients of every image in one pass or of a batch's sum.

For a linear layer z = W a + b the gradient of one image is g a^T with g the gradient by z, so the sum over the images of
a batch of its squares is (G*G)^T (A*A) and that of its magnitudes |G|^T |A|: no loop over images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.layers import product
from lifelong.networks.mlp import shared_names


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


def outer_sum(by_outputs: Tensor, by_inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over images of by_outputs [b, out] x by_inputs [b, in] for the weight [out, in], and of by_outputs for the bias.

    With G*G and A*A these are the images' squared gradients, with |G| and |A| their magnitudes.
    """
    return product(by_outputs.T, by_inputs.T), by_outputs.sum(0)


def fisher_diagonal(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of the shared parameters, exact and in one pass over the images.

    F = mean over images of sum_c p_c * (d log p_c / dW)^2, the expectation over the model's own labels in closed form
    (no label is drawn, none is taken from the data). Since A is the same for every class, the classes are summed before
    the one product per layer. The network must be in evaluation mode.
    """
    layers = shared_layers(network)
    total = _zeros(network)
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
            weight, bias = outer_sum(squared.detach(), records[name].inputs.square())
            total[f"{name}.weight"] += weight
            total[f"{name}.bias"] += bias
    return {name: tensor / len(split) for name, tensor in total.items()}


def first_sample_fisher(
    network: nn.Module, split: Split, head: int, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """The Fisher diagonal as the released EWC estimates it: from the first image of each batch alone (dossier 5.1).

    F = mean over batches of (d log p_y / dW)^2 at their image 0, with one y drawn from the model's own p. That a mean and
    not a sum is taken over the batches is our reading: it keeps the scale of the exact diagonal.
    """
    total = _zeros(network)
    firsts = [chosen[:1] for chosen in torch.arange(len(split)).split(batch)]
    for first in firsts:
        images, _ = split.batch(first)
        log_p = F.log_softmax(network(images, head), dim=1)[0]
        drawn = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
        for name, gradient in _gradients(network, log_p[drawn].sum()).items():
            total[name] += gradient.square()
    return {name: tensor / len(firsts) for name, tensor in total.items()}


def output_sensitivity(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """MAS: mean over images of |d ||f(x)||^2 / dW|, f the head's logits, exact and in one pass (dossier 5.1).

    Images do not touch one another's outputs, so one backward pass of the batch's sum gives every image's g, and
    |G|^T |A| sums |g a^T|. The network must be in evaluation mode.
    """
    layers = shared_layers(network)
    total = _zeros(network)
    for chosen in torch.arange(len(split)).split(batch):
        images, _ = split.batch(chosen)
        with recorded(layers) as records:
            energy = network(images, head).square().sum()
        gradients = torch.autograd.grad(energy, [records[name].outputs for name in layers])
        for name, gradient in zip(layers, gradients, strict=True):
            weight, bias = outer_sum(gradient.abs(), records[name].inputs.abs())
            total[f"{name}.weight"] += weight
            total[f"{name}.bias"] += bias
    return {name: tensor / len(split) for name, tensor in total.items()}


def batch_sensitivity(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """MAS as released with ANPyC: sum over batches of |d (1/2 sum_batch ||softmax f(x)||^2) / dW| (dossier 5.1).

    Gradients of one batch's images may cancel before the magnitude is taken, unlike in `output_sensitivity`.
    """
    total = _zeros(network)
    for chosen in torch.arange(len(split)).split(batch):
        images, _ = split.batch(chosen)
        energy = F.softmax(network(images, head), dim=1).square().sum() / 2
        for name, gradient in _gradients(network, energy).items():
            total[name] += gradient.abs()
    return total


def accumulated(before: Mapping[str, Tensor], found: Mapping[str, Tensor], keep: float = 1.0) -> dict[str, Tensor]:
    """keep * before + found, by name; `before` is empty after the first task."""
    return {name: keep * before[name] + tensor if before else tensor for name, tensor in found.items()}


def _zeros(network: nn.Module) -> dict[str, Tensor]:
    """What importances of the shared parameters are summed into."""
    named = dict(network.named_parameters())
    return {name: torch.zeros_like(named[name]) for name in shared_names(network)}


def _gradients(network: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Gradient of a scalar by the shared parameters."""
    named = dict(network.named_parameters())
    names = shared_names(network)
    return dict(zip(names, torch.autograd.grad(value, [named[name] for name in names]), strict=True))
