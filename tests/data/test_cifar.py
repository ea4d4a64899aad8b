"""CIFAR's pickles: opened without running what they name, the same data in any order of records."""

from __future__ import annotations

import lzma
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.published import md5, real, refusal, write

from lifelong.data import catalog, cifar
from lifelong.data.catalog import Checksum
from lifelong.runtime.places import search_directories


def batch(count: int, seed: int, labels: str) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "filenames": [f"{number:03d}.png" for number in random.permutation(count)],
        labels: random.integers(0, 10, count).tolist(),
        "data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
    }


def reordered(split: dict[str, Any]) -> dict[str, Any]:
    order = np.random.default_rng(9).permutation(len(split["filenames"]))
    rows = {key: [split[key][index] for index in order] for key in ("filenames", "fine_labels")}
    return {**rows, "data": split["data"][order]}


@pytest.fixture
def small_cifar100(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    splits = {"train": batch(12, 1, "fine_labels"), "test": batch(6, 2, "fine_labels")}
    meta = {"fine_label_names": [f"class {label}" for label in range(10)]}
    contents = {file: pickle.dumps(value, protocol=2) for file, value in {**splits, "meta": meta}.items()}
    sums = {
        file: Checksum(md5(content), cifar.records_digest(content) if file in splits else None)
        for file, content in contents.items()
    }
    monkeypatch.setitem(catalog.PUBLISHED, "cifar100", replace(catalog.PUBLISHED["cifar100"], files=sums))
    return {**splits, "contents": contents}


@pytest.mark.parametrize("protocol", range(5))
def test_pickled_arrays_of_every_protocol_open(protocol: int) -> None:
    value = batch(3, 0, "labels")
    opened = cifar.unpickle(pickle.dumps({**value, b"raw": b"\xff\0"}, protocol=protocol))
    np.testing.assert_array_equal(opened.pop("data"), value.pop("data"))
    assert opened == {**value, "raw": b"\xff\0"}


class Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch owned",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"data": Malicious()}, r"asks for (posix|nt)\.system, which is refused"),
        ({"data": np.array([Malicious()], dtype=object)}, r"asks for (posix|nt)\.system|array of kind 'O8'"),
        ({"data": np.ones(3, np.int64)}, "array of kind 'i8', not of bytes"),
        ([1, 2], "a pickled list, not a dictionary"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=reason):
        cifar.unpickle(pickle.dumps(value))
    assert list(tmp_path.iterdir()) == []


def test_a_codec_named_by_a_pickle_is_not_imported() -> None:
    with pytest.raises(ValueError, match="encodes bytes by 'rot13'"):
        cifar.unpickle(b"c_codecs\nencode\n(Vtext\nVrot13\ntR.")


def test_a_malicious_file_is_refused_by_name(tmp_path: Path, small_cifar100: dict[str, Any]) -> None:
    write(tmp_path / "cifar100", small_cifar100["contents"])
    (tmp_path / "cifar100" / "test").write_bytes(pickle.dumps({"data": Malicious()}))
    message = refusal("cifar100", tmp_path)
    assert message.startswith(f"{tmp_path / 'cifar100' / 'test'}: found ")
    assert "system, which is refused" in message


def test_cifar100_decodes(tmp_path: Path, small_cifar100: dict[str, Any]) -> None:
    write(tmp_path / "cifar-100-python", small_cifar100["contents"], lzma.compress, ".xz")
    images = catalog.load("cifar100", None, tmp_path, [])
    train, test = small_cifar100["train"], small_cifar100["test"]
    np.testing.assert_array_equal(images.train_images, train["data"].reshape(-1, 3, 32, 32))
    assert images.train_labels.tolist() == train["fine_labels"]
    by_name = np.argsort(test["filenames"])
    np.testing.assert_array_equal(images.test_images, test["data"].reshape(-1, 3, 32, 32)[by_name])
    assert images.test_labels.tolist() == [test["fine_labels"][index] for index in by_name]
    assert images.class_names[3] == "class 3"


def test_another_order_of_the_cifar100_test_file_is_the_same_data(tmp_path: Path, small_cifar100: dict[str, Any]) -> None:
    write(tmp_path / "cifar100", small_cifar100["contents"])
    published = catalog.load("cifar100", None, tmp_path, [])
    (tmp_path / "cifar100" / "test").write_bytes(pickle.dumps(reordered(small_cifar100["test"])))
    assert catalog.load("cifar100", None, tmp_path, []).content == published.content


def test_one_changed_pixel_is_refused_in_any_order(tmp_path: Path, small_cifar100: dict[str, Any]) -> None:
    write(tmp_path / "cifar100", small_cifar100["contents"])
    small_cifar100["test"]["data"][0, 0] ^= 1
    (tmp_path / "cifar100" / "test").write_bytes(pickle.dumps(reordered(small_cifar100["test"])))
    message = refusal("cifar100", tmp_path)
    assert "records with digest" in message
    assert f"{catalog.PUBLISHED['cifar100'].files['test'].records}" in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": None}, "it holds 'filenames', 'fine_labels', 'data'"),
        ({"fine_labels": ["a"] * 6}, "not whole numbers"),
        ({"filenames": ["a.png"]}, "1 names, 6 labels"),
    ],
)
def test_a_misshapen_cifar100_split_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cifar.records_digest(pickle.dumps(batch(6, 2, "fine_labels") | change))


def test_cifar10_joins_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = {file: batch(4, seed, "labels") for seed, file in enumerate((*cifar.TRAIN_BATCHES_10, "test_batch"))}
    contents = {file: pickle.dumps(value, protocol=2) for file, value in batches.items()}
    contents["batches.meta"] = pickle.dumps({"label_names": [f"class {label}" for label in range(10)]})
    sums = {file: Checksum(md5(content)) for file, content in contents.items()}
    monkeypatch.setitem(catalog.PUBLISHED, "cifar10", replace(catalog.PUBLISHED["cifar10"], files=sums))
    write(tmp_path / "cifar-10-batches-py", contents)
    images = catalog.load("cifar10", None, tmp_path, [])
    assert images.train_images.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(images.train_images[4], batches["data_batch_2"]["data"][0].reshape(3, 32, 32))
    assert images.test_labels.tolist() == batches["test_batch"]["labels"]
    assert len(images.class_names) == 10


@real("cifar-100-python")
def test_real_cifar100(tmp_path: Path) -> None:
    images = catalog.load("cifar100", None, tmp_path, search_directories())
    assert images.train_images.shape == (50000, 3, 32, 32)
    assert np.bincount(images.train_labels).tolist() == [500] * 100
    assert np.bincount(images.test_labels).tolist() == [100] * 100
    assert images.class_names[:2] == ("apple", "aquarium_fish")
    np.testing.assert_allclose(images.train_images.mean((0, 2, 3)) / 255, [0.5071, 0.4865, 0.4409], atol=1e-4)
