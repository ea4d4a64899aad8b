"""How much each shared weight matters to a task, from gradients of every image in one pass or of a batch's sum.

For a linear layer z = W a + b the gradient of one image is g a^T with g the gradient by z, so the sum over the images of
a batch of its squares is (G*G)^T (A*A) and that of its magnitudes |G|^T |A|. A convolution's is the sum over the positions
of g a^T with a the unfolded patches, a batch normalisation's that of g times the normalised input: one product per image,
batched. A layer of any other kind (generalised-mean pooling, say) is differentiated image by image, by `torch.func`. No loop
over images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.base import shared_names
from lifelong.networks.layers import product
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import draw_choice

Layer = nn.Module


class LayerRecord:
    """Inputs and outputs of one layer in one forward pass: [b, in] and [b, out], or [b, C, H, W]."""

    def __init__(self) -> None:
        self.inputs = torch.empty(0)
        self.outputs = torch.empty(0)


@contextmanager
def record_layers(layers: Mapping[str, Layer]) -> Iterator[dict[str, LayerRecord]]:
    """Records what goes in and out of the layers while the block runs.

    Raises:
        UserError: one of them is used twice in it, so that no one record is its own.
    """
    records = {name: LayerRecord() for name in layers}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if records[name].outputs.numel():
                raise UserError(f"layer {name!r} acts twice in one pass, so its importance is not known; use two layers")
            records[name].inputs, records[name].outputs = inputs[0].detach(), output

        return keep

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def shared_layers(network: nn.Module) -> dict[str, Layer]:
    """The layers with parameters of their own that all tasks share: all but the heads.

    Raises:
        UserError: a shared parameter is the network's own, which is no layer: what it acts on is not known.
    """
    owners = dict.fromkeys(name.rpartition(".")[0] for name in shared_names(network))
    if "" in owners:
        names = [name for name in shared_names(network) if "." not in name]
        raise UserError(f"importance of {', '.join(names)} is not known: put it into a layer (nn.Module) of the network's")
    return {name: network.get_submodule(name) for name in owners}


def _outer_sum(name: str, by_output: Tensor, inputs: Tensor) -> dict[str, Tensor]:
    """Sum over images of by_output [b, out] x inputs [b, in] for the weight [out, in], and of by_output for the bias."""
    return {f"{name}.weight": product(by_output.T, inputs.T), f"{name}.bias": by_output.sum(0)}


def sum_over_images(
    layer: Layer, name: str, inputs: Tensor, by_output: Tensor, each: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Sum over the images of a batch of `each` (square or abs) of every image's own gradients of a layer's parameters.

    `inputs` are the layer's and `by_output` the gradients by its outputs, as in `LayerRecord`. A batch normalisation must
    be in evaluation mode: images do not touch one another then.
    """
    if isinstance(layer, nn.Linear) and inputs.dim() == 2:
        return _outer_sum(name, each(by_output), each(inputs))
    if not isinstance(layer, nn.Conv2d | nn.BatchNorm2d) or not _unfolds(layer):
        return {f"{name}.{part}": each(g).sum(0) for part, g in _of_any(layer, inputs, by_output).items()}
    result: dict[str, Tensor] = {}
    if isinstance(layer, nn.Conv2d):
        by_image = _of_depthwise(layer, inputs, by_output) if layer.groups > 1 else _of_convolution(layer, inputs, by_output)
        result[f"{name}.weight"] = each(by_image).sum(0).view_as(layer.weight)
        per_bias = by_output.sum((2, 3))
    else:
        assert layer.running_mean is not None and layer.running_var is not None
        scale = torch.rsqrt(layer.running_var + layer.eps)[:, None, None]
        normalised = (inputs - layer.running_mean[:, None, None]) * scale
        result[f"{name}.weight"] = each((by_output * normalised).sum((2, 3))).sum(0)
        per_bias = by_output.sum((2, 3))
    if layer.bias is not None:
        result[f"{name}.bias"] = each(per_bias).sum(0)
    return result


def _unfolds(layer: nn.Conv2d | nn.BatchNorm2d) -> bool:
    """Whether the closed forms here are the layer's: whole convolutions, depthwise ones without dilation, zero padding."""
    if isinstance(layer, nn.BatchNorm2d):
        return layer.affine and layer.track_running_stats
    depthwise = layer.groups == layer.in_channels == layer.out_channels and layer.dilation == (1, 1)
    return (layer.groups == 1 or depthwise) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _of_any(layer: nn.Module, inputs: Tensor, by_output: Tensor) -> dict[str, Tensor]:
    """Every image's own gradients of a layer's own parameters, [b, ...] by name."""
    own = {name: parameter.detach() for name, parameter in layer.named_parameters(recurse=False)}

    def of_image(x: Tensor, g: Tensor) -> dict[str, Tensor]:
        back = vjp(lambda parameters: functional_call(layer, parameters, (x[None],)), own)[1]
        (result,) = back(g[None])
        return result

    result: dict[str, Tensor] = vmap(of_image)(inputs, by_output)
    return result


def _of_convolution(layer: nn.Conv2d, inputs: Tensor, by_output: Tensor) -> Tensor:
    """Every image's own gradient of the weight, [b, out, in * kernel]."""
    patches = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
    return torch.bmm(by_output.flatten(2), patches.transpose(1, 2))


