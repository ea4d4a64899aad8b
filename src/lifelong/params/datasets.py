"""Data sets of one's own that params.yaml may name beside the built-in ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lifelong.params.sections import Count, Fraction, Section, Seed

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Limits(Section):
    """What data from outside may take up; more is refused before it is read. No number depends on them."""

    pixels: Count = 100_000_000  # of an image: three bytes each in memory
    file_bytes: Count = 128 * 2**20  # of an image file or a member of an archive, unpacked
    ratio: Count = 200  # of a compressed archive's unpacked size to its own


USUAL_LIMITS = Limits()


class Folder(Section):
    """Images by class, in a directory or tar: `<split>/<class>/<image>` or `<class>/<image>`."""

    path: str
    image_size: Count
    channels: Literal["grey", "colour"] = "colour"
    test_fraction: Fraction | None = None
    split_seed: Seed = 0
    sha256: Sha256 | None = None  # of the tar


class DenseFolder(Section):
    """Images with annotations of every pixel, in a directory or tar."""

    path: str
    # camvid: <split>/<name>.jpg and <split>annot/<name>.png, classes from 0, no background; voc: JPEGImages,
    # SegmentationClassAug or SegmentationClass, ImageSets/Segmentation/{train_aug or train,val}.txt, 0 the background.
    layout: Literal["camvid", "voc"]
    classes: Count  # without the background; other values of an annotation are void
    height: Count  # pixels, to which images and annotations are resized
    width: Count
    sha256: Sha256 | None = None  # of the tar


def _which(value: Any) -> str:
    return "dense" if "layout" in value or isinstance(value, DenseFolder) else "folder"


DataSet = Annotated[Annotated[Folder, Tag("folder")] | Annotated[DenseFolder, Tag("dense")], Discriminator(_which)]
"""Annotations of every pixel where a `layout` is given."""
