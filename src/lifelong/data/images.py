"""A decoded data set: images and labels of a training and a test split, and what identifies them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Images:
    train_images: np.ndarray  # uint8 [N, C, H, W]
    train_labels: np.ndarray  # int64 [N], 0..classes-1
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    content: str  # sha256 over the four arrays, in order, and the class names: the identity of the data

    @classmethod
    def of(cls, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], names: list[str]) -> Images:
        """From (images uint8 [N, C, H, W], labels [N]) of each split."""
        arrays = (train[0], train[1].astype(np.int64), test[0], test[1].astype(np.int64))
        header = {"class_names": names, "shapes": [array.shape for array in arrays]}
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return cls(*arrays, class_names=tuple(names), content=digest.hexdigest())

    @classmethod
    def split(cls, images: np.ndarray, labels: np.ndarray, names: list[str], test_fraction: float, seed: int) -> Images:
        """Cut a set without a published split: stratified by class, drawn by `seed`, each part in the given order.

        ValueError where the classes are too small to be cut so.
        """
        from sklearn.model_selection import train_test_split  # slow to import

        parts = train_test_split(np.arange(len(labels)), test_size=test_fraction, random_state=seed, stratify=labels)
        train, test = (np.sort(part) for part in parts)
        if any(len(np.unique(labels[part])) < len(names) for part in (train, test)):
            raise ValueError("a class would have no image in one of the two parts")
        return cls.of((images[train], labels[train]), (images[test], labels[test]), names)
