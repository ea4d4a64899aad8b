"""The python layout of CIFAR-10 and CIFAR-100: pickles, opened so that they can build data and run nothing."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong.data.images import Images

TRAIN_BATCHES_10 = tuple(f"data_batch_{number}" for number in range(1, 6))


def decode_10(files: Mapping[str, bytes]) -> Images:
    """CIFAR-10 from its verified files; images [N, 3, 32, 32]."""
    batches = [unpickle(files[name]) for name in (*TRAIN_BATCHES_10, "test_batch")]
    pixels = [_images(batch) for batch in batches]
    labels = [np.array(batch["labels"]) for batch in batches]
    train = (np.concatenate(pixels[:-1]), np.concatenate(labels[:-1]))
    return Images.of(train, (pixels[-1], labels[-1]), unpickle(files["batches.meta"])["label_names"])


def decode_100(files: Mapping[str, bytes]) -> Images:
    """CIFAR-100 (fine labels) from its verified files; images [N, 3, 32, 32].

    The test images are put in the order of their file names, so that a test file in another order than the published
    one, which the order-free digest admits, is the same data.
    """
    train = unpickle(files["train"])
    names, labels, pixels = zip(*_sorted_records(files["test"]), strict=True)
    test_images = np.frombuffer(b"".join(pixels), np.uint8).reshape(len(names), 3, 32, 32).copy()
    return Images.of(
        (_images(train), np.array(train["fine_labels"])),
        (test_images, np.array(labels)),
        unpickle(files["meta"])["fine_label_names"],
    )


def records_digest(content: bytes) -> str:
    """sha256 of a CIFAR-100 split whatever the order of its records.

    Over the records sorted by (file name, fine label, pixels): file name in UTF-8, a zero byte, the label as one byte,
    the pixels. ValueError where the content is no CIFAR-100 split.
    """
    digest = hashlib.sha256()
    for name, label, pixels in _sorted_records(content):
        digest.update(name.encode() + bytes((0, label)))
        digest.update(pixels)
    return digest.hexdigest()


def unpickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of numpy arrays, bytes and builtin containers; ValueError for anything else."""
    try:
        # latin1 reads the strings of Python 2, in which the published files were written
        value = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly every kind of exception
        raise ValueError(f"not a pickle of plain arrays: {error or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a pickled {type(value).__name__}, not a dictionary")
    return {_text(key): item.array if isinstance(item, _Array) else item for key, item in value.items()}


class _Array:
    """Stands for numpy's array of bytes in a pickle: numpy's own `__setstate__` was not made for hostile states."""

    def __init__(self, *_prototype: Any) -> None: ...

    def __setstate__(self, state: tuple) -> None:
        _version, shape, _kind, column_major, values = state
        content = values if isinstance(values, bytes) else values.encode("latin1")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if column_major else "C").copy()


class _Byte:
    """Stands for `numpy.dtype`, for the one kind that images have."""

    def __init__(self, kind: str, *_flags: Any) -> None:
        if kind != "u1":
            raise pickle.UnpicklingError(f"it holds an array of kind {kind!r}, not of bytes")

    def __setstate__(self, state: tuple) -> None: ...  # byte order and alignment, which bytes have none of


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; the real `_codecs.encode` would import the codec that a file names."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes bytes by {encoding!r}")
    return text.encode("latin1")


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,  # only ever an argument of `_reconstruct`
    ("numpy", "dtype"): _Byte,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is refused") from None


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _images(batch: Mapping[str, Any]) -> np.ndarray:
    return batch["data"].reshape(-1, 3, 32, 32)


def _sorted_records(content: bytes) -> list[tuple[str, int, bytes]]:
    split = unpickle(content)
    names, labels, data = (split.get(key) for key in ("filenames", "fine_labels", "data"))
    if not (isinstance(names, list) and isinstance(labels, list) and isinstance(data, np.ndarray)):
        raise ValueError(f"not a CIFAR-100 split: it holds {', '.join(map(repr, split)) or 'nothing'}")
    names = [_text(name) for name in names]
    if not all(isinstance(name, str) for name in names) or not all(isinstance(label, int) for label in labels):
        raise ValueError("not a CIFAR-100 split: its file names are not text or its labels not whole numbers")
    if len(names) != len(labels) or data.shape != (len(labels), 3 * 32 * 32):
        raise ValueError(f"not a CIFAR-100 split: {len(names)} names, {len(labels)} labels, data {data.shape}")
    return sorted(zip(names, labels, (row.tobytes() for row in data), strict=True))
