"""EWC on the scale and shift of batch normalisation, which no projection protects (reading M27)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lifelong.data.tensors import Split
from lifelong.networks.base import Network


def norm_layers(network: nn.Module) -> dict[str, _BatchNorm]:
    """The batch-normalising layers by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


def norm_names(network: nn.Module) -> list[str]:
    """Names of their scales and shifts."""
    return [f"{name}.{part}" for name in norm_layers(network) for part in ("weight", "bias")]


def norm_fisher(network: Network, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """Mean over batches of the squared gradient of a batch's mean cross-entropy with the network's own answers as labels.

    That is the released estimate: the square is of the batch's gradient, not the images' own, and the labels are the
    classes the network answers with. In evaluation mode.
    """
    names = norm_names(network)
    if not names:
        return {}
    named = dict(network.named_parameters())
    total = [torch.zeros_like(named[name]) for name in names]
    batches = torch.arange(len(split)).split(batch)
    for chosen in batches:
        logits = network(split.batch(chosen)[0], head)
        loss = F.cross_entropy(logits, logits.detach().argmax(1))
        for into, gradient in zip(total, torch.autograd.grad(loss, [named[name] for name in names]), strict=True):
            into += gradient.square()
    return {name: tensor / len(batches) for name, tensor in zip(names, total, strict=True)}


def add_anchor(
    importance: Mapping[str, Tensor], anchor: Mapping[str, Tensor], found: Mapping[str, Tensor], now: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One quadratic for all tasks: sum_t F_t (w - w_t)^2 = F (w - a)^2 + constant, F = sum F_t, a = sum F_t w_t / F.

    Returns F and a with a task's `found` at weights `now` added; where F is 0 the anchor is `now`.
    """
    total, centre = {}, {}
    for name, fisher in found.items():
        before = importance.get(name, torch.zeros_like(fisher))
        total[name] = before + fisher
        share = torch.where(total[name] > 0, fisher / total[name].clamp_min(torch.finfo(fisher.dtype).tiny), 1.0)
        centre[name] = torch.lerp(anchor.get(name, now[name]), now[name], share)
    return total, centre
