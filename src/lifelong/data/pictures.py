"""Image files from outside: one reader for training, dense labels and prediction, which refuses what fills the memory."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from lifelong.params.datasets import Limits
from lifelong.runtime.errors import UserError

SHOWN = 20
"""Unreadable files that a message names."""

Image.MAX_IMAGE_PIXELS = None  # `Limits` decides, before anything is decoded


def read_picture(source: BinaryIO | Path, mode: str | None, limits: Limits) -> Image.Image:
    """The picture upright (as its EXIF orientation says), in a mode of Pillow's; none: in its own.

    Raises:
        ValueError: it cannot be decoded, has more than 8 bits a channel or more pixels than the limit; the message is the
            reason alone.
    """
    try:
        with Image.open(source) as image:
            if (pixels := image.width * image.height) > limits.pixels:
                raise ValueError(f"{pixels} pixels, more than limits.pixels = {limits.pixels} of params.yaml")
            if mode is not None and image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel; convert it to 8 bits")  # Pillow would clip, not scale
            upright = ImageOps.exif_transpose(image)
            return upright if mode is None else upright.convert(mode)
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:
        raise ValueError("in no image format that is known") from None
    except Exception as error:  # Pillow's decoders raise many kinds of exception for damaged files
        raise ValueError(str(error) or type(error).__name__) from None


def refuse_unreadable(path: Path, faults: dict[str, str]) -> None:
    """Name all unreadable files of a data set at once, up to a number.

    Raises:
        UserError: there are any; `faults` holds the reason by name.
    """
    if not faults:
        return
    lines = [
        f"{path}: the image {name!r} cannot be decoded ({reason}); mend or remove it" for name, reason in faults.items()
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"{path}: and {len(lines) - SHOWN} more, {len(lines)} in all"]
    raise UserError("\n".join(lines))
