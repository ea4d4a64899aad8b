"""The data sets by name: where each comes from, the checksums of its content, and how it is decoded.

`digits` comes with scikit-learn. The published sets are looked for in `data/raw`, then in the directories of
LIFELONG_DATA, and at last downloaded from their publisher; each file may be plain, .gz or .xz, because checksums are of
the content. A data set of the user's own is a folder of images (see `folder`).
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import importlib
import lzma
import os
import socket
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.data import cifar, idx
from lifelong.data.folder import FolderSource, read_folder
from lifelong.data.images import Images
from lifelong.params.datasets import USUAL_LIMITS, Limits
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Checksum:
    """What the decompressed content of a file must hash to: the md5, or the digest of its records in any order."""

    md5: str
    records: str | None = None


@dataclass(frozen=True)
class Published:
    publisher: str  # the class of torchvision.datasets that downloads it
    folder: str  # where that class puts the files below its root
    files: Mapping[str, Checksum]
    decode: Callable[[Mapping[str, bytes]], Images]


_FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

PUBLISHED: dict[str, Published] = {
    "mnist": Published(
        publisher="MNIST",
        folder="MNIST/raw",
        files={
            "train-images-idx3-ubyte": Checksum("6bbc9ace898e44ae57da46a324031adb"),
            "train-labels-idx1-ubyte": Checksum("a25bea736e30d166cdddb491f175f624"),
            "t10k-images-idx3-ubyte": Checksum("2646ac647ad5339dbf082846283269ea"),
            "t10k-labels-idx1-ubyte": Checksum("27ae3e4e09519cfbb04c329615203637"),
        },
        decode=functools.partial(idx.decode, names=list("0123456789")),
    ),
    "fashion-mnist": Published(
        publisher="FashionMNIST",
        folder="FashionMNIST/raw",
        files={
            "train-images-idx3-ubyte": Checksum("f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            "train-labels-idx1-ubyte": Checksum("9018921c3c673c538a1fc5bad174d6f9"),
            "t10k-images-idx3-ubyte": Checksum("8181f5470baa50b63fa0f6fddb340f0a"),
            "t10k-labels-idx1-ubyte": Checksum("15d484375f8d13e6eb1aabb0c3f46965"),
        },
        decode=functools.partial(idx.decode, names=_FASHION),
    ),
    "cifar10": Published(
        publisher="CIFAR10",
        folder="cifar-10-batches-py",
        files={
            "data_batch_1": Checksum("c99cafc152244af753f735de768cd75f"),
            "data_batch_2": Checksum("d4bba439e000b95fd0a9bffe97cbabec"),
            "data_batch_3": Checksum("54ebc095f3ab1f0389bbae665268c751"),
            "data_batch_4": Checksum("634d18415352ddfa80567beed471001a"),
            "data_batch_5": Checksum("482c414d41f54cd18b22e5b47cb7c3cb"),
            "test_batch": Checksum("40351d587109b95175f43aff81a1287e"),
            "batches.meta": Checksum("5ff9c542aee3614f3951f8cda6e48888"),
        },
        decode=cifar.decode_10,
    ),
    "cifar100": Published(
        publisher="CIFAR100",
        folder="cifar-100-python",
        files={
            "train": Checksum(
                "16019d7e3df5f24257cddd939b257f8d",
                "451e21dbab5c5d1d6c53a967fea0b32a12e2293a1e6c22c519982a90ab3231a1",
            ),
            "test": Checksum(
                "f0ef6b0ae62326f3e7ffdfab6717acfc",
                "d9c75a80a48e9719c7bb1bc4b09e09948726ff41271fbc58c3ff0680db778f01",
            ),
            "meta": Checksum("7973b15100ade9c7d40fb424638fde48"),
        },
        decode=cifar.decode_100,
    ),
}
BUILT_IN: tuple[str, ...] = ("digits", *PUBLISHED)

_OPENERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
LARGEST = 2**28
"""Bytes of a published file: what a forged one could unpack to is not read."""
_DOWNLOAD_TIMEOUT = 60.0  # seconds without a byte


def prepare(
    name: str, folder: FolderSource | None, output: Path, raw: Path, search: Sequence[Path], limits: Limits = USUAL_LIMITS
) -> None:
    """Decode a data set into one tensor file of kind "images"."""
    images = load(name, folder, raw, search, limits)
    arrays = {
        "train_images": images.train_images,
        "train_labels": images.train_labels,
        "test_images": images.test_images,
        "test_labels": images.test_labels,
    }
    info = {"dataset": name, "class_names": list(images.class_names), "content": images.content}
    write_tensors(output, "images", arrays, info)


def load(name: str, folder: FolderSource | None, raw: Path, search: Sequence[Path], limits: Limits = USUAL_LIMITS) -> Images:
    """Find, verify and decode a data set; `raw` is `data/raw`, `search` comes from `search_directories`.

    UserError names the file that is wrong, truncated or missing, or every directory that was searched.
    """
    if folder is not None:
        if name in BUILT_IN:
            raise UserError(f"data set {name!r}: is built in, so it cannot be a folder too; give the folder another name")
        return read_folder(name, folder, raw, search, limits)
    if name not in BUILT_IN:
        raise UserError(f"data set {name!r}: neither built in nor given a folder; {did_you_mean(name, BUILT_IN)}")
    if name == "digits":
        return _digits()
    directory = _find(name, raw, search)
    return _read(name, directory) if directory else _download(name, raw, search)


def _digits() -> Images:
    """The 1,797 digits of scikit-learn, 8x8, scaled from 0..16 to 0..255; 25 % for testing, drawn by seed 0."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Images.split(images, bunch.target, [str(digit) for digit in range(10)], test_fraction=0.25, seed=0)


