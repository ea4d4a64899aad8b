"""Second moments of what enters each shared layer: alone (NSP), or with the gradients that come back (TPNSP).

All are uncentred, [rows, rows] and float64, summed over one task's images; the unfolded activations of one layer and one
batch are held at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.split2meta import NspSpace, TpnspSpace
from lifelong.methods.split2meta.layers import as_matrix, columns, shared_layers
from lifelong.networks.base import Network
from lifelong.runtime.randomness import draw_choice
from lifelong.training.importance import record_layers

Moments = dict[str, Tensor]
"""Layer -> [rows, rows], float64."""

BLOCK = 256
"""Rows of a symmetric sum that are computed together: what lies left of their own block is mirrored in the end."""


def preference_factor(x: Tensor, g: Tensor, reading: str) -> Tensor:
    """TPNSP: F [rows, n] whose F F^T is one batch's second moment, image by image or position by position (reading M1).

    x [n, rows, p] enters the layer, g [n, out, p] is each image's own loss gradient by what leaves it.
    `per-sample`: the sum over the images of A A^T with A = X G^T of paper Eq. 4. `per-position`: the sum of ||g||^2 x x^T
    over images and positions. Of a linear layer, which has one position, the two are one.
    """
    if reading == "per-position" or x.shape[2] == 1:
        return _side_by_side(x * g.norm(dim=1, keepdim=True))
    return _side_by_side(x @ g.transpose(1, 2))


@torch.no_grad()
def feature_moments(network: Network, split: Split, batch: int, options: NspSpace) -> Moments:
    """NSP (reading M26): of each shared layer the sum of x x^T over positions x [rows] of its inputs.

    `batch-mean` (released) takes the positions of each batch's mean input, `per-position` those of every image. The network
    must be in evaluation mode.
    """
    layers = shared_layers(network)
    total: Moments = {}
    for chosen in torch.arange(len(split)).split(batch):
        with record_layers(layers) as records:
            network.features(split.batch(chosen)[0])
        for name, layer in layers.items():
            inputs = records[name].inputs
            x = columns(layer, inputs.mean(0, keepdim=True) if options.average == "batch-mean" else inputs)
            _add_square(total, name, _side_by_side(x))
    return {name: _whole(moment) for name, moment in total.items()}


def preference_moments(
    network: Network, split: Split, head: int, batch: int, options: TpnspSpace, generator: torch.Generator
) -> Moments:
    """TPNSP: second moments whose eigenvectors stand for the singular vectors of X G^T (paper Eq. 5; reading M1).

    X G^T of a batch is its transposed weight gradient A^T (reading M1). `literal`: A^T A with A of all images at
    once. `per-batch`: the sum of A^T A over the batches' own A. The other readings: `preference_factor`. All are divided by
    their trace: gradients shrink with the loss, so the task that was learnt worst would decide alone without.

    The gradients are of cross-entropy under `head` in evaluation mode, with the images' own labels (`true`) or labels
    drawn from the network's answer (`model`, reading M2).
    """
    layers = shared_layers(network)
    named = {f"{name}.{part}": p for name, layer in layers.items() for part, p in layer.named_parameters()}
    total: Moments = {}
    factors: dict[str, Tensor] = {}
    for chosen in torch.arange(len(split)).split(batch):
        images, targets = split.batch(chosen)
        with record_layers(layers) as records:
            logits = network(images, head)
        if options.labels == "model":
            targets = draw_choice(logits.detach().softmax(1), generator)
        loss = F.cross_entropy(logits, targets, reduction="sum")
        if options.reading in ("literal", "per-batch"):
            gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
            for name in layers:
                factor = as_matrix(name, gradients).double().T
                if options.reading == "literal":
                    factors[name] = factors[name] + factor if name in factors else factor
                else:
                    _add_square(total, name, factor)
        else:
            by_output = torch.autograd.grad(loss, [records[name].outputs for name in layers])
            for (name, layer), g in zip(layers.items(), by_output, strict=True):
                own = g.double().reshape(*g.shape[:2], -1)
                _add_square(total, name, preference_factor(columns(layer, records[name].inputs), own, options.reading))
    for name, factor in factors.items():
        _add_square(total, name, factor)
    tiny = torch.finfo(torch.float64).tiny
    return {name: _whole(moment) / moment.trace().clamp_min(tiny) for name, moment in total.items()}


def _side_by_side(x: Tensor) -> Tensor:
    """[n, rows, p] -> [rows, n * p]."""
    return x.transpose(0, 1).flatten(1)


def _add_square(total: Moments, name: str, factor: Tensor) -> None:
    """Add F F^T of F [rows, n] on and above the diagonal: `_whole` mirrors the rest."""
    if name not in total:
        total[name] = factor.new_zeros(len(factor), len(factor))
    for first in range(0, len(factor), BLOCK):
        total[name][first : first + BLOCK, first:].addmm_(factor[first : first + BLOCK], factor[first:].T)


def _whole(moment: Tensor) -> Tensor:
    return moment.triu() + moment.triu(1).T
