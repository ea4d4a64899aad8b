"""Folders of images, on disk and in a tar: layouts, the split drawn by seed, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lifelong.data.catalog import load
from lifelong.data.folder import FolderSource
from lifelong.data.images import Images
from lifelong.runtime.artifacts import file_digest
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import search_directories


def png(shade: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, shade).save(buffer, "PNG")
    return buffer.getvalue()


def class_only(per_class: int = 8) -> dict[str, bytes]:
    return {
        f"{name}/{number}.png": png(100 * label + number)
        for label, name in enumerate(("ant", "bee"))
        for number in range(per_class)
    }


def with_splits(train: str = "train", test: str = "test") -> dict[str, bytes]:
    files = {f"{train}/{path}": content for path, content in class_only(3).items()}
    return files | {f"{test}/{path}": content for path, content in class_only(2).items()}


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo, mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


def read(path: Path | str, search: Path | None = None, raw: Path = Path("absent"), **options: Any) -> Images:
    settings: dict[str, Any] = {"image_size": 8, "channels": "grey"} | options
    return load("mine", FolderSource(str(path), **settings), raw, [search] if search else [])


def refusal(path: Path | str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


# --- layouts


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_splits_and_order_of_names(tmp_path: Path, test: str) -> None:
    images = read(folder(tmp_path, with_splits(test=test)))
    assert images.train_images.shape == (6, 1, 8, 8)
    assert images.train_images[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.test_labels.tolist() == [0, 0, 1, 1]
    assert images.train_labels.dtype == np.int64
    assert images.class_names == ("ant", "bee")


@pytest.mark.parametrize("top", ["", "./", "mine/", "./mine/"])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_reads_as_its_folder_does_whatever_the_order(tmp_path: Path, top: str, mode: str) -> None:
    files = with_splits()
    shuffled = {top + name: files[name] for name in sorted(files, reverse=True)}
    hidden = {f"{top}train/ant/._0.png": b"", f"{top}.DS_Store": b""}
    expected = read(folder(tmp_path / "folder", files)).content
    assert read(tar(tmp_path / "mine.tar", shuffled | hidden, mode=mode)).content == expected
    assert read(folder(tmp_path / "again" / "mine", files | {".hidden/x": b""})).content == expected


@pytest.mark.parametrize("top", ["", "mine/"])
def test_words_name_the_classes(tmp_path: Path, top: str) -> None:
    words = {"bee": "Apis mellifera", "ant": "Formica rufa", "cow": "unused"}
    files = {top + name: content for name, content in with_splits().items()}
    files[f"{top}words.json"] = json.dumps(words).encode()
    assert read(tar(tmp_path / "mine.tar", files)).class_names == ("Formica rufa", "Apis mellifera")


def test_paths_are_looked_for_in_raw_then_search_then_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, here = (with_splits() | {"train/ant/9.png": png(shade)} for shade in (1, 2, 3))
    folder(tmp_path / "here" / "set", here)
    monkeypatch.chdir(tmp_path / "here")

    def found() -> int:
        return int(read("set", tmp_path / "search", tmp_path / "raw").train_images[3, 0, 0, 0])

    assert found() == 3
    folder(tmp_path / "search" / "set", two)
    assert found() == 2
    folder(tmp_path / "raw" / "set", one)
    assert found() == 1
    assert read(tmp_path / "here" / "set", tmp_path / "search").train_images[3, 0, 0, 0] == 3


def test_the_class_only_split_is_seeded_stratified_and_reproducible(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", class_only(8))
    images = read(path, test_fraction=0.25, split_seed=3)
    assert np.bincount(images.train_labels).tolist() == [6, 6]
    assert np.bincount(images.test_labels).tolist() == [2, 2]
    shades = np.concatenate([images.train_images, images.test_images])[:, 0, 0, 0].tolist()
    assert sorted(shades) == [*range(8), *range(100, 108)]
    packed = tar(tmp_path / "set.tar", class_only(8))
    assert read(packed, test_fraction=0.25, split_seed=3).content == images.content
    assert read(path, test_fraction=0.25, split_seed=4).content != images.content


# --- decoding


def test_colour_and_grey(tmp_path: Path) -> None:
    files = with_splits() | {"train/ant/0.png": png(0x0000FF, mode="RGB")}  # red
    path = folder(tmp_path, files)
    assert read(path, channels="colour").train_images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert read(path, channels="grey").train_images[0, :, 0, 0].tolist() == [76]


def test_the_shorter_side_is_fitted_and_the_centre_kept(tmp_path: Path) -> None:
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 200
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    images = read(folder(tmp_path, with_splits() | {"train/ant/0.png": buffer.getvalue()}))
    assert images.train_images[0, 0, :, 1:-1].tolist() == [[200] * 6] * 8


@pytest.mark.parametrize("as_tar", [False, True])
def test_an_undecodable_image_is_named(tmp_path: Path, as_tar: bool) -> None:
    files = with_splits() | {"train/bee/1.png": png(1, (64, 64))[:-30]}
    path = tar(tmp_path / "mine.tar", files) if as_tar else folder(tmp_path / "mine", files)
    assert refusal(path).startswith(f"{path}: the image 'train/bee/1.png' cannot be decoded")


def test_deep_images_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(buffer, "PNG")
    message = refusal(folder(tmp_path, with_splits() | {"test/ant/0.png": buffer.getvalue()}))
    assert "'test/ant/0.png' cannot be decoded (more than 8 bits a channel" in message


# --- refusals


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        (class_only(), {}, "has no train and test folders; expected test_fraction"),
        (with_splits(), {"test_fraction": 0.2}, "test_fraction 0.2 means nothing; remove test_fraction"),
        (class_only(), {"test_fraction": 1.5}, "cannot be split with test_fraction 1.5"),
        (class_only(1), {"test_fraction": 0.5}, "cannot be split with test_fraction 0.5"),
        (with_splits() | {"val/ant/0.png": png(0)}, {}, "the split 'val' would go unused beside train and test"),
        (with_splits(train="training"), {}, "found the splits test, training; expected train and test"),
        (with_splits() | {"train/cow/0.png": png(0)}, {}, "the class 'cow' has no test image"),
        (with_splits() | {"test/cow/0.png": png(0)}, {}, "the class 'cow' has no train image"),
        ({"ant/0.png": png(0), "ant/1.png": png(0)}, {"test_fraction": 0.5}, "found one class, 'ant'"),
        ({"train/0.png": png(0), "test/0.png": png(0)}, {}, "0.png' outside a class folder; expected"),
        (with_splits() | {"stray.png": png(0)}, {}, "found the image 'stray.png'; expected <split>/<class>/<image>"),
        (with_splits() | {"notes.txt": b""}, {}, "found 'notes.txt', neither an image"),
        (with_splits() | {"train/ant/notes.txt": b""}, {}, "found 'train/ant/notes.txt', neither an image"),
        (with_splits() | {"words.json": b"{"}, {}, "words.json is not valid JSON"),
        (with_splits() | {"words.json": b"[]"}, {}, "words.json is not of the form"),
        (with_splits() | {"words.json": b'{"ant": "a"}'}, {}, "words.json has no name for the class 'bee'"),
        ({".hidden": b""}, {}, "found no image"),
    ],
)
@pytest.mark.parametrize("as_tar", [False, True])
def test_refused_layouts(
    tmp_path: Path, files: dict[str, bytes], options: dict[str, Any], reason: str, as_tar: bool
) -> None:
    path = tar(tmp_path / "mine.tar", files) if as_tar else folder(tmp_path / "mine", files)
    message = refusal(path, **options)
    assert reason in message
    assert str(path) in message


def test_a_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    path = folder(tmp_path, with_splits())
    (path / "train" / "ant" / "loop").symlink_to(path)
    assert "a folder inside a class folder" in refusal(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (member("train/../../x.png"), "points outside the tar"),
        (member("/train/ant/x.png"), "points outside the tar"),
        (member("train/ant/x.png", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (member("train/ant/.x", tarfile.LNKTYPE, "train/ant/0.png"), "is a link or a device"),
        (member("train/ant/x.png", tarfile.CHRTYPE), "is a link or a device"),
        (member("train/ant/0.png"), "twice"),
    ],
)
def test_unsafe_members_are_refused(tmp_path: Path, extra: tarfile.TarInfo, reason: str) -> None:
    message = refusal(tar(tmp_path / "mine.tar", with_splits(), extra))
    assert reason in message
    assert repr(extra.name) in message


def test_a_tar_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tar(tmp_path / "whole.tar", with_splits()).read_bytes()
    end = 2 * 512 * len(with_splits())
    cut = tmp_path / "cut.tar"
    for length in (0, 100, 512, 700, end - 1024, end - 100, end):  # the last ends between a member and the end mark
        cut.write_bytes(whole[:length])
        assert refusal(cut).startswith(f"{cut}: not a whole tar")
    for suffix in ("gz", "xz"):
        packed = tar(cut, with_splits(), mode=f"w:{suffix}").read_bytes()
        cut.write_bytes(packed[: len(packed) // 2])
        assert refusal(cut).startswith(f"{cut}: not a whole tar")


def test_sha256_of_the_tar(tmp_path: Path) -> None:
    path = tar(tmp_path / "mine.tar", with_splits())
    read(path, sha256=file_digest(path))
    message = refusal(path, sha256="0" * 64)
    assert message.startswith(f"{path}: found sha256 {file_digest(path)}; expected {'0' * 64}")
    assert "remove sha256" in refusal(folder(tmp_path / "mine", with_splits()), sha256="0" * 64)


def test_a_missing_path_says_where_it_was_looked_for(tmp_path: Path) -> None:
    message = refusal("set.tar", search=tmp_path / "search", raw=tmp_path / "raw")
    for part in ("data set 'mine'", str(tmp_path / "raw" / "set.tar"), str(tmp_path / "search"), "LIFELONG_DATA"):
        assert part in message


def test_a_built_in_name_is_not_free(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'mnist': is built in"):
        load("mnist", FolderSource("x", 8, "grey"), tmp_path, [])


# --- the real data


def real_tar(name: str) -> Path:
    for base in search_directories():
        if (base / name).is_file():
            return base / name
    pytest.skip(f"needs the real {name}: set LIFELONG_DATA")


def test_real_brain_tumour_mri() -> None:
    images = read(real_tar("brain-tumour-mri-4.tar"), image_size=96)
    assert images.train_images.shape == (800, 1, 96, 96)
    assert images.test_images.shape == (280, 1, 96, 96)
    assert images.class_names == ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")


def test_real_tiny_imagenet() -> None:
    images = read(real_tar("tiny-imagenet-40.tar"), image_size=64, channels="colour")
    assert images.train_images.shape == (4000, 3, 64, 64)
    assert np.bincount(images.test_labels).tolist() == [50] * 40
    assert images.class_names[0] == "goldfish, Carassius auratus"
