"""Images with an annotation of every pixel, and the steps in which their classes come.

The file of a data set holds `train_images`, `test_images` uint8 [n, 3, H, W] and `train_labels`, `test_labels` uint8
[n, H, W]: 0 the background, 1.. the classes, 255 void. Where a data set has no background, no pixel is 0.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lifelong.artifacts import read_tensors, write_tensors
from lifelong.config.segmentation import SegmentationData
from lifelong.data.folder import Files, locate, opened, without_enclosing_folder
from lifelong.data.tensors import Split
from lifelong.device import placed
from lifelong.errors import UserError

VOID = 255
HELD_OUT = 10
"""Every so-many-th training image is kept for the accuracy in the curve."""


def prepare(name: str, source: SegmentationData, output: Path, raw: Path, search: Sequence[Path]) -> None:
    """Read, resize and write a data set; images bilinear, annotations by nearest neighbour.

    Raises:
        UserError: the directory or tar is missing or lacks a file; it is named.
    """
    path = locate(name, source.path, raw, search)
    arrays: dict[str, np.ndarray] = {}
    with opened(path) as files:
        files = without_enclosing_folder(files)
        pairs = _camvid(path, files) if source.layout == "camvid" else _voc(path, files)
        for split, members in pairs.items():
            images = [_resized(files[image], "RGB", source, Image.Resampling.BILINEAR) for image, _ in members]
            labels = [_resized(files[label], None, source, Image.Resampling.NEAREST) for _, label in members]
            arrays[f"{split}_images"] = np.stack(images).transpose(0, 3, 1, 2)
            arrays[f"{split}_labels"] = as_classes(np.stack(labels), source.classes, source.layout == "voc")
    write_tensors(output, "segmentation", arrays, {"classes": source.classes, "background": source.layout == "voc"})


def as_classes(annotated: np.ndarray, classes: int, background: bool) -> np.ndarray:
    """Annotations -> uint8 classes from 1 with 0 the background and 255 void; without a background they start at 0."""
    values = annotated.astype(np.int64) + (not background)
    return np.where((values >= (not background)) & (values <= classes), values, VOID).astype(np.uint8)


@dataclass(frozen=True)
class Step:
    """What may be seen of a step: images that show one of its classes; labels are its classes, 0 for all else, 255 void."""

    train: Split
    validation: Split


def load_step(file: Path, sizes: Sequence[int], step: int) -> Step:
    """The training images of a step (overlapped: earlier and later classes are there, labelled 0)."""
    arrays, _ = read_tensors(file, "segmentation", ["train_images", "train_labels"])
    first = 1 + sum(sizes[:step])
    images, labels = (placed(arrays[f"train_{what}"]) for what in ("images", "labels"))
    own = only(labels, range(first, first + sizes[step]))
    shown = ((own != 0) & (own != VOID)).flatten(1).any(1).nonzero()[:, 0]
    if len(shown) < 2:
        raise UserError(f"{file}: {len(shown)} images show a class of step {step}; give more images or other steps")
    held = torch.arange(len(shown)) % HELD_OUT == 0
    train, validation = (Split(images[chosen], own[chosen]) for chosen in (shown[~held], shown[held]))
    return Step(train, validation)


def load_test(file: Path) -> Split:
    """The test images with the labels of all classes."""
    arrays, _ = read_tensors(file, "segmentation", ["test_images", "test_labels"])
    return Split(placed(arrays["test_images"]), placed(arrays["test_labels"]))


def only(labels: Tensor, classes: range) -> Tensor:
    """Labels of other classes become 0; void stays."""
    known = (labels >= classes.start) & (labels < classes.stop)
    return torch.where(known | (labels == VOID), labels, torch.zeros_like(labels))


Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""An image's and its annotation's path inside the data set."""


def _camvid(path: Path, files: Files) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for split in ("train", "test"):
        names = sorted(parts[1] for parts in files if len(parts) == 2 and parts[0] == split)
        if not names:
            raise UserError(f"{path}: found no image in {split}/; expected <split>/<name>.jpg and <split>annot/<name>.png")
        found[split] = [((split, name), (f"{split}annot", f"{Path(name).stem}.png")) for name in names]
    return _complete(path, files, found)


def _voc(path: Path, files: Files) -> dict[str, list[Pair]]:
    """train_aug and SegmentationClassAug where they are there, else the data set's own."""
    tops = {parts[0] for parts in files}
    annotations = "SegmentationClassAug" if "SegmentationClassAug" in tops else "SegmentationClass"
    found: dict[str, list[Pair]] = {}
    for split, lists in (("train", ("train_aug.txt", "train.txt")), ("test", ("val.txt",))):
        listed = [("ImageSets", "Segmentation", name) for name in lists]
        known = next((parts for parts in listed if parts in files), None)
        if known is None:
            raise UserError(f"{path}: found no ImageSets/Segmentation/{lists[-1]}; expected VOC's own folders")
        names = [line.split()[0].rpartition("/")[2] for line in files[known]().decode().splitlines() if line.strip()]
        stems = [Path(name).stem for name in names]
        found[split] = [(("JPEGImages", f"{stem}.jpg"), (annotations, f"{stem}.png")) for stem in stems]
    return _complete(path, files, found)


def _complete(path: Path, files: Files, pairs: Mapping[str, list[Pair]]) -> dict[str, list[Pair]]:
    for members in pairs.values():
        for parts in (parts for pair in members for parts in pair):
            if parts not in files:
                raise UserError(f"{path}: found no {'/'.join(parts)}; every image needs its annotation")
    return dict(pairs)


def _resized(read: object, mode: str | None, source: SegmentationData, how: Image.Resampling) -> np.ndarray:
    assert callable(read)
    with Image.open(io.BytesIO(read())) as image:
        wanted = image if mode is None else image.convert(mode)
        return np.asarray(wanted.resize((source.width, source.height), how))
