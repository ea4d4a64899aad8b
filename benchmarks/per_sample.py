"""Importances as they are usually computed: from every image's own gradient, by a loop or by vmap, or from a batch's mean.

The networks are copies made of torch's own layers, in the order of the parameters of ours; the last layer is the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.anpyc.importance import entropy_change
from lifelong.networks.base import Network
from lifelong.networks.lenet import LeNet

HEAD = 2  # weight and bias of the last layer are not shared


def usual_network(network: Network) -> nn.Sequential:
    """The network in evaluation mode, of torch's layers alone."""
    layers: list[nn.Module] = []
    weights = [parameter.shape for name, parameter in network.named_parameters() if name.endswith("weight")]
    if isinstance(network, LeNet):
        for shape in weights[:2]:
            layers += [nn.Conv2d(shape[1], shape[0], 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        weights = weights[2:]
    layers.append(nn.Flatten())
    for shape in weights:
        layers += [nn.Linear(shape[1], shape[0]), nn.ReLU()]
    del layers[-1]  # none behind the head
    usual = nn.Sequential(*layers)
    with torch.no_grad():
        for into, parameter in zip(usual.parameters(), network.parameters(), strict=True):
            into.copy_(parameter)
    return usual.eval()


@dataclass(frozen=True)
class Kind:
    """An importance as moments of the gradients of some values of one image.

    Attributes:
        value: (logits [c], number) -> scalar whose gradient is taken.
        values: how many such values an image has.
        weights: logits [c] -> [values], what each value's moment is multiplied by.
        power: of the moment: 1 for magnitudes, 2 for squares.
        batch_value: (logits [n, c], targets [n]) -> scalar whose gradient is the mini-batch shortcut's.
    """

    value: Callable[[Tensor, int], Tensor]
    values: int
    weights: Callable[[Tensor], Tensor]
    power: int
    batch_value: Callable[[Tensor, Tensor], Tensor]


def _one(logits: Tensor) -> Tensor:
    return torch.ones(1)


def _entropy(logits: Tensor) -> Tensor:
    log_q = F.log_softmax(logits, dim=-1)
    return -(log_q.exp() * log_q).sum()


def _log_probability(logits: Tensor, c: int) -> Tensor:
    return F.log_softmax(logits, dim=-1)[c]


def _probabilities(logits: Tensor) -> Tensor:
    return F.softmax(logits, dim=-1)


def _mean_energy(logits: Tensor, _: Tensor) -> Tensor:
    return logits.square().sum(1).mean()


FISHER = Kind(_log_probability, 2, _probabilities, 2, F.cross_entropy)
MAS = Kind(lambda logits, _: logits.square().sum(), 1, _one, 1, _mean_energy)
ANPYC = Kind(lambda logits, _: _entropy(logits), 1, _one, 2, lambda logits, _: _entropy(logits))

Moments = tuple[list[Tensor], list[Tensor]]
"""Sums over the images of a batch of the gradients, and of their weighted magnitudes or squares; by parameter."""


def by_loop(network: nn.Sequential, images: Tensor, kind: Kind) -> Moments:
    """Forward each image, backward each of its values."""
    parameters = list(network.parameters())[:-HEAD]
    sums = [torch.zeros_like(p) for p in parameters]
    moments = [torch.zeros_like(p) for p in parameters]
    for image in images.split(1):
        logits = network(image)[0]
        weights = kind.weights(logits.detach()).tolist()
        for number, weight in enumerate(weights):
            gradients = torch.autograd.grad(kind.value(logits, number), parameters, retain_graph=number + 1 < kind.values)
            for into, moment, gradient in zip(sums, moments, gradients, strict=True):
                if kind.power == 2:
                    moment.addcmul_(gradient, gradient, value=weight)
                else:
                    moment.add_(gradient.abs_(), alpha=weight)
                if kind is ANPYC:
                    into.add_(gradient)
    return sums, moments


def by_vmap(network: nn.Sequential, images: Tensor, kind: Kind) -> Moments:
    """Every image's gradients at once: [n, *shape] for each parameter."""
    named = [(name, parameter.detach()) for name, parameter in network.named_parameters()]
    shared, head = dict(named[:-HEAD]), dict(named[-HEAD:])
    sums = [torch.zeros_like(p) for p in shared.values()]
    moments = [torch.zeros_like(p) for p in shared.values()]
    with torch.no_grad():
        weights = torch.stack([kind.weights(logits) for logits in network(images)])
    for number in range(kind.values):

        def value(parameters: dict[str, Tensor], image: Tensor, number: int = number) -> Tensor:
            return kind.value(functional_call(network, parameters | head, (image[None],))[0], number)

        gradients = vmap(grad(value), in_dims=(None, 0))(shared, images)
        for into, moment, gradient in zip(sums, moments, gradients.values(), strict=True):
            if kind is ANPYC:
                into += gradient.sum(0)
            gradient = gradient.square_() if kind.power == 2 else gradient.abs_()
            moment += torch.tensordot(weights[:, number], gradient, 1)
    return sums, moments


def by_batch(network: nn.Sequential, images: Tensor, targets: Tensor, kind: Kind) -> Moments:
    """One backward pass of the batch's value: moments of its gradient stand for those of the images."""
    parameters = list(network.parameters())[:-HEAD]
    found = list(torch.autograd.grad(kind.batch_value(network(images), targets), parameters))
    return found, [g.square() if kind.power == 2 else g.abs() for g in found]


def importance(network: nn.Sequential, split: Split, batch: int, kind: Kind, way: str) -> list[Tensor]:
    """The importance by parameter; `way` is loop, vmap or batch.

    The Fisher diagonal and MAS are means over the images (of the batches, by the shortcut); ANPyC's is the mean over the
    batches of the clamped second-order change (its Eq. 7).
    """
    parameters = [parameter.detach() for parameter in network.parameters()][:-HEAD]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    batches = 0
    for images, targets in _batches(split, batch):
        if way == "batch":
            sums, moments = by_batch(network, images, targets, kind)
        else:
            sums, moments = (by_loop if way == "loop" else by_vmap)(network, images, kind)
        batches += 1
        for into, parameter, first, second in zip(total, parameters, sums, moments, strict=True):
            into += entropy_change(first * parameter, second * parameter**2 / 2, "plus") if kind is ANPYC else second
    count = batches if kind is ANPYC or way == "batch" else len(split)
    return [tensor / count for tensor in total]


def _batches(split: Split, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in torch.arange(len(split)).split(batch):
        yield split.batch(chosen)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All weights in one vector, in double precision."""
    return torch.cat([tensor.flatten() for tensor in tensors]).double()
