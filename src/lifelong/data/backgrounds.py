"""Images put on synthetic backgrounds: similar ones for all training images, or another one behind each (ARI's Fig. 6)."""

from __future__ import annotations

from typing import Literal

import numpy as np

Backgrounds = Literal["shared", "distinct"]

SQUARE = 4
BRIGHTEST = 128
"""Of 255: what is drawn in an image stays brighter than what is behind it."""


def textures(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random squares of 4x4 pixels, uint8 [count, C, H, W]; texture i does not depend on how many there are."""
    channels, height, width = shape
    small = (count, channels, -(-height // SQUARE), -(-width // SQUARE))
    drawn = np.random.default_rng(seed).integers(0, BRIGHTEST, small, dtype=np.uint8)
    return drawn.repeat(SQUARE, 2).repeat(SQUARE, 3)[:, :, :height, :width]


def put_on_backgrounds(images: np.ndarray, chosen: np.ndarray, kind: Backgrounds, test: bool) -> np.ndarray:
    """The chosen images uint8 [n, C, H, W] over a background, pixel by pixel the brighter of the two.

    `distinct`: each image has its own. `shared`: all training images have the same one, and test images their own as in
    `distinct`, since Fig. 6 leaves the test images as they are.
    """
    if kind == "shared" and not test:
        behind = textures(1, images.shape[1:], 0)
    else:
        behind = textures(len(images), images.shape[1:], 2 if test else 1)[chosen]
    return np.maximum(images[chosen], behind)
