"""The shared layers that a null space is sought for, as plain matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv2d


def shared_layers(network: nn.Module) -> dict[str, Layer]:
    """Linear and convolutional layers that all tasks share: all but the heads."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.startswith("heads.")
    }


def columns(layer: Layer, inputs: Tensor) -> Tensor:
    """What the layer's matrix is multiplied by: [n, rows, positions], float64.

    Of a linear layer one position, of a convolution the unfolded windows (reading M5). A bias is the weight of one more
    input that is always 1, so that one projection holds both.
    """
    if isinstance(layer, nn.Linear):
        result = inputs.detach().double().unsqueeze(2)
    else:
        if layer.groups != 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            raise ValueError(f"{layer}: only ungrouped convolutions with numeric zero padding are unfolded")
        unfolded = F.unfold(inputs.detach(), layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        result = unfolded.double()
    if layer.bias is None:
        return result
    return torch.cat([result, result.new_ones(len(result), 1, result.shape[2])], dim=1)


def rows(layer: Layer) -> int:
    """How many rows `columns` has."""
    return layer.weight[0].numel() + (layer.bias is not None)


def as_matrix(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Weight and, where there is one, bias of a layer side by side: [out, rows]."""
    weight, bias = tensors[f"{name}.weight"].flatten(1), tensors.get(f"{name}.bias")
    return weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)


def write_matrix(name: str, matrix: Tensor, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `as_matrix`, in place."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    weight.copy_((matrix if bias is None else matrix[:, :-1]).reshape(weight.shape))
    if bias is not None:
        bias.copy_(matrix[:, -1])
