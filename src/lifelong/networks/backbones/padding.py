"""TensorFlow's SAME padding as a layer of its own, so that what enters a convolution is what its weights meet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def with_explicit_padding(network: nn.Module, image_size: int) -> nn.Module:
    """The network, changed in place: each of timm's `Conv2dSame` becomes zeros around its input and a usual convolution."""
    from timm.layers import Conv2dSame
    from timm.layers.padding import get_same_padding

    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, Conv2dSame)}
    sizes: dict[str, list[int]] = {}

    def sees(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            sizes[name] = list(inputs[0].shape[-2:])

        return hook

    handles = [module.register_forward_pre_hook(sees(name)) for name, module in convolutions.items()]
    with torch.inference_mode():
        network(torch.zeros(1, 3, image_size, image_size))
    for handle in handles:
        handle.remove()
    for name, same in convolutions.items():
        sides: list[int] = []
        for axis in (1, 0):  # nn.ZeroPad2d begins with the width
            total = get_same_padding(sizes[name][axis], same.kernel_size[axis], same.stride[axis], same.dilation[axis])
            sides += [total // 2, total - total // 2]
        plain = nn.Conv2d(
            same.in_channels,
            same.out_channels,
            same.kernel_size,  # type: ignore[arg-type]
            same.stride,  # type: ignore[arg-type]
            dilation=same.dilation,  # type: ignore[arg-type]
            groups=same.groups,
            bias=same.bias is not None,
        )
        plain.weight, plain.bias = same.weight, same.bias
        network.set_submodule(name, nn.Sequential(nn.ZeroPad2d(tuple(sides)), plain))  # type: ignore[arg-type]
    return network
