"""Random crops and mirrorings beside one image at a time."""

from __future__ import annotations

import numpy as np
import torch

from lifelong.training.augmentation import PADDING, crop_flip


def test_every_image_is_a_window_of_itself_padded_mirrored_or_not() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 2, 5, 6)
    found = crop_flip(images)
    assert found.shape == images.shape
    assert found.is_contiguous()
    seen = set()
    for image, changed in zip(images.numpy(), found.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
        matches = [
            (top, left, mirrored)
            for top in range(2 * PADDING + 1)
            for left in range(2 * PADDING + 1)
            for mirrored in (False, True)
            if np.array_equal(padded[:, top : top + 5, left : left + 6][:, :, :: -1 if mirrored else 1], changed)
        ]
        assert matches
        seen.add(matches[0])
    assert {match[2] for match in seen} == {False, True}
    for axis in (0, 1):
        assert {match[axis] for match in seen} == set(range(2 * PADDING + 1))