def _of_depthwise(layer: nn.Conv2d, inputs: Tensor, by_output: Tensor) -> Tensor:
    """The same of a convolution with a kernel a channel, [b, channels, kernel]: place by place, ten times as fast."""
    assert not isinstance(layer.padding, str)
    (above, beside), (down, across), (high, wide) = layer.padding, layer.stride, by_output.shape[2:]
    padded = F.pad(inputs, (beside, beside, above, above))
    rows, columns = down * (high - 1) + 1, across * (wide - 1) + 1
    places = [
        (padded[:, :, i : i + rows : down, j : j + columns : across] * by_output).sum((2, 3))
        for i in range(layer.kernel_size[0])
        for j in range(layer.kernel_size[1])
    ]
    return torch.stack(places, dim=2)


def fisher_diagonal(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of the shared parameters, exact and in one pass over the images.

    F = mean over images of sum_c p_c * (d log p_c / dW)^2, the expectation over the model's own labels in closed form
    (no label is drawn, none is taken from the data). The network must be in evaluation mode.
    """
    total = _zeros(network)
    for chosen in torch.arange(len(split)).split(batch):
        _add(total, fisher_sum(network, split.batch(chosen)[0], head))
    return {name: tensor / len(split) for name, tensor in total.items()}


def fisher_sum(network: nn.Module, images: Tensor, head: int) -> dict[str, Tensor]:
    """Sum over the images of a batch, [b, ...], of each one's Fisher diagonal of the shared parameters.

    For a linear layer A is the same for every class, so the classes are summed before the one product.
    """
    layers = shared_layers(network)
    total = _zeros(network)
    with record_layers(layers) as records:
        log_p = F.log_softmax(network(images, head), dim=1)
    outputs = {name: records[name].outputs for name in layers}
    # Of a linear layer on one vector an image the classes are summed first.
    plain = [name for name, layer in layers.items() if isinstance(layer, nn.Linear) and outputs[name].dim() == 2]
    weighted = {name: torch.zeros_like(outputs[name]) for name in plain}
    for c in range(log_p.shape[1]):
        gradients = torch.autograd.grad(log_p[:, c].sum(), list(outputs.values()), retain_graph=True)
        p = log_p[:, c].detach().exp()
        for (name, layer), gradient in zip(layers.items(), gradients, strict=True):
            if name in weighted:
                weighted[name].addcmul_(p[:, None], gradient.square())
            else:
                # sqrt(p) * gradient, squared image by image.
                scaled = gradient * p.sqrt().view(-1, *[1] * (gradient.dim() - 1))
                _add(total, sum_over_images(layer, name, records[name].inputs, scaled, torch.square))
    for name, squared in weighted.items():
        _add(total, _outer_sum(name, squared, records[name].inputs.square()))
    return total


def first_sample_fisher(
    network: nn.Module, split: Split, head: int, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """The Fisher diagonal as the released EWC estimates it: from the first image of each batch alone (reading B1).

    F = mean over batches of (d log p_y / dW)^2 at their image 0, with one y drawn from the model's own p. That a mean and
    not a sum is taken over the batches is our reading: it keeps the scale of the exact diagonal.
    """
    total = _zeros(network)
    firsts = [chosen[:1] for chosen in torch.arange(len(split)).split(batch)]
    for first in firsts:
        images, _ = split.batch(first)
        log_p = F.log_softmax(network(images, head), dim=1)[0]
        drawn = draw_choice(log_p.detach().exp()[None], generator)
        for name, gradient in _gradients(network, log_p[drawn].sum()).items():
            total[name] += gradient.square()
    return {name: tensor / len(firsts) for name, tensor in total.items()}


def output_sensitivity(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """MAS: mean over images of |d ||f(x)||^2 / dW|, f the head's logits, exact and in one pass (reading B3).

    Images do not touch one another's outputs, so one backward pass of the batch's sum gives every image's g, and
    |G|^T |A| sums |g a^T|. The network must be in evaluation mode.
    """
    layers = shared_layers(network)
    total = _zeros(network)
    for chosen in torch.arange(len(split)).split(batch):
        images, _ = split.batch(chosen)
        with record_layers(layers) as records:
            energy = network(images, head).square().sum()
        gradients = torch.autograd.grad(energy, [records[name].outputs for name in layers])
        for name, gradient in zip(layers, gradients, strict=True):
            _add(total, sum_over_images(layers[name], name, records[name].inputs, gradient, torch.abs))
    return {name: tensor / len(split) for name, tensor in total.items()}


def batch_sensitivity(network: nn.Module, split: Split, head: int, batch: int) -> dict[str, Tensor]:
    """MAS as released with ANPyC: sum over batches of |d (1/2 sum_batch ||softmax f(x)||^2) / dW| (reading B3).

    Gradients of one batch's images may cancel before the magnitude is taken, unlike in `output_sensitivity`.
    """
    total = _zeros(network)
    for chosen in torch.arange(len(split)).split(batch):
        images, _ = split.batch(chosen)
        energy = F.softmax(network(images, head), dim=1).square().sum() / 2
        for name, gradient in _gradients(network, energy).items():
            total[name] += gradient.abs()
    return total


def accumulate(before: Mapping[str, Tensor], found: Mapping[str, Tensor], keep: float = 1.0) -> dict[str, Tensor]:
    """keep * before + found, by name; `before` is empty after the first task."""
    return {name: keep * before[name] + tensor if before else tensor for name, tensor in found.items()}


def _add(total: dict[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name, tensor in found.items():
        if name in total:  # a linear layer may have no bias
            total[name] += tensor


def _zeros(network: nn.Module) -> dict[str, Tensor]:
    """What importances of the shared parameters are summed into."""
    named = dict(network.named_parameters())
    return {name: torch.zeros_like(named[name]) for name in shared_names(network)}


def _gradients(network: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Gradient of a scalar by the shared parameters."""
    named = dict(network.named_parameters())
    names = shared_names(network)
    return dict(zip(names, torch.autograd.grad(value, [named[name] for name in names]), strict=True))
