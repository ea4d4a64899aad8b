"""ANPyC's importance of a weight: how much the entropy of the answers would change without it (paper Eq. 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import AnpycOptions
from lifelong.training.importance import record_layers, shared_layers, sum_over_images


def entropy_importance(network: nn.Module, split: Split, head: int, options: AnpycOptions) -> dict[str, Tensor]:
    """Importance of every shared weight and bias, averaged over batches of `options.importance_batch` images.

    I = -sum over the batch and the classes of q log q, with q the head's softmax (log-softmax, so that q = 0 gives 0:
    reading N6), g = dI/dW, and per batch `change`(W, g, H). H is the diagonal that stands for the Hessian of I:
    `batch-sum` takes g^2 of the batch-summed entropy as released, `per-sample` the sum of the images' own squared
    gradients (reading N5). The network must be in evaluation mode: dropout off, as released.
    """
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.")]
    named = dict(network.named_parameters())
    parameters = [named[name] for name in names]
    layers = shared_layers(network)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    batches = torch.arange(len(split)).split(options.importance_batch)
    for chosen in batches:
        images, _ = split.batch(chosen)
        with record_layers(layers) as records:
            log_q = F.log_softmax(network(images, head), dim=1)
        entropy = -(log_q.exp() * log_q).sum()
        if options.curvature == "batch-sum":
            firsts = [g.mul_(w) for g, w in zip(torch.autograd.grad(entropy, parameters), _values(parameters), strict=True)]
            # W^2 * g^2 / 2 is made of g*W alone.
            seconds = [first.square().div_(2) for first in firsts]
        else:
            result = torch.autograd.grad(entropy, [*parameters, *(record.outputs for record in records.values())])
            gradients, by_outputs = result[: len(parameters)], result[len(parameters) :]
            firsts = [g.mul_(w) for g, w in zip(gradients, _values(parameters), strict=True)]
            squares: dict[str, Tensor] = {}
            for name, by_output in zip(records, by_outputs, strict=True):
                squares |= sum_over_images(layers[name], name, records[name].inputs, by_output, torch.square)
            seconds = [squares[name].mul_(w).mul_(w).div_(2) for name, w in zip(names, _values(parameters), strict=True)]
        for into, first, second in zip(total, firsts, seconds, strict=True):
            into += entropy_change(first, second, options.first_order)
    return {name: tensor / len(batches) for name, tensor in zip(names, total, strict=True)}


def entropy_change(first: Tensor, second: Tensor, first_order: str) -> Tensor:
    """Second-order change of the entropy, elementwise, never negative (paper Eq. 7; reading N4).

    With first = g*W and second = W^2*H/2, `plus` (released): max(first + second, 0). `minus`: max(second - first, 0), the
    change when W is removed (W -> 0). `absolute`: |first + second|, nothing is clamped away. `second` is overwritten.
    """
    if first_order == "minus":
        return second.sub_(first).clamp_min_(0)
    both = second.add_(first)
    return both.abs_() if first_order == "absolute" else both.clamp_min_(0)


def _values(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach() for parameter in parameters]
