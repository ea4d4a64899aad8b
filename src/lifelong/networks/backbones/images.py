"""From decoded images to what a backbone sees: three channels, resized once, the centre, normalised."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lifelong.params.backbones import Backbone


def prepare_images(images: Tensor, settings: Backbone) -> Tensor:
    """uint8 [n, 1 or 3, h, w] -> float32 [n, 3, size, size], channels last: `resized` and then `normalised`."""
    return normalise(resize(images, settings), settings)


def resize(images: Tensor, settings: Backbone) -> Tensor:
    """uint8 [n, c, h, w] -> float32 [n, c, size, size] in 0..255.

    The shorter side becomes size / crop (bicubic, antialiased), and the centre is cut out.
    """
    height, width = images.shape[2:]
    shorter = round(settings.image_size / settings.crop)
    scale = shorter / min(height, width)
    shape = (max(shorter, round(height * scale)), max(shorter, round(width * scale)))
    pixels = images.float()
    if shape != (height, width):
        pixels = functional.interpolate(pixels, shape, mode="bicubic", antialias=True).clamp_(0, 255)
    top, left = ((side - settings.image_size) // 2 for side in shape)
    return pixels[:, :, top : top + settings.image_size, left : left + settings.image_size]


def normalise(pixels: Tensor, settings: Backbone) -> Tensor:
    """float32 [n, 1 or 3, size, size] in 0..255 -> three channels, scaled to 0..1, less the mean, over the deviation."""
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (settings.mean, settings.deviation))
    prepared = (pixels / 255 - mean) / deviation  # a grey channel becomes three here
    return prepared.contiguous(memory_format=torch.channels_last)
