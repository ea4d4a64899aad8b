"""A published backbone that learns, with heads on its pooled features (SKILL's baselines train theirs; dossier 2.4).

Batch normalisation keeps the published statistics: it is folded into the convolutions, whose weights and biases learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lifelong import layout
from lifelong.backbones.fuse import fuse
from lifelong.backbones.load import load_backbone
from lifelong.backbones.padding import with_explicit_padding
from lifelong.config.skill import TrainedBackbone
from lifelong.data.catalog import search_directories
from lifelong.networks.base import Network
from lifelong.networks.layers import Linear

CHUNK = 32
"""Images that pass together where no gradient is asked for."""


class BackboneNetwork(Network):
    """Features [n, d] of prepared images [n, 3, size, size]."""

    def __init__(self, body: nn.Module, width: int, head_sizes: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(Linear(width, size) for size in head_sizes)

    def features(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            found: Tensor = self.body(images)
            return found
        return torch.cat([self.body(part) for part in images.split(CHUNK)])


@torch.no_grad()
def build(
    settings: TrainedBackbone, image_shape: Sequence[int], head_sizes: Sequence[int], generator: torch.Generator
) -> BackboneNetwork:
    """The published weights; heads uniform in +-1/sqrt(fan-in), their biases 0.

    Raises:
        UserError: the backbone's weights are absent or are not those of the checksum.
    """
    published = load_backbone(settings.name, settings.backbone, layout.RAW, search_directories())
    fused, _ = fuse(published, settings.backbone.image_size)
    body = with_explicit_padding(fused, settings.backbone.image_size)
    width = body(torch.zeros(1, *image_shape)).shape[1]
    network = BackboneNetwork(body, width, head_sizes)
    for head in network.heads:
        bound = 1 / math.sqrt(width)
        head.get_parameter("weight").uniform_(-bound, bound, generator=generator)
        head.get_parameter("bias").zero_()
    return network.requires_grad_()
