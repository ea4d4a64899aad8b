"""ANPyC's importance of a weight: how much the entropy of the answers would change without it (paper Eq. 7)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import AnpycOptions
from lifelong.training.importance import fisher_sum, record_layers, shared_layers, sum_over_images


def entropy_importance(network: nn.Module, split: Split, head: int, options: AnpycOptions) -> dict[str, Tensor]:
    """Importance of every shared weight and bias, averaged over batches of `options.importance_batch` images.

    I = -sum over the batch and the classes of q log q, with q the head's softmax (log-softmax, so that q = 0 gives 0:
    reading N6), g = dI/dW, and `entropy_change` of g*W and W^2*H/2: of every batch, then averaged (`clamp: batch`, as
    released), or of the averages of the two terms (`total`; reading N32). H is the diagonal that stands for the Hessian of
    I: `batch-sum` takes g^2 of the batch-summed entropy as released, `per-sample` the sum of the images' own squared
    gradients, `fisher` the batch's sum of the Fisher information (reading N5). The network must be in evaluation mode:
    dropout off, as released.
    """
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads.")]
    batches = torch.arange(len(split)).split(options.importance_batch)
    firsts, seconds, changes = ({name: torch.zeros_like(network.get_parameter(name)) for name in names} for _ in range(3))
    for chosen in batches:
        images, _ = split.batch(chosen)
        for name, first, second in _terms(network, names, images, head, options.curvature):
            if options.clamp == "batch":
                changes[name] += entropy_change(first, second, options.first_order)
            else:
                firsts[name] += first
                seconds[name] += second
    if options.clamp == "total":
        changes = {name: entropy_change(firsts[name], seconds[name], options.first_order) for name in names}
    return {name: change / len(batches) for name, change in changes.items()}


def entropy_change(first: Tensor, second: Tensor, first_order: str) -> Tensor:
    """Second-order change of the entropy, elementwise, never negative (paper Eq. 7; reading N4).

    With first = g*W and second = W^2*H/2, `plus` (released): max(first + second, 0). `minus`: max(second - first, 0), the
    change when W is removed (W -> 0). `absolute`: |first + second|, nothing is clamped away. `second` is overwritten.
    """
    if first_order == "minus":
        return second.sub_(first).clamp_min_(0)
    both = second.add_(first)
    return both.abs_() if first_order == "absolute" else both.clamp_min_(0)


def _terms(
    network: nn.Module, names: list[str], images: Tensor, head: int, curvature: str
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Of each named parameter g*W and W^2*H/2 of one batch (reading N5)."""
    layers = shared_layers(network)
    parameters = [network.get_parameter(name) for name in names]
    with record_layers(layers) as records:
        log_q = F.log_softmax(network(images, head), dim=1)
    entropy = -(log_q.exp() * log_q).sum()
    gradients = torch.autograd.grad(entropy, [*parameters, *(record.outputs for record in records.values())])
    squares: dict[str, Tensor] = {}
    if curvature == "per-sample":
        for name, by_output in zip(records, gradients[len(parameters) :], strict=True):
            squares |= sum_over_images(layers[name], name, records[name].inputs, by_output, torch.square)
    elif curvature == "fisher":
        squares = fisher_sum(network, images, head)
    for name, parameter, gradient in zip(names, parameters, gradients[: len(parameters)], strict=True):
        weight = parameter.detach()
        first = gradient.mul_(weight)
        # W^2 * g^2 / 2 of the batch's g is made of g*W alone.
        yield name, first, (first.square() if curvature == "batch-sum" else squares[name].mul_(weight.square())).div_(2)
