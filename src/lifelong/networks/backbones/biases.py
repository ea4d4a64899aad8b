"""Beneficial biases (SKILL, Eq. 1): y = Conv(x) + b + B, one learnt scalar for each output channel of each convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lifelong.networks.backbones.fuse import fuse

BiasLayout = Literal["channel", "released"]


class BiasedBackbone(nn.Module):
    """A frozen backbone with a vector of beneficial biases, zero at first; batch normalisation stays fixed.

    `biases` [channels] holds those of all convolutions in the order of the network's modules. The network runs with its
    normalisation folded in: behind a convolution whose output is normalised by gamma / sigma, B counts gamma / sigma * B.
    With layout "released" the bias of a position is that of its flat index in [C, H, W] modulo C, as the published code
    adds it (reading S1); otherwise that of its channel.

    The biases are added behind the convolutions, not given to them: the gradient of a convolution's own bias costs as much
    as that of its weights, which nobody needs here.
    """

    def __init__(self, network: nn.Module, image_size: int, layout: BiasLayout = "channel") -> None:
        super().__init__()
        self.layout = layout
        self.network, scales = fuse(network, image_size)
        convolutions = {name: m for name, m in self.network.named_modules() if isinstance(m, nn.Conv2d)}
        self.sizes = {name: module.out_channels for name, module in convolutions.items()}
        self.biases = nn.Parameter(torch.zeros(sum(self.sizes.values())))
        starts = torch.tensor([0, *self.sizes.values()]).cumsum(0).tolist()
        for start, (name, module) in zip(starts, convolutions.items(), strict=False):
            own = torch.zeros(module.out_channels) if module.bias is None else module.bias.detach()
            module.bias = None
            module.register_forward_hook(self._adds(slice(start, start + module.out_channels), scales[name], own))

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, d] of images [n, 3, size, size]."""
        features: Tensor = self.network(images)
        return features

    def _adds(self, place: slice, scale: Tensor, own: Tensor) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            biases = self.biases[place]
            if self.layout == "channel":
                return output.add_((own + scale * biases)[:, None, None])
            pattern = biases.repeat(output.shape[2] * output.shape[3]).view(output.shape[1:])
            return output.add_(own[:, None, None] + scale[:, None, None] * pattern)

        return hook
