"""Images with an annotation of every pixel.

The file of a data set holds `train_images`, `test_images` uint8 [n, 3, H, W] and `train_labels`, `test_labels` uint8
[n, H, W]: 0 the background, 1.. the classes, 255 void. Where a data set has no background, no pixel is 0.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lifelong.data.folder import Files, check_sha256, locate, open_files, strip_enclosing_folder
from lifelong.data.pictures import read_picture, refuse_unreadable
from lifelong.params.datasets import USUAL_LIMITS, DenseFolder, Limits
from lifelong.runtime.artifacts import write_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import note_outside

VOID = 255
HELD_OUT = 10
"""Every so-many-th training image is kept for the accuracy in the curve."""


def prepare(
    name: str, source: DenseFolder, output: Path, raw: Path, search: Sequence[Path], limits: Limits = USUAL_LIMITS
) -> None:
    """Read, resize and write a data set; images bilinear, annotations by nearest neighbour.

    Raises:
        UserError: the directory or tar is missing or lacks a file; it is named.
    """
    path = locate(name, source.path, raw, search)
    check_sha256(path, source.sha256)
    if source.sha256 is None:
        note_outside(path)
    arrays: dict[str, np.ndarray] = {}
    with open_files(path, limits) as files:
        files = strip_enclosing_folder(files)
        pairs = _camvid(path, files) if source.layout == "camvid" else _voc(path, files)
        faults: dict[str, str] = {}

        def read(parts: tuple[str, ...], mode: str | None, how: Image.Resampling) -> np.ndarray:
            try:
                picture = read_picture(io.BytesIO(files[parts]()), mode, limits)
            except ValueError as error:
                faults["/".join(parts)] = str(error)
                picture = Image.new(mode or "L", (1, 1))
            return np.asarray(picture.resize((source.width, source.height), how))

        for split, members in pairs.items():
            images = [read(image, "RGB", Image.Resampling.BILINEAR) for image, _ in members]
            labels = [read(label, None, Image.Resampling.NEAREST) for _, label in members]
            if faults:
                continue  # all of them are told at once
            arrays[f"{split}_images"] = np.stack(images).transpose(0, 3, 1, 2)
            arrays[f"{split}_labels"] = as_classes(np.stack(labels), source.classes, source.layout == "voc")
        refuse_unreadable(path, faults)
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    about = {"dataset": name, "classes": source.classes, "background": source.layout == "voc", "content": digest.hexdigest()}
    write_tensors(output, "dense", arrays, {**about, "image_shape": list(arrays["train_images"].shape[1:])})


def as_classes(annotated: np.ndarray, classes: int, background: bool) -> np.ndarray:
    """Annotations -> uint8 classes from 1 with 0 the background and 255 void; without a background they start at 0."""
    values = annotated.astype(np.int64) + (not background)
    return np.where((values >= (not background)) & (values <= classes), values, VOID).astype(np.uint8)


def dense_arrays(train_labels: np.ndarray, test_labels: np.ndarray, classes: range, where: str) -> dict[str, np.ndarray]:
    """Indices of the images that show one of a task's classes (overlapped: earlier and later ones are there too).

    Every so-many-th is kept apart; all test images are the task's.
    """
    shown = np.flatnonzero([np.isin(labels, list(classes)).any() for labels in train_labels])
    if len(shown) < 2:
        raise UserError(f"{where}: {len(shown)} images show a class of {list(classes)}; give more images or other tasks")
    held = np.arange(len(shown)) % HELD_OUT == 0
    for part, labels in (("training", train_labels[shown[~held]]), ("test", test_labels)):
        absent = sorted({*classes} - {*np.unique(labels).tolist()})
        if absent:
            raise UserError(f"{where}: no {part} image shows the classes {absent}; give more images or other tasks")
    return {
        "train": shown[~held],
        "validation": shown[held],
        "test": np.arange(len(test_labels)),
        "classes": np.array(classes),
    }


Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""An image's and its annotation's path inside the data set."""


def _camvid(path: Path, files: Files) -> dict[str, list[Pair]]:
    result: dict[str, list[Pair]] = {}
    for split in ("train", "test"):
        names = sorted(parts[1] for parts in files if len(parts) == 2 and parts[0] == split)
        if not names:
            raise UserError(f"{path}: found no image in {split}/; expected <split>/<name>.jpg and <split>annot/<name>.png")
        result[split] = [((split, name), (f"{split}annot", f"{Path(name).stem}.png")) for name in names]
    return _complete(path, files, result)


def _voc(path: Path, files: Files) -> dict[str, list[Pair]]:
    """train_aug and SegmentationClassAug where they are there, else the data set's own."""
    tops = {parts[0] for parts in files}
    annotations = "SegmentationClassAug" if "SegmentationClassAug" in tops else "SegmentationClass"
    result: dict[str, list[Pair]] = {}
    for split, lists in (("train", ("train_aug.txt", "train.txt")), ("test", ("val.txt",))):
        listed = [("ImageSets", "Segmentation", name) for name in lists]
        known = next((parts for parts in listed if parts in files), None)
        if known is None:
            raise UserError(f"{path}: found no ImageSets/Segmentation/{lists[-1]}; expected VOC's own folders")
        names = [line.split()[0].rpartition("/")[2] for line in files[known]().decode().splitlines() if line.strip()]
        stems = [Path(name).stem for name in names]
        result[split] = [(("JPEGImages", f"{stem}.jpg"), (annotations, f"{stem}.png")) for stem in stems]
    return _complete(path, files, result)


def _complete(path: Path, files: Files, pairs: Mapping[str, list[Pair]]) -> dict[str, list[Pair]]:
    for members in pairs.values():
        for parts in (parts for pair in members for parts in pair):
            if parts not in files:
                raise UserError(f"{path}: found no {'/'.join(parts)}; every image needs its annotation")
    return dict(pairs)
