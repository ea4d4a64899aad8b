"""Published data sets: found in the stated order, verified by content, refused with a message one can act on."""

from __future__ import annotations

import gzip
import lzma
import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays_of
from support.published import md5, real, refusal, write

from lifelong.data import catalog, idx
from lifelong.data.catalog import Checksum
from lifelong.data.images import Images
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import search_directories


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(autouse=True)
def torchvision(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Stands for torchvision.datasets; downloads nothing unless a test gives it a publisher."""
    module = types.ModuleType("torchvision.datasets")
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    return module


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small files whose checksums stand in the catalog in place of MNIST's."""
    random = np.random.default_rng(0)
    contents = {}
    for file, count in zip(idx.FILES, (20, 20, 10, 10), strict=True):
        shape = (count, 28, 28) if "images" in file else (count,)
        contents[file] = idx_bytes(random.integers(0, 10, shape, dtype=np.uint8))
    sums = {file: Checksum(md5(content)) for file, content in contents.items()}
    monkeypatch.setitem(catalog.PUBLISHED, "mnist", replace(catalog.PUBLISHED["mnist"], files=sums))
    return contents


# --- finding and decoding


@pytest.mark.parametrize("folder", ["mnist", "mnist/MNIST/raw", "MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_files_in_any_usual_folder_and_packing(
    tmp_path: Path, small_mnist: dict[str, bytes], folder: str, pack: Callable[[bytes], bytes], suffix: str
) -> None:
    write(tmp_path / "lib" / folder, small_mnist, pack, suffix)
    images = catalog.load("mnist", None, tmp_path / "raw", [tmp_path / "empty", tmp_path / "lib"])
    assert images.train_images.shape == (20, 1, 28, 28)
    assert images.train_images.dtype == np.uint8
    assert images.train_images.tobytes() == small_mnist["train-images-idx3-ubyte"][16:]
    assert images.test_labels.dtype == np.int64
    assert images.test_labels.tolist() == list(small_mnist["t10k-labels-idx1-ubyte"][8:])
    assert images.class_names == tuple("0123456789")


def test_content_is_the_identity_of_the_decoded_data(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path / "a" / "mnist", small_mnist)
    write(tmp_path / "b" / "mnist", small_mnist, gzip.compress, ".gz")
    first, again = (catalog.load("mnist", None, tmp_path / base, []) for base in "ab")
    assert first.content == again.content
    train, test = (first.train_images, first.train_labels), (first.test_images, first.test_labels)
    names = list(first.class_names)
    assert Images.of(train, test, names).content == first.content
    assert Images.of(train, test, names[::-1]).content != first.content
    assert Images.of((train[0][::-1], train[1]), test, names).content != first.content
    assert Images.of((train[0], train[1] + 1), test, names).content != first.content


def test_raw_goes_before_the_search_directories(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path / "raw" / "mnist", small_mnist)
    write(tmp_path / "lib" / "mnist", dict.fromkeys(small_mnist, b"wrong"))
    catalog.load("mnist", None, tmp_path / "raw", [tmp_path / "lib"])


def test_prepare_writes_what_load_gives(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path / "mnist", small_mnist)
    catalog.prepare("mnist", None, tmp_path / "mnist.safetensors", tmp_path, [])
    images = catalog.load("mnist", None, tmp_path, [])
    arrays, info = read_tensors(tmp_path / "mnist.safetensors", "images")
    assert sorted(arrays) == ["test_images", "test_labels", "train_images", "train_labels"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, getattr(images, name))
        assert array.dtype == getattr(images, name).dtype
    assert info["dataset"] == "mnist"
    assert info["class_names"] == list("0123456789")
    assert info["content"] == images.content


@given(arrays_of.arrays(np.uint8, arrays_of.array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_idx_round_trip(array: np.ndarray) -> None:
    np.testing.assert_array_equal(idx.array(idx_bytes(array)), array)


def test_digits_are_scaled_and_split_the_same_way_for_ever(tmp_path: Path) -> None:
    images = catalog.load("digits", None, tmp_path, [])
    assert images.train_images.shape == (1347, 1, 8, 8)
    assert images.test_images.shape == (450, 1, 8, 8)
    assert (images.train_images.min(), images.train_images.max()) == (0, 255)
    assert set(np.bincount(images.test_labels)) <= {43, 44, 45, 46}
    assert images.content.startswith("802c35ebab5b")


def test_torch_is_not_imported() -> None:
    code = "import sys, lifelong.data.catalog; sys.exit(any(name in sys.modules for name in ('torch', 'sklearn')))"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- refusing


def test_a_wrong_file_is_refused_and_not_passed_over(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path / "raw" / "mnist", small_mnist)
    write(tmp_path / "lib" / "mnist", small_mnist)
    wrong = tmp_path / "raw" / "mnist" / "t10k-labels-idx1-ubyte"
    wrong.write_bytes(b"something else")
    message = refusal("mnist", tmp_path / "raw", [tmp_path / "lib"])
    assert message.startswith(f"{wrong}: found 14 bytes with md5 {md5(b'something else')}")
    assert f"md5 {md5(small_mnist['t10k-labels-idx1-ubyte'])}" in message
    assert "replace it" in message


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_a_truncated_file_is_refused(
    tmp_path: Path, small_mnist: dict[str, bytes], pack: Callable[[bytes], bytes], suffix: str
) -> None:
    write(tmp_path / "mnist", small_mnist, pack, suffix)
    cut = tmp_path / "mnist" / f"train-images-idx3-ubyte{suffix}"
    cut.write_bytes(cut.read_bytes()[:-100])
    message = refusal("mnist", tmp_path)
    assert message.startswith(f"{cut}: found ")
    assert ("truncated or damaged" in message) == bool(suffix)
    assert f"expected mnist's train-images-idx3-ubyte with md5 {md5(small_mnist['train-images-idx3-ubyte'])}" in message


def test_a_missing_file_is_named(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path / "mnist", small_mnist)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").unlink()
    message = refusal("mnist", tmp_path)
    assert message.startswith(f"{tmp_path / 'mnist'}: found a part of mnist; expected train-labels-idx1-ubyte")
    assert "put it there" in message


def test_the_files_of_the_namesake_are_recognised(tmp_path: Path, small_mnist: dict[str, bytes]) -> None:
    write(tmp_path, small_mnist)
    assert "it belongs to mnist: keep each set in a folder of its name" in refusal("fashion-mnist", tmp_path)


def test_an_unknown_name_gets_a_hint(tmp_path: Path) -> None:
    assert "Did you mean 'fashion-mnist'?" in refusal("fashon-mnist", tmp_path)


def test_search_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIFELONG_DATA", raising=False)
    assert search_directories() == []
    monkeypatch.setenv("LIFELONG_DATA", os.pathsep.join((str(tmp_path), "", str(tmp_path))))
    assert search_directories() == [tmp_path, tmp_path]
    monkeypatch.setenv("LIFELONG_DATA", os.pathsep.join((str(tmp_path), str(tmp_path / "absent"))))
    with pytest.raises(UserError, match=r"LIFELONG_DATA: no such directory: .*absent"):
        search_directories()


# --- downloading


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_a_failed_download_leaves_nothing_behind(tmp_path: Path, torchvision: types.ModuleType, error: Exception) -> None:
    def publisher(root: Path, download: bool) -> None:
        write(root / "cifar-10-batches-py", {"data_batch_1": b"half"})
        raise error

    torchvision.CIFAR10 = publisher  # type: ignore[attr-defined]
    raw, libraries = tmp_path / "raw", [tmp_path / "one", tmp_path / "two"]
    message = refusal("cifar10", raw, libraries)
    for part in ("data set 'cifar10'", *map(str, (raw, *libraries)), str(error), "data_batch_5", "set LIFELONG_DATA"):
        assert part in message
    assert f"into {raw / 'cifar10'}" in message
    assert list(raw.iterdir()) == []


def test_a_wrong_download_leaves_nothing_behind(tmp_path: Path, torchvision: types.ModuleType) -> None:
    def publisher(root: Path, download: bool) -> None:
        write(root / "MNIST/raw", dict.fromkeys(idx.FILES, b"wrong"))

    torchvision.MNIST = publisher  # type: ignore[attr-defined]
    message = refusal("mnist", tmp_path)
    assert f"found 5 bytes with md5 {md5(b'wrong')}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_verified_and_found_again(
    tmp_path: Path, torchvision: types.ModuleType, small_mnist: dict[str, bytes]
) -> None:
    calls = []

    def publisher(root: Path, download: bool) -> None:
        calls.append((download, socket.getdefaulttimeout()))
        write(root / "MNIST/raw", small_mnist)

    torchvision.MNIST = publisher  # type: ignore[attr-defined]
    downloaded = catalog.load("mnist", None, tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
    assert catalog.load("mnist", None, tmp_path, []).content == downloaded.content
    assert calls == [(True, 60.0)]
    assert socket.getdefaulttimeout() is None


# --- the real data


@real("mnist/train-images-idx3-ubyte.gz")
def test_real_mnist_repacked(tmp_path: Path) -> None:
    as_published = catalog.load("mnist", None, tmp_path, search_directories())
    assert as_published.train_images.shape == (60000, 1, 28, 28)
    assert np.bincount(as_published.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    folder = next(base / "mnist" for base in search_directories() if (base / "mnist").is_dir())
    contents = {file: gzip.decompress((folder / f"{file}.gz").read_bytes()) for file in idx.FILES}
    write(tmp_path / "mnist", contents, lambda content: gzip.compress(content, compresslevel=1), ".gz")
    assert catalog.load("mnist", None, tmp_path, []).content == as_published.content


@real("fashion-mnist")
def test_real_fashion_mnist(tmp_path: Path) -> None:
    images = catalog.load("fashion-mnist", None, tmp_path, search_directories())
    assert images.class_names[9] == "Ankle boot"
    assert np.bincount(images.test_labels).tolist() == [1000] * 10
