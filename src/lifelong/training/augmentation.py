"""Random changes of training images that keep their class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = 4


def crop_flip(images: Tensor) -> Tensor:
    """Each image [n, C, H, W] padded by 4 zero pixels and cropped at a random place, then mirrored half the time."""
    count, _, height, width = images.shape
    padded = F.pad(images, (PADDING, PADDING, PADDING, PADDING))
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count))
    mirrored = torch.rand(count) < 0.5
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns) + left[:, None]
    rows = torch.arange(height) + top[:, None]
    # Advanced indices on both sides of the channels' slice come first: [n, H, W, C].
    return (
        padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    )
