"""Small networks and images for what looks into layers."""

from __future__ import annotations

import numpy as np
import torch
from support.tiny import PER_TASK, tiny_split
from torch import nn

from lifelong.data.tensors import Split
from lifelong.networks.base import Network
from lifelong.networks.mlp import Mlp
from lifelong.networks.small_conv import build
from lifelong.params.networks import SmallConvNetwork


def conv_net() -> Network:
    """Two convolutions on 1x2x3 images, batch normalisation away from its initial values."""
    generator = torch.Generator().manual_seed(1)
    settings = SmallConvNetwork(kind="small-conv", widths=[3, 4])
    network = build(settings, (1, 4, 4), [PER_TASK, PER_TASK], generator)
    for norm in network.norms:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def mlp() -> Network:
    torch.manual_seed(2)
    network = Mlp(6, [5, 4], [PER_TASK, PER_TASK], 0.0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network.eval()


def split_for(shape: tuple[int, ...]) -> Split:
    images = torch.from_numpy(np.random.default_rng(4).integers(0, 256, (13, *shape), dtype=np.uint8))
    return Split(images, tiny_split(3, 13).targets)
