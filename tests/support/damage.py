"""Flips bits in files of a finished run and sees what reading them gives."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np

from lifelong.pipeline.states import read_curve
from lifelong.runtime.artifacts import read_record, read_result, read_tensors
from lifelong.runtime.errors import UserError

KINDS = ("images", "tasks", "state", "predictions")


def flip_bytes(folder: Path, flips: int, draw: random.Random) -> Counter[str]:
    """One bit at a time, the same number in every kind of file: counts of `refused`, `same` and `wrong`, in all and by kind.

    `wrong`: what is read differs, or a refusal names neither the file nor what to do.
    """
    before = Path.cwd()
    os.chdir(folder)
    try:
        return _flip(flips, draw)
    finally:
        os.chdir(before)


def _flip(flips: int, draw: random.Random) -> Counter[str]:
    by_kind: dict[str, list[Path]] = {}
    for root in ("data", "results"):
        for path in sorted(Path(root).rglob("*.*")):
            if path.is_file() and path.suffix in (".safetensors", ".json", ".jsonl"):
                by_kind.setdefault(_kind(path), []).append(path)
    kinds, counts = sorted(by_kind), Counter[str]()
    for number in range(flips):
        kind = kinds[number % len(kinds)]
        outcome = _try(draw.choice(by_kind[kind]), draw)
        counts[outcome] += 1
        counts[f"{outcome} {kind}"] += 1
    return counts


def _kind(path: Path) -> str:
    if path.parts[0] == "data":
        return path.parts[1]
    if path.parts[1].startswith("."):
        return "receipts"
    return "curves" if path.suffix == ".jsonl" else path.stem if path.suffix == ".json" else f"{path.stem}.safetensors"


def _try(path: Path, draw: random.Random) -> str:
    whole, before = path.read_bytes(), _content(path)
    place = draw.randrange(len(whole))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
    try:
        return "same" if _same(before, _content(path)) else "wrong"
    except UserError as error:
        return "refused" if str(path) in str(error) and "rm " in str(error) else "wrong"
    finally:
        path.write_bytes(whole)


def _content(path: Path) -> tuple[dict[str, np.ndarray], object]:
    if path.suffix == ".json":
        return {}, (read_result(path), read_record(path))
    if path.suffix == ".jsonl":
        return {}, read_curve(path.with_name(path.name.replace(".curve.jsonl", ".safetensors")))
    arrays, info = read_tensors(path, KINDS)
    return arrays, (info, read_record(path))


def _same(one: tuple[dict[str, np.ndarray], object], other: tuple[dict[str, np.ndarray], object]) -> bool:
    arrays = one[0].keys() == other[0].keys() and all(np.array_equal(one[0][name], other[0][name]) for name in one[0])
    return arrays and one[1] == other[1]
