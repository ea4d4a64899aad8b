"""Slow and fast model as one: A W_slow + (1 - A) W_fast (paper Eq. 10 and Algorithm 1, the same by reading M9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim.adam import adam

from lifelong.methods.split2meta import MetaFusion
from lifelong.methods.split2meta.normalisation import norm_layers
from lifelong.networks.base import Network
from lifelong.runtime.randomness import draw_on_processor

Weights = Mapping[str, Tensor]
"""Parameters and buffers by name."""


@dataclass(frozen=True)
class Dreamt:
    """What is kept of a task: dreams [n, C, H, W] in [0, 1] and the dreaming model's logits [n, classes] (reading M13)."""

    head: int
    images: Tensor
    logits: Tensor


def slow_share(task: int) -> float:
    """1 - 1/t, t counted from 1: the slow model's share in Connector and where A starts (reading M11)."""
    return 1 - 1 / (task + 1)


def fuse_weights(slow: Weights, fast: Weights, share: float | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """share * slow + (1 - share) * fast of every tensor; exactly slow at 1, fast at 0, and either where they are equal.

    A share for each name is [like the tensor's first dimensions ..., 1, ...]; tensors without one, and counters, are slow's.
    """
    result = dict(slow)
    for name, tensor in slow.items():
        part = share if isinstance(share, float) else share.get(name)
        if part is not None and tensor.is_floating_point():
            result[name] = torch.lerp(fast[name], tensor, part)
    return result


class Shares(nn.Module):
    """A = sigmoid(a) of what is fused: a value an output channel, a layer or an element (readings M10, M11, M12).

    Parameters and running statistics of a layer have one A by output channel; a batch normalisation has that of the
    convolution it follows directly (`network.followed`), or its own where it follows a sum. Heads of other tasks are the
    same in both models and have none.
    """

    def __init__(self, network: Network, head: int, per: str, start: float) -> None:
        super().__init__()
        followed: Mapping[str, str] = getattr(network, "followed", {})
        self._owner: dict[str, str] = {}
        self._shape: dict[str, tuple[int, ...]] = {}
        sizes: dict[str, torch.Size] = {}
        for name, tensor in network.state_dict().items():
            layer, _, part = name.rpartition(".")
            if not tensor.is_floating_point() or (layer.startswith("heads.") and layer != f"heads.{head}"):
                continue
            if per == "element":
                owner = f"{layer}.weight" if part.startswith("running_") else name
                size, self._shape[name] = tensor.shape, tuple(tensor.shape)
            else:
                owner = followed.get(layer, layer)
                size = torch.Size([len(tensor) if per == "channel" else 1])
                self._shape[name] = (-1, *[1] * (tensor.ndim - 1))
            self._owner[name] = owner
            sizes.setdefault(owner, size)
        logit = torch.logit(torch.tensor(start, dtype=torch.float64)).item()
        self._keys = {owner: owner.replace(".", "/") for owner in sizes}
        self.logits = nn.ParameterDict({self._keys[owner]: torch.full(size, logit) for owner, size in sizes.items()})

    def forward(self) -> dict[str, Tensor]:
        """A for each fused tensor, shaped to multiply it."""
        result = {owner: torch.sigmoid(self.logits[key]) for owner, key in self._keys.items()}
        return {name: result[owner].reshape(self._shape[name]) for name, owner in self._owner.items()}


class _AllLogits(nn.Module):
    """A network as functional_call wants it: its forward pass gives the logits of all heads."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.network.features(images)
        return [head(features) for head in self.network.heads]


def dream_loss(network: Network, weights: Weights, bank: Sequence[Dreamt]) -> Tensor:
    """Sum over the tasks of the mean KL(softmax of the dream's logits || the answer with `weights`) (paper Eq. 10, M16).

    The network must be in evaluation mode. Gradients reach batch normalisation's running statistics too.
    """
    inner = {f"network.{name}": tensor for name, tensor in fold_norms(network, weights).items()}
    answers = functional_call(_AllLogits(network), inner, (torch.cat([one.images for one in bank]),))
    total, start = torch.zeros(()), 0
    for one in bank:
        answer = answers[one.head][start : start + len(one.images)].log_softmax(1)
        total = total + F.kl_div(answer, one.logits.log_softmax(1), log_target=True, reduction="batchmean")
        start += len(one.images)
    return total


def fold_norms(network: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """The same function in evaluation mode with running statistics 0 and 1 and all else in scale and shift.

    scale = w / sqrt(v + eps), shift = b - m * scale: torch gives no gradient by running statistics, but does by these.
    """
    result = dict(weights)
    for name, layer in norm_layers(network).items():
        w, b, m, v = (weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        scale = w / (v + layer.eps).sqrt()
        result[f"{name}.weight"], result[f"{name}.bias"] = scale, b - m * scale
        result[f"{name}.running_mean"] = torch.zeros_like(m)
        result[f"{name}.running_var"] = torch.full_like(v, 1 - layer.eps)
    return result


def learn_fusion(
    network: Network,
    slow: Weights,
    fast: Weights,
    bank: Sequence[Dreamt],
    task: int,
    options: MetaFusion,
    generator: torch.Generator,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, float]]:
    """The fused weights, A of each tensor, and the loss on all dreams before and after A is learnt.

    A starts at `slow_share`, that is at linear fusion, or at 1/2; should its loss on all dreams end above linear fusion's,
    linear fusion is returned. Slow and fast model are constants, so a plain minimisation is all there is to it (M11).
    """
    shares = Shares(network, bank[-1].head, options.per, slow_share(task) if options.start == "linear" else 0.5)
    learnt: list[Tensor] = list(shares.parameters())
    first, second = [torch.zeros_like(p) for p in learnt], [torch.zeros_like(p) for p in learnt]
    counts = [torch.zeros((), device="cpu") for _ in learnt]
    constant = {name: torch.full_like(share, slow_share(task)) for name, share in shares().items()}
    with torch.no_grad():
        linear = dream_loss(network, fuse_weights(slow, fast, constant), bank).item()
    for _ in range(options.steps):
        loss = dream_loss(
            network, fuse_weights(slow, fast, shares()), [_some(one, options.batch, generator) for one in bank]
        )
        gradients = list(torch.autograd.grad(loss, learnt))
        with torch.no_grad():
            adam(
                learnt,
                gradients,
                first,
                second,
                [],
                counts,
                foreach=True,
                amsgrad=False,
                maximize=False,
                beta1=0.9,
                beta2=0.999,
                lr=options.learning_rate,
                weight_decay=0.0,
                eps=1e-8,
            )
        report(f"loss {loss.item():.4f}")
    with torch.no_grad():
        result = {name: share.clone() for name, share in shares().items()}
        meta = dream_loss(network, fuse_weights(slow, fast, result), bank).item()
        if not meta <= linear:
            result, meta = constant, linear
        return fuse_weights(slow, fast, result), result, {"linear": linear, "meta": meta}


def _some(one: Dreamt, count: int | None, generator: torch.Generator) -> Dreamt:
    """As many of a task's dreams, drawn anew; all of them without a count."""
    if count is None or count >= len(one.images):
        return one
    chosen = draw_on_processor(torch.randperm, len(one.images), generator=generator)[:count]
    return Dreamt(one.head, one.images[chosen], one.logits[chosen])


@torch.no_grad()
def estimate_norm_statistics(network: Network, images: Tensor) -> None:
    """Batch normalisation's running statistics made anew from one pass over images [n, C, H, W] (reading M12)."""
    layers = norm_layers(network).values()
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
    network.train()
    network.features(images)
    network.eval()
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
