"""PLOP: pseudo-labels for what a step does not annotate, and distillation of pooled features (Douillard et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.dense import VOID
from lifelong.data.tensors import Split
from lifelong.methods.plop import PlopOptions
from lifelong.networks.dense_conv import DenseConv, enlarge

Objective = Callable[[Tensor, Tensor], Tensor]

EVERY = 4
"""Medians of entropies are of every so-many-th pixel in both directions."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each image the mean over all pixels, void ones counting 0; [n] of logits [n, classes, H, W]."""
    return F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none").mean((1, 2))


def uncertainty(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of each pixel's answer over its largest possible value, and the answer; [n, H, W] of [n, classes, H, W]."""
    log_p = logits.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1) / math.log(logits.shape[1])
    return entropy, logits.argmax(1)


def pseudo_label(labels: Tensor, entropy: Tensor, answers: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """Labels with the old network's answers where it is sure, and each image's share of such pixels.

    Background pixels take the answer where its entropy is below `least` [classes] of that answer, and are void elsewhere.
    The share, of the background's pixels, is what an image's loss is multiplied by (1 without background).
    """
    background = labels == 0
    sure = entropy < least[answers]
    result = torch.where(background, torch.where(sure, answers, VOID), labels)
    count = background.flatten(1).sum(1)
    share = (background & sure).flatten(1).sum(1) / count.clamp_min(1)
    return result, torch.where(count > 0, share, 1.0)


@torch.no_grad()
def median_entropies(old: DenseConv, split: Split, step: int, batch: int, least: float) -> Tensor:
    """For each class before `step` the median entropy of the background pixels answered so, or `least` if that is more."""
    entropies, answered = [], []
    for chosen in torch.arange(len(split)).split(batch):
        images, labels = split.batch(chosen)
        entropy, answers = uncertainty(old(images, step - 1)[:, :, ::EVERY, ::EVERY])
        background = labels[:, ::EVERY, ::EVERY] == 0
        entropies.append(entropy[background])
        answered.append(answers[background])
    entropy, answers = torch.cat(entropies), torch.cat(answered)
    own = [entropy[answers == one] for one in range(old.answered(step - 1))]
    return torch.tensor([max(least, one.median().item()) if len(one) else least for one in own])


def pool(features: Tensor, scales: Sequence[int]) -> Tensor:
    """Local POD [n, *]: at each scale s the map [n, c, h, w] averaged over strips of w / s columns, and of h / s rows."""
    height, width = features.shape[2:]
    parts = [F.adaptive_avg_pool2d(features, shape).flatten(1) for s in scales for shape in ((height, s), (s, width))]
    return torch.cat(parts, dim=1)


def pooled_distance(new: Tensor, old: Tensor, scales: Sequence[int]) -> Tensor:
    """Mean over the images of ||local POD of new - of old||."""
    return (pool(new, scales) - pool(old, scales)).norm(dim=1).mean()


def plop_objective(
    network: DenseConv,
    old: DenseConv,
    sizes: Sequence[int],
    step: int,
    least: Tensor,
    options: PlopOptions,
) -> Objective:
    """Share of sure pixels * cross-entropy + sqrt(all classes / new ones) * POD of every map, and of the old logits."""
    factor = math.sqrt(sum(sizes[: step + 1]) / sizes[step])

    def objective(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            old_levels = old.levels(images)
            old_low = old.answers(old_levels[-1], step - 1)
            targets, share = pseudo_label(labels.long(), *uncertainty(enlarge(old_low, images)), least)
        levels = network.levels(images)
        low = network.answers(levels[-1], step)
        loss = (share * cross_entropy(enlarge(low, images), targets)).mean()
        scales = options.pod_scales
        distances = [pooled_distance(new, before, scales) for new, before in zip(levels, old_levels, strict=True)]
        of_logits = pooled_distance(low[:, : old_low.shape[1]], old_low, scales)
        return loss + factor * (options.pod * torch.stack(distances).mean() + options.pod_logits * of_logits)

    return objective