def _folders(name: str) -> tuple[str, ...]:
    """Below a directory of the search; "." for the files themselves."""
    published = PUBLISHED[name].folder
    top = published.split("/")[0]
    return tuple(dict.fromkeys((name, f"{name}/{published}", published, top, ".")))


def _find(name: str, raw: Path, search: Sequence[Path]) -> Path | None:
    """The first directory that holds any file of the set (all of them where the directory is not named after it)."""
    for base in (raw, *search):
        for folder in _folders(name):
            present = [_present(base / folder, file) is not None for file in PUBLISHED[name].files]
            if all(present) if folder == "." else any(present):
                return base / folder
    return None


def _present(directory: Path, file: str) -> Path | None:
    paths = (directory / f"{file}{suffix}" for suffix in _OPENERS)
    return next((path for path in paths if path.is_file()), None)


def _read(name: str, directory: Path) -> Images:
    published = PUBLISHED[name]
    contents: dict[str, bytes] = {}
    for file, checksum in published.files.items():
        path = _present(directory, file)
        if path is None:
            raise UserError(
                f"{directory}: found a part of {name}; expected {file} (or {file}.gz, {file}.xz) too; "
                "put it there or remove the rest"
            )
        contents[file] = _verified(name, path, file, checksum)
    return published.decode(contents)


def _verified(name: str, path: Path, file: str, checksum: Checksum) -> bytes:
    expected = f"expected {name}'s {file} with md5 {checksum.md5} (of the decompressed content)"
    remedy = "replace it by the published file, or remove it to have it looked for elsewhere"
    suffix = path.name.removeprefix(file)
    try:
        with _OPENERS[suffix](path, "rb") as handle:
            content: bytes = handle.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: found a truncated or damaged file ({error}); {expected}; {remedy}") from None
    if len(content) > LARGEST:
        raise UserError(f"{path}: holds more than {LARGEST} bytes, as no file of a published set does; {expected}; {remedy}")
    md5 = _md5(content)
    if md5 == checksum.md5:
        return content
    result = f"found {len(content)} bytes with md5 {md5}{_other_owner(md5)}"
    if checksum.records is None:
        raise UserError(f"{path}: {result}; {expected}; {remedy}")
    expected += f" or, in any order, records with digest {checksum.records}"
    try:
        records = cifar.records_digest(content)
    except ValueError as error:
        raise UserError(f"{path}: {result}, {error}; {expected}; {remedy}") from None
    if records != checksum.records:
        raise UserError(f"{path}: {result}, records with digest {records}; {expected}; {remedy}")
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _other_owner(md5: str) -> str:
    """MNIST and Fashion-MNIST use the same file names."""
    owners = [name for name, published in PUBLISHED.items() if md5 in {item.md5 for item in published.files.values()}]
    return f" (it belongs to {owners[0]}: keep each set in a folder of its name)" if owners else ""


def _download(name: str, raw: Path, search: Sequence[Path]) -> Images:
    """Fetch a set from its publisher, verify it, and only then put it into `raw/<name>`."""
    published = PUBLISHED[name]
    target = raw / name
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw, prefix=f".{name}-") as scratch:
            _fetch(published.publisher, Path(scratch))
            images = _read(name, Path(scratch) / published.folder)
            os.replace(Path(scratch) / published.folder, target)
    except (OSError, RuntimeError, http.client.HTTPException, UserError) as error:
        searched = ", ".join(map(str, (raw, *search)))
        folders = ", ".join(f"{folder}/" for folder in _folders(name)[:-1])
        raise UserError(
            f"data set {name!r}: not found in {searched} (looked there for {folders} and for the files themselves), "
            f"and the publisher's download failed ({error}); put {', '.join(published.files)} "
            f"(plain, .gz or .xz) into {target}, or set LIFELONG_DATA to a directory that holds them"
        ) from None
    return images


def _fetch(publisher: str, root: Path) -> None:
    datasets = importlib.import_module("torchvision.datasets")  # slow to import
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        getattr(datasets, publisher)(root, download=True)
    finally:
        socket.setdefaulttimeout(before)
