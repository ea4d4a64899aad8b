"""Data from outside: what would vanish, hide, collide or fill the memory is told by name before work starts."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data.test_folder import class_only, folder, png, read, refusal, tar, with_splits
from PIL import Image

from lifelong.data import dense
from lifelong.data.catalog import load
from lifelong.data.folder import open_files
from lifelong.data.pictures import read_picture
from lifelong.data.selection import choose_images, validation_split
from lifelong.data.sequences import build
from lifelong.methods.skill.mahalanobis import ClassSamples, tied_metric
from lifelong.methods.skill.predict import _read
from lifelong.params.datasets import DenseFolder, Limits
from lifelong.params.sequences import Repeated, Split, Tier, Validation
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.errors import UserError


def picture(orientation: int | None, suffix: str = "PNG") -> bytes:
    """Left half black, right half white; 6: to be shown turned by 90 degrees clockwise."""
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, 4:] = 255
    buffer, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, suffix, exif=exif)
    return buffer.getvalue()


# --- orientation


def test_training_images_are_upright(tmp_path: Path) -> None:
    images = read(folder(tmp_path, with_splits() | {"train/ant/0.png": picture(6)})).train_images
    assert images[0, 0, 0].tolist() == [0] * 8
    assert images[0, 0, 7].tolist() == [255] * 8


def test_an_image_to_be_predicted_is_upright(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(picture(6))
    assert _read(tmp_path / "one.png", Limits())[0, 0, :, 0].tolist() == [0] * 4 + [255] * 4


def camvid(tmp_path: Path, image: bytes) -> Path:
    labels = np.tile(np.repeat(np.arange(2, dtype=np.uint8), 4), (8, 1))
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    files = {f"{split}/a.png": image for split in ("train", "test")}
    return folder(tmp_path / "set", files | {f"{split}annot/a.png": buffer.getvalue() for split in ("train", "test")})


def test_images_with_labels_of_pixels_are_upright(tmp_path: Path) -> None:
    from lifelong.runtime.artifacts import read_tensors

    path = camvid(tmp_path, picture(6))
    source = DenseFolder(path=str(path), layout="camvid", classes=2, height=8, width=8)
    dense.prepare("x", source, tmp_path / "out.safetensors", tmp_path / "raw", [])
    arrays, _ = read_tensors(tmp_path / "out.safetensors", "dense", ["train_images"])
    assert arrays["train_images"][0, 0, :, 0].tolist() == [0] * 4 + [255] * 4


# --- limits


def test_a_picture_of_too_many_pixels_is_one_line(tmp_path: Path) -> None:
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    path = tmp_path / "huge.png"
    path.write_bytes(huge.getvalue())
    with pytest.raises(UserError) as caught:
        _read(path, Limits())
    assert str(caught.value).startswith(f"{path}: not an image that can be read (400000000 pixels, more than limits.pixels")
    assert "\n" not in str(caught.value)
    message = refusal(folder(tmp_path / "set", with_splits() | {"train/ant/0.png": huge.getvalue()}))
    assert "'train/ant/0.png' cannot be decoded (400000000 pixels, more than limits.pixels" in message
    assert read_picture(io.BytesIO(png(1)), "L", Limits(pixels=64)).size == (8, 8)
    with pytest.raises(ValueError, match=r"64 pixels, more than limits\.pixels = 63"):
        read_picture(io.BytesIO(png(1)), "L", Limits(pixels=63))


def refuse(path: Path, **limits: int) -> str:
    with pytest.raises(UserError) as caught, open_files(path, Limits(**limits)):
        pass
    return str(caught.value)


@pytest.mark.parametrize("as_tar", [False, True])
def test_a_file_over_the_limit_is_never_read(tmp_path: Path, as_tar: bool) -> None:
    files = with_splits() | {"train/ant/0.png": bytes(5000)}
    path = tar(tmp_path / "mine.tar", files) if as_tar else folder(tmp_path / "mine", files)
    assert "holds 5000 bytes, more than limits.file_bytes = 4999" in refuse(path, file_bytes=4999)


def test_an_archive_that_unpacks_to_too_much_is_refused_on_the_way(tmp_path: Path) -> None:
    files = with_splits() | {f"train/ant/{n}.png": bytes(4000) for n in range(100)}
    path = tar(tmp_path / "mine.tar.gz", files, mode="w:gz")
    assert "unpacks to more than limits.ratio = 2 times" in refuse(path, ratio=2, file_bytes=5000)


def test_a_forged_header_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "mine.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("././@LongLink")
        member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**21
        archive.addfile(member, io.BytesIO(bytes(2**21)))
    message = refuse(path)
    assert message.startswith(f"{path}: not a whole tar")
    assert "a header of 2097152 bytes" in message
    assert "\n" not in message


# --- links, empty folders, names


def test_links_out_of_the_folder_are_refused_and_those_within_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(7))
    path = folder(tmp_path / "mine", with_splits())
    (path / "train/ant/9.png").symlink_to(path / "train/ant/0.png")
    assert len(read(path).train_images) == 7
    (path / "train/ant/8.png").symlink_to(tmp_path / "secret.png")
    assert refusal(path).startswith(f"{path}/train/ant/8.png: a link to {tmp_path}/secret.png, outside the data set")
    (path / "train/ant/8.png").unlink()
    (tmp_path / "elsewhere").symlink_to(path, target_is_directory=True)
    assert len(read(tmp_path / "elsewhere").train_images) == 7


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = folder(tmp_path, with_splits())
    os.mkfifo(path / "train/ant/pipe.png")
    assert "neither a file nor a folder" in refusal(path)


@pytest.mark.parametrize("hidden", [False, True])
def test_an_empty_class_folder_is_told(tmp_path: Path, hidden: bool) -> None:
    path = folder(tmp_path / "mine", class_only())
    (path / "cow").mkdir()
    if hidden:
        (path / "cow" / ".DS_Store").write_bytes(b"")
    assert refusal(path, test_fraction=0.25).startswith(f"{path}/cow: an empty folder")
    member = tarfile.TarInfo("cow")
    member.type = tarfile.DIRTYPE
    packed = tar(tmp_path / "mine.tar", class_only(), member)
    assert "'cow': an empty folder" in refusal(packed, test_fraction=0.25)


def test_a_name_of_two_classes_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, with_splits() | {"words.json": json.dumps({"ant": "x", "bee": "x"}).encode()})
    assert "words.json calls 'ant' and 'bee' both 'x'" in refusal(path)
    (path / "words.json").write_text('{"ant": "x", "bee": "y", "ant": "z"}')
    assert "'ant' is there twice" in refusal(path)


def test_all_unreadable_images_are_told_at_once(tmp_path: Path) -> None:
    path = folder(tmp_path / "few", with_splits() | {f"train/ant/{n}.png": b"x" for n in range(2)})
    assert refusal(path).count("cannot be decoded") == 2
    path = folder(tmp_path / "many", with_splits() | {f"train/ant/{n}.png": b"x" for n in range(30)})
    assert len(refusal(path).splitlines()) == 21
    assert refusal(path).endswith("and 10 more, 30 in all")
    source = DenseFolder(path=str(camvid(tmp_path, b"x")), layout="camvid", classes=2, height=8, width=8)
    with pytest.raises(UserError, match=r"train/a.png(.|\n)*test/a.png"):
        dense.prepare("x", source, tmp_path / "out.safetensors", tmp_path / "raw", [])


# --- classes that vanish


def images_of(path: Path, train: list[int], test: list[int]) -> Path:
    arrays = {}
    for part, labels in (("train", train), ("test", test)):
        arrays[f"{part}_images"] = np.zeros((len(labels), 1, 2, 2), np.uint8)
        arrays[f"{part}_labels"] = np.array(labels)
    write_tensors(path, "images", arrays, {"content": "c", "class_names": ["ant", "bee", "cow"], "dataset": "mine"})
    return path


def cut(tmp_path: Path, train: list[int], test: list[int], validation: Validation, classes: int = 3) -> None:
    file = images_of(tmp_path / "images.safetensors", train, test)
    sequence = (
        Repeated(kind="repeated", dataset="mine", tasks=1, validation=validation)
        if classes == 3
        else Split(kind="split", dataset="mine", sizes=[classes], validation=validation)
    )
    build(sequence, {"mine": file}, tmp_path / "tasks.safetensors")


def test_a_class_that_a_split_takes_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sorted_labels = [0] * 4 + [1] * 4 + [2] * 4
    with pytest.raises(UserError, match="task 0 has no train image of 'ant'; give more"):
        cut(tmp_path, sorted_labels, [0, 1, 2], Validation(first=4))
    with pytest.raises(UserError, match="has no train image of 'cow'"):
        cut(tmp_path, [0] * 4 + [1] * 4 + [2], [0, 1, 2], Validation(fraction=0.1))
    with pytest.raises(UserError, match="has no test image of 'bee', 'cow'"):
        cut(tmp_path, sorted_labels, [0, 0], Validation(fraction=0.25))
    with pytest.raises(UserError, match="training labels run from 0 to 3; its 3 classes are 0 to 2"):
        cut(tmp_path, [*sorted_labels, 3], [0, 1, 2], Validation(fraction=0.25))
    assert capsys.readouterr().err == ""
    cut(tmp_path, sorted_labels, [0, 1, 2], Validation(fraction=0.25), classes=2)
    assert "1 classes are in no task and go unused: 'cow'" in capsys.readouterr().err


def test_one_image_a_class_leaves_none_for_validation() -> None:
    with pytest.raises(UserError, match="no class has two images"):
        validation_split(np.array([0, 1]), 0.5, 0)
    train, validation = validation_split(np.array([0, 1, 1]), 0.5, 0)
    assert (train.tolist(), len(validation)) == ([0, train[1]], 1)
    with pytest.raises(UserError, match="1 train images for 3 classes are none of each"):
        choose_images(np.array([0, 1, 2]), [0, 1, 2], "train", Tier(train=1))


@pytest.mark.parametrize("shrinkage", ["none", "ledoit-wolf", 0.5])
def test_one_shared_sample_a_class_has_no_covariance(shrinkage: object) -> None:
    rows = np.eye(2, 3, dtype=np.float32)
    with pytest.raises(UserError, match="there is no covariance"):
        tied_metric([ClassSamples(rows, rows, np.array([0, 1]))], shrinkage)  # type: ignore[arg-type]


def test_a_forged_published_file_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    from lifelong.data import catalog

    monkeypatch.setattr(catalog, "LARGEST", 1000)
    (tmp_path / "mnist").mkdir()
    for name in catalog.PUBLISHED["mnist"].files:
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(bytes(5000)))
    with pytest.raises(UserError, match="holds more than 1000 bytes"):
        load("mnist", None, tmp_path, [])
