"""Dreams: images that a trained network answers as a task asks, made from the network alone (paper Eq. 9; reading M14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam

from lifelong.data.tensors import Split
from lifelong.methods.split2meta import Dreams
from lifelong.methods.split2meta.layers import shared_layers
from lifelong.methods.split2meta.normalisation import norm_layers
from lifelong.networks.base import Network
from lifelong.runtime.randomness import draw_on_processor

Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Layer -> mean and variance [channels] that the images' own shall come near to."""


def running_statistics(network: nn.Module) -> Statistics:
    """Running mean and variance of what enters each batch-normalising layer."""
    return {name: (layer.running_mean, layer.running_var) for name, layer in norm_layers(network).items()}  # type: ignore[misc]


@torch.no_grad()
def record_statistics(network: Network, split: Split, batch: int) -> Statistics:
    """For networks without batch normalisation: mean and variance of what leaves each shared layer on a task's images."""
    sums: dict[str, list[Tensor]] = {}
    with _watched(shared_layers(network), leaving=True) as seen:
        for chosen in torch.arange(len(split)).split(batch):
            network.features(split.batch(chosen)[0])
            for name, output in seen.items():
                flat = _by_channel(output).double()
                result = [torch.tensor(flat.shape[1]), flat.sum(1), flat.square().sum(1)]
                sums[name] = [a + b for a, b in zip(sums[name], result, strict=True)] if name in sums else result
    return {
        name: ((total / n).float(), (squares / n - (total / n).square()).clamp_min(0).float())
        for name, (n, total, squares) in sums.items()
    }


def statistics_distance(wanted: Statistics, seen: Mapping[str, Tensor], which: str) -> Tensor:
    """How far the images' mean and variance of each layer are from those wanted.

    `mean-variance`: the sum over the layers of ||variance - wanted|| + ||mean - wanted|| (DeepInversion). `mean`: the sum of
    ||mean - wanted||^2, as paper Eq. 9 says.
    """
    total = torch.zeros(())
    for name, (mean, variance) in wanted.items():
        flat = _by_channel(seen[name])
        away = flat.mean(1) - mean
        if which == "mean":
            total = total + away.square().sum()
        else:
            total = total + away.norm() + (flat.var(1, correction=0) - variance).norm()
    return total


def total_variation(images: Tensor) -> Tensor:
    """Sum of the norms of the differences to the neighbours right, below and on both diagonals; images [n, C, H, W]."""
    right = images[..., :, 1:] - images[..., :, :-1]
    below = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return right.norm() + below.norm() + falling.norm() + rising.norm()


def balanced_targets(count: int, classes: int) -> Tensor:
    """The classes in turn, [count] int64 (reading M15)."""
    return torch.arange(count) % classes


def dream(
    network: Network,
    head: int,
    targets: Tensor,
    image_shape: tuple[int, ...],
    statistics: Statistics,
    options: Dreams,
    generator: torch.Generator,
    report: Callable[[str], None] = lambda _: None,
) -> Tensor:
    """Images [n, C, H, W] in [0, 1] that minimise cross-entropy + weighted distance of statistics, variation and square.

    The network is in evaluation mode; each iteration sees all images rolled by the same few pixels. They start as noise
    around the middle grey and are kept within the range of images.
    """
    images = (0.5 + 0.25 * draw_on_processor(torch.randn, len(targets), *image_shape, generator=generator)).clamp_(0, 1)
    first, second, steps = torch.zeros_like(images), torch.zeros_like(images), torch.zeros((), device="cpu")
    watched = norm_layers(network)
    rolls = draw_on_processor(
        torch.randint, -options.jitter, options.jitter + 1, (options.iterations, 2), generator=generator
    ).tolist()
    with _watched(watched or shared_layers(network), leaving=not watched) as seen:
        for across, down in rolls:
            images.requires_grad_()
            rolled = images.roll((down, across), (2, 3))
            loss = F.cross_entropy(network(rolled, head), targets)
            loss = loss + options.statistics_weight * statistics_distance(statistics, seen, options.statistics)
            loss = loss + options.smoothness_weight * total_variation(rolled)
            loss = loss + options.square_weight * images.square().flatten(1).sum(1).mean()
            (gradient,) = torch.autograd.grad(loss, images)
            images = images.detach()
            with torch.no_grad():
                adam(
                    [images],
                    [gradient],
                    [first],
                    [second],
                    [],
                    [steps],
                    amsgrad=False,
                    maximize=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=options.learning_rate,
                    weight_decay=0.0,
                    eps=1e-8,
                )
                images.clamp_(0, 1)
            report(f"loss {loss.item():.4f}")
    return images


@contextmanager
def _watched(layers: Mapping[str, nn.Module], leaving: bool) -> Iterator[dict[str, Tensor]]:
    """What entered the layers, or left them, in the last forward pass; gradients flow through it."""
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = output if leaving else inputs[0]

        return keep

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _by_channel(values: Tensor) -> Tensor:
    """[n, channels, ...] -> [channels, n * positions]."""
    return values.transpose(0, 1).flatten(1)
