"""The IDX format of MNIST and Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lifelong.data.images import Images

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def decode(files: Mapping[str, bytes], names: list[str]) -> Images:
    """The four verified files (by the names in FILES) as images [N, 1, H, W] and labels."""
    train_images, train_labels, test_images, test_labels = (array(files[file]) for file in FILES)
    return Images.of((train_images[:, None], train_labels), (test_images[:, None], test_labels), names)


def array(content: bytes) -> np.ndarray:
    """uint8 array of an IDX file: two zero bytes, type 8 (unsigned byte), rank, big-endian sizes, then the values."""
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"not an IDX file of unsigned bytes: it begins with {content[:4]!r}")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
