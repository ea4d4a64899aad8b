"""A look at a folder or tar of images before anything is made of it: what is in it, what is wrong, what fits it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from lifelong.data.folder import _WORDS, JUNK, Parts, _shown, _splits, _words, arrange_files, open_files
from lifelong.data.pictures import read_picture
from lifelong.params.datasets import USUAL_LIMITS, Limits

SIZES = (8, 16, 28, 32, 48, 64, 96)
"""Pixels that are proposed: the largest that most images have."""


@dataclass(frozen=True)
class Inspection:
    """What a data set of images by class holds.

    Attributes:
        counts: images by split ("all" where there are none) and class.
        sides: the shorter side of each image that can be read, pixels.
        faults: reason by file that cannot be read.
        twins: pairs of files, in train and in test, with the same content.
        junk: files that are not read.
    """

    counts: dict[str, Counter[str]]
    sides: list[int]
    channels: Literal["grey", "colour"]
    faults: dict[str, str]
    twins: list[tuple[str, str]]
    junk: list[str]

    @property
    def classes(self) -> list[str]:
        return sorted(set().union(*self.counts.values()))

    @property
    def scarce(self) -> list[str]:
        """Classes with one image, of which none would be left to test by."""
        return [name for name in self.classes if sum(counts[name] for counts in self.counts.values()) < 2]

    @property
    def image_size(self) -> int:
        typical = median(self.sides)
        return max((size for size in SIZES if size <= typical), default=SIZES[0])


def inspect_folder(path: Path, limits: Limits = USUAL_LIMITS) -> Inspection:
    """Read every image once.

    Raises:
        UserError: the layout is not one that can be read, or a tar is damaged.
    """
    with open_files(path, limits) as opened:
        junk = [_shown(parts) for parts in opened if set(parts) & set(JUNK)]
        files = arrange_files(path, opened)
        _words(path, files.pop(_WORDS, None))
        splits = _splits(path, files)
        sides: list[int] = []
        modes: set[str] = set()
        faults: dict[str, str] = {}
        by_content: dict[str, dict[str, Parts]] = {}
        split_of = {parts: split for split, members in splits.items() for parts in members}
        for parts, read in files.items():
            content = read()
            by_content.setdefault(hashlib.sha256(content).hexdigest(), {}).setdefault(split_of[parts], parts)
            try:
                picture = read_picture(io.BytesIO(content), None, limits)
                read_picture(io.BytesIO(content), "RGB", limits)
            except ValueError as error:
                faults[_shown(parts)] = str(error)
                continue
            sides.append(min(picture.size))
            modes.add(picture.mode)
    counts = {split: Counter(parts[-2] for parts in members) for split, members in splits.items()}
    twins = [(_shown(by["train"]), _shown(by["test"])) for by in by_content.values() if {"train", "test"} <= set(by)]
    return Inspection(counts, sides, "grey" if modes <= {"L", "1", "LA"} else "colour", faults, twins, junk)


def describe_inspection(found: Inspection) -> list[str]:
    """Lines for people."""
    lines = []
    for split, counts in found.counts.items():
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        range_ = f"{counts[least]} ({least}) to {counts[most]} ({most})"
        lines.append(f"{split}: {counts.total()} images of {len(counts)} classes, {range_}")
    if found.sides:
        lines.append(
            f"sizes: shorter side {min(found.sides)} to {max(found.sides)} pixels, median {median(found.sides):.0f}; "
            f"{found.channels}"
        )
    if found.junk:
        lines.append(f"ignored: {', '.join(found.junk[:5])}{' ...' if len(found.junk) > 5 else ''}")
    if found.twins:
        example = " = ".join(found.twins[0])
        lines.append(f"warning: {len(found.twins)} test images are in train too, byte for byte ({example}); take one away")
    return lines


def list_faults(found: Inspection) -> list[str]:
    """What has to be mended first, all of it."""
    faults = [f"{name}: cannot be read ({reason}); mend or remove it" for name, reason in found.faults.items()]
    faults += [f"the class {name!r} has one image; give it more or take it away" for name in found.scarce]
    if len(found.classes) < 4:
        faults.append(f"found {len(found.classes)} classes; two tasks of two classes need four")
    return faults
