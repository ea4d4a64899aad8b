"""The only reader and writer of pipeline files: safetensors and JSON, whole or not at all.

A tensor file holds named arrays and one JSON object `info` in its header (kind, format ...). The object travels under a
single metadata key with sorted keys, because safetensors does not keep the order of metadata keys and the bytes of a file
must depend on its content alone. Nothing is ever pickled.

Each result holds a record beside what it says: how it was made (`runtime.provenance`), the digest of its content, the
hash of each array, and a seal over all of it. Reading checks the seal, and the hash of whatever array is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save as _to_bytes

from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import admit, describe, note_plain_file, note_plain_source

FORMAT = 2
_KEY = "lifelong"
_RECORD = "record"
_MOST_HEADER = 100_000_000


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
    """A plain file, whose digest the next result of the job says."""
    write_bytes(path, text.encode())
    note_plain_file(path, hashlib.sha256(text.encode()).hexdigest())


def write_json(path: Path, value: Any) -> None:
    """Readable JSON for people; numbers that are not finite are refused (an absent value is `null`)."""
    write_text(path, _format_json(value).decode())


def _format_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _as_read(value: Any) -> Any:
    """A JSON value as it comes back: keys are strings, tuples are lists."""
    return json.loads(json.dumps(value, allow_nan=False))


def read_bytes(path: Path) -> bytes:
    """A plain file, which is a source of what the job writes next."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(path) from None
    note_plain_source(path, hashlib.sha256(content).hexdigest())
    return content


def read_json(path: Path) -> Any:
    return _parse_json(path, read_bytes(path))


def _parse_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {remedy(path)}") from None


def write_result(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON object that a job leaves, with the record of how it was made."""
    value = _as_read(value)
    record = {"made": describe(path), "content": json_digest(value)}
    record["seal"] = json_digest([record, value])
    write_bytes(path, _format_json({**value, _RECORD: record}))


def read_result(path: Path) -> dict[str, Any]:
    """The object of `write_result`, if nothing in it has changed since and it is what the job may read."""
    value, record = _read_sealed_json(path)
    admit(path, record["content"])
    return value


def _read_sealed_json(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        value = _parse_json(path, path.read_bytes())
    except FileNotFoundError:
        raise missing_file(path) from None
    record = value.pop(_RECORD, None) if isinstance(value, dict) else None
    if not isinstance(record, dict) or record.pop("seal", None) != json_digest([record, value]):
        raise UserError(f"{path}: damaged, or not written by this program: its seal does not fit; {remedy(path)}")
    return value, record


def write_tensors(path: Path, kind: str, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON object, with the record of how they were made; the same content gives the same bytes."""
    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    about = _as_read({**info, "kind": kind, "format": FORMAT})
    hashes = {name: _hash_array(array) for name, array in contiguous.items()}
    record = {"arrays": hashes, "made": describe(path), "content": json_digest([about, hashes])}
    record["seal"] = json_digest([record, about])
    header = json.dumps({**about, _RECORD: record}, sort_keys=True, allow_nan=False)
    write_bytes(path, _to_bytes(contiguous, metadata={_KEY: header}))


def read_info(path: Path, kind: str | tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a tensor file of a kind, or of one of several, without reading its arrays."""
    with _open_tensors(path, kind) as (_, info, _):
        return info


def read_tensors(
    path: Path, kind: str | tuple[str, ...], names: Iterator[str] | list[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays (or those named) and the JSON object of a file that must be of the given kind."""
    with _open_tensors(path, kind) as (handle, info, hashes):
        present = set(handle.keys())
        requested = sorted(present) if names is None else list(names)
        absent = [name for name in requested if name not in present]
        if absent:
            raise UserError(f"{path}: holds no tensor {absent[0]!r}; it holds {', '.join(sorted(present)[:20])}")
        arrays = {name: handle.get_tensor(name) for name in requested}
    for name, array in arrays.items():
        if hashes.get(name) != _hash_array(array):
            raise UserError(f"{path}: damaged: {name} is not what was written; {remedy(path)}")
    return arrays, info


@contextmanager
def _open_tensors(path: Path, kind: str | tuple[str, ...]) -> Iterator[tuple[Any, dict[str, Any], dict[str, str]]]:
    """(open file, its JSON object, hash of each array), if the header is whole and what the job may read."""
    info, record = _read_header(path)
    if info.get("kind") not in (kind if isinstance(kind, tuple) else (kind,)) or info.get("format") != FORMAT:
        result = f"kind {info.get('kind')!r}, format {info.get('format')!r}"
        raise UserError(f"{path}: found {result}; expected kind {kind!r}, format {FORMAT}; {remedy(path)}")
    admit(path, record["content"])
    try:
        handle = safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); {remedy(path)}") from None
    with handle:
        yield handle, info, record["arrays"]


def _read_header(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(JSON object, record) of a tensor file."""
    try:
        with open(path, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > _MOST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            info = json.loads(json.loads(handle.read(length))["__metadata__"][_KEY])
    except FileNotFoundError:
        raise missing_file(path) from None
    except IsADirectoryError:
        raise UserError(f"{path}: not a file but a folder; remove it") from None
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise UserError(f"{path}: not a whole safetensors file of ours ({error}); {remedy(path)}") from None
    record = info.pop(_RECORD, None) if isinstance(info, dict) else None
    if not isinstance(record, dict):
        found = info.get("format") if isinstance(info, dict) else info
        raise UserError(f"{path}: found format {found!r}; expected format {FORMAT}; {remedy(path)}")
    if record.pop("seal", None) != json_digest([record, info]):
        raise UserError(f"{path}: damaged: the seal of its header does not fit; {remedy(path)}")
    return info, record


def read_record(path: Path) -> dict[str, Any]:
    """How a result says that it was made (`made`), and the digest of what it holds (`content`); no array is read."""
    return (_read_sealed_json if path.suffix == ".json" else _read_header)(path)[1]


def admit_result(path: Path) -> str:
    """Take a result as a source, whatever it holds; returns the digest of its content."""
    content: str = read_record(path)["content"]
    admit(path, content)
    return content


def _hash_array(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()[:32]


def remedy(path: Path) -> str:
    return f"`rm {path}`, then run snakemake again, which makes it anew"


def missing_file(path: Path) -> UserError:
    return UserError(f"{path}: no such file; `snakemake {path}` makes it and whatever it needs")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def json_digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
