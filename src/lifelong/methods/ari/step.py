"""One mini-batch of ARI's Algorithm 2: a model for each task in it, and their fusion into the next base model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.classes import Classes
from lifelong.methods.ari import AriOptions
from lifelong.methods.ari.attack import background_mask, hold_constant, keep_statistics, perturb, resize_attention
from lifelong.methods.ari.fusion import (
    AverageFusion,
    Fusion,
    IntentFusion,
    LiteralFusion,
    PaperFusion,
    learning_share,
    manhattan,
    pull_back,
)
from lifelong.methods.ari.regulariser import add_regulariser_gradient_
from lifelong.networks.attention import AttentiveNetwork
from lifelong.networks.base import Network
from lifelong.training.fit import Update
from lifelong.training.losses import slice_cross_entropy
from lifelong.training.optimisers import Optimiser


def flatten_parameters(network: nn.Module) -> Tensor:
    """All parameters as one vector [P]; the network's own become views of it, so that changing one changes the other."""
    parameters = list(network.parameters())
    vector = torch.cat([parameter.detach().flatten() for parameter in parameters])
    parts = vector.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part.view_as(parameter)
    return vector


class TaskModels(Update):
    """Learns every task of a mini-batch apart and fuses the models (Algorithm 2 by mini-batches, reading A6).

    Each task's model starts from the base (A13); with `fusion: literal` it starts where the last one ended, as the released
    code does, and the whole is plain SGD with a pull back to the base. The optimiser's memory is shared by the task models
    and batch normalisation's running statistics take no part in the fusion, both as released.
    """

    def __init__(self, network: Network, options: AriOptions, classes: Classes, session: int, sessions: int) -> None:
        self.network = network
        self.options = options
        self.classes = classes
        self.parameters = list(network.parameters())
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.vector = flatten_parameters(network)
        fixed = options.rate == "constant"
        self.share = options.gamma if fixed else learning_share(session, sessions, options.beta)
        self._moved = torch.zeros(sessions, dtype=torch.float64)
        self._models = torch.zeros(sessions, dtype=torch.float64)
        if options.fusion == "paper" and options.distance == "raw":
            warnings.warn(
                "distance: raw gives all weight to one model: the softmax of sums over all parameters saturates",
                stacklevel=2,
            )

    def __call__(self, images: Tensor, labels: Tensor, optimiser: Optimiser, rate: float) -> Tensor:
        options = self.options
        base = self.vector.clone()
        fusion = self._fusion(base)
        attacked = None
        if options.attack != "none" and options.attack_model == "base":
            attacked = self.attacked(images, labels)
        others = [base]
        of_image = self.classes.owner(labels)
        total = torch.zeros(())
        for task in of_image.unique().tolist():
            own = (of_image == task).nonzero().flatten()
            if options.fusion != "literal":
                self.vector.copy_(base)
            loss = self._learn(images[own], labels[own], attacked, own, others, optimiser, rate)
            total += loss * len(own)
            distances = manhattan(self.vector, base, self.sizes)
            fusion.add(self.vector, distances)
            if options.regulariser:
                others.append(self.vector.clone())
            self._moved[task] += distances.sum(dtype=torch.float64)
            self._models[task] += 1
        self.vector.copy_(pull_back(fusion.result(), base, self.share))
        return total / len(labels)

    def measures(self) -> dict[str, float]:
        """Mean over the epoch's mini-batches of mean |phi_i - base| for each task i that had a model."""
        means = (self._moved / self._models / len(self.vector)).tolist()
        result = {f"distance_{task}": means[task] for task in self._models.nonzero().flatten().tolist()}
        self._moved.zero_()
        self._models.zero_()
        return result

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images after the background attack on the network as it is (Eqs. 1 and 2; readings A11, A12)."""
        options = self.options
        assert isinstance(self.network, AttentiveNetwork)
        assert options.attack != "none"
        start = bound = None
        asked = images
        if options.perturbation == "released":
            bound = options.epsilon
            start = torch.empty_like(images).uniform_(-bound, bound)
            asked = (images + start).clamp(0, 1)
        asked = asked.detach().requires_grad_()
        kept = keep_statistics(self.network) if options.statistics == "training" else nullcontext()
        with hold_constant(self.parameters), kept:
            features, attention = self.network.attended(asked)
            loss = F.cross_entropy(self.network.heads[0](features), labels)
        (gradient,) = torch.autograd.grad(loss, asked)
        mask = background_mask(resize_attention(attention.detach(), images), options.attack)
        return perturb(images, gradient, mask, options.epsilon, start, bound)

    def _learn(
        self,
        images: Tensor,
        labels: Tensor,
        attacked: Tensor | None,
        own: Tensor,
        others: Sequence[Tensor],
        optimiser: Optimiser,
        rate: float,
    ) -> Tensor:
        """The updates of one task's model (reading A8); returns the loss of the first."""
        if self.options.attack == "none":
            return self._step(images, labels, others, optimiser, rate)
        if self.options.updates == "attacked-only":
            changed = self.attacked(images, labels) if attacked is None else attacked[own]
            return self._step(changed, labels, others, optimiser, rate)
        loss = self._step(images, labels, others, optimiser, rate)
        changed = self.attacked(images, labels) if attacked is None else attacked[own]
        self._step(changed, labels, others, optimiser, rate)
        return loss

    def _step(self, images: Tensor, labels: Tensor, others: Sequence[Tensor], optimiser: Optimiser, rate: float) -> Tensor:
        """One update down the gradient of Eq. 7."""
        loss = slice_cross_entropy(self.network.all_logits(images), labels, self.classes)
        gradients = list(torch.autograd.grad(loss, self.parameters))
        if self.options.regulariser:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            add_regulariser_gradient_(flat, self.vector, others, self.options.regulariser)
            parts = zip(flat.split(self.sizes), gradients, strict=True)
            gradients = [part.view_as(gradient) for part, gradient in parts]
        optimiser.step(gradients, rate)
        return loss.detach()

    def _fusion(self, base: Tensor) -> Fusion:
        match self.options.fusion:
            case "paper":
                by_tensor = self.options.granularity == "tensor"
                return PaperFusion(base, self.sizes, self.options.distance, by_tensor)
            case "intent":
                return IntentFusion(base, self.sizes)
            case "average":
                return AverageFusion(base, self.sizes)
            case "literal":
                return LiteralFusion(base, self.sizes)
