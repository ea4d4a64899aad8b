"""Folders of published data sets, and how one that is wrong is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lifelong.data import catalog
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import search_directories


def real(*entries: str) -> Any:
    present = any(all((base / entry).exists() for entry in entries) for base in search_directories())
    return pytest.mark.skipif(not present, reason=f"needs the real {', '.join(entries)}: set LIFELONG_DATA")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(folder: Path, contents: dict[str, bytes], pack: Callable[[bytes], bytes] = bytes, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / f"{file}{suffix}").write_bytes(pack(content))


def refusal(name: str, raw: Path, search: Sequence[Path] = ()) -> str:
    with pytest.raises(UserError) as caught:
        catalog.load(name, None, raw, search)
    return str(caught.value)
