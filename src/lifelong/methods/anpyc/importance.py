"""ANPyC's importance of a weight: how much the entropy of the answers would change without it (paper Eq. 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.config.methods import AnpycOptions
from lifelong.data.tensors import Split
from lifelong.learning.importance import outer_sum, recorded, shared_layers


def entropy_importance(network: nn.Module, split: Split, head: int, options: AnpycOptions) -> dict[str, Tensor]:
    """Importance of every shared weight and bias, averaged over batches of `options.importance_batch` images.

    I = -sum over the batch and the classes of q log q, with q the head's softmax (log-softmax, so that q = 0 gives 0:
    dossier N6), g = dI/dW, and per batch `change`(W, g, H). H is the diagonal that stands for the Hessian of I:
    `batch-sum` takes g^2 of the batch-summed entropy as released, `per-sample` the sum of the images' own squared
    gradients (dossier N5). The network must be in evaluation mode: dropout off, as released.
    """
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.")]
    named = dict(network.named_parameters())
    parameters = [named[name] for name in names]
    layers = shared_layers(network)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    batches = torch.arange(len(split)).split(options.importance_batch)
    for chosen in batches:
        images, _ = split.batch(chosen)
        with recorded(layers) as records:
            log_q = F.log_softmax(network(images, head), dim=1)
        entropy = -(log_q.exp() * log_q).sum()
        if options.curvature == "batch-sum":
            gradients = list(torch.autograd.grad(entropy, parameters))
            curvature = [gradient.square() for gradient in gradients]
        else:
            outputs = [record.outputs for record in records.values()]
            found = torch.autograd.grad(entropy, [*parameters, *outputs])
            gradients = list(found[: len(parameters)])
            squares: dict[str, Tensor] = {}
            for name, by_output in zip(records, found[len(parameters) :], strict=True):
                inputs = records[name].inputs
                squares[f"{name}.weight"], squares[f"{name}.bias"] = outer_sum(by_output.square(), inputs.square())
            curvature = [squares[name] for name in names]
        with torch.no_grad():
            for into, w, g, h in zip(total, parameters, gradients, curvature, strict=True):
                into += change(w, g, h, options.first_order)
    return {name: tensor / len(batches) for name, tensor in zip(names, total, strict=True)}


def change(weight: Tensor, gradient: Tensor, curvature: Tensor, first_order: str) -> Tensor:
    """Second-order change of the entropy, elementwise, never negative (paper Eq. 7; dossier N4).

    `plus` (released): max(g*W + W^2*H/2, 0). `minus`: max(-g*W + W^2*H/2, 0), the change when W is removed
    (W -> 0). `absolute`: |g*W + W^2*H/2|, nothing is clamped away.
    """
    first = -gradient * weight if first_order == "minus" else gradient * weight
    both = first.addcmul_(weight.square(), curvature, value=0.5)
    return both.abs_() if first_order == "absolute" else both.clamp_min_(0)
