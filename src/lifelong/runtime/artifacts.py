"""The only reader and writer of pipeline files: safetensors and JSON, whole or not at all.

A tensor file holds named arrays and one JSON object `info` in its header (kind, format, parameters, versions ...). The
object travels under a single metadata key with sorted keys, because safetensors does not keep the order of metadata
keys and the bytes of a file must depend on its content alone. Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save as _to_bytes

from lifelong.runtime.errors import UserError

FORMAT = 1
_KEY = "lifelong"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A scratch path beside `path` that takes its place when the block ends well and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield scratch
        with open(scratch, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as scratch:
        scratch.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Readable JSON; numbers that are not finite are refused (an absent value is `null`)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise missing_file(path) from None
    except ValueError as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); delete it and run snakemake again, which makes it anew"
        ) from None


def write_tensors(path: Path, kind: str, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON object; the same content gives the same bytes."""
    header = json.dumps({**info, "kind": kind, "format": FORMAT}, sort_keys=True, allow_nan=False)
    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    write_bytes(path, _to_bytes(contiguous, metadata={_KEY: header}))


def read_info(path: Path, kind: str | tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a tensor file of a kind, or of one of several, without reading its arrays."""
    with _opened(path, kind) as (_, info):
        return info


def read_tensors(
    path: Path, kind: str, names: Iterator[str] | list[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays (or those named) and the JSON object of a file that must be of the given kind."""
    with _opened(path, kind) as (handle, info):
        present = set(handle.keys())
        requested = sorted(present) if names is None else list(names)
        absent = [name for name in requested if name not in present]
        if absent:
            raise UserError(f"{path}: holds no tensor {absent[0]!r}; it holds {', '.join(sorted(present)[:20])}")
        return {name: handle.get_tensor(name) for name in requested}, info


@contextmanager
def _opened(path: Path, kind: str | tuple[str, ...]) -> Iterator[tuple[Any, dict[str, Any]]]:
    if not path.is_file():
        raise missing_file(path)
    remake = "delete it and run snakemake again, which makes it anew"
    try:
        handle = safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); {remake}") from None
    with handle:
        header = (handle.metadata() or {}).get(_KEY)
        info = json.loads(header) if header else {}
        if info.get("kind") not in (kind if isinstance(kind, tuple) else (kind,)) or info.get("format") != FORMAT:
            result = f"kind {info.get('kind')!r}, format {info.get('format')!r}"
            raise UserError(f"{path}: found {result}; expected kind {kind!r}, format {FORMAT}; {remake}")
        yield handle, info


def missing_file(path: Path) -> UserError:
    return UserError(f"{path}: no such file; `snakemake {path}` makes it and whatever it needs")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def json_digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
