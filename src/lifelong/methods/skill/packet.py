"""What an agent sends the others after a task: head, beneficial biases, anchor, class names, in one checked file.

A packet is a safetensors file whose header says what it is and holds the sha256 of everything else in it. A receiver
trusts nothing: `read_packet` refuses, by name and reason, whatever is not exactly a packet for its own backbone. The
hash tells damage and tampering under way, not who sent it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from lifelong.runtime.artifacts import FORMAT, write_tensors

KIND = "skill-packet"
MOST_BYTES = 1 << 28  # of a whole packet; 500 classes with everything are 20 MB
MOST_HEADER = 1 << 20
MOST_CLASSES = 10_000
MOST_ROWS = 200_000  # of samples or clusters
ANCHORS = {"gmmc": ("means", "variances", "weights"), "mahalanobis": ("means", "samples", "owners")}


class PacketRefused(Exception):
    """Why a received file is not stored: the file's name and the reason."""


@dataclass(frozen=True)
class Packet:
    """A packet in memory. `tensors` has head.weight [c, d], head.bias [c], biases [channels] or none, anchor.*."""

    task: str
    class_names: tuple[str, ...]
    variant: str
    backbone: str  # fingerprint
    mapper: str  # gmmc or mahalanobis
    images: int  # training images behind it
    tensors: dict[str, np.ndarray]

    def info(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "class_names": list(self.class_names),
            "variant": self.variant,
            "backbone": self.backbone,
            "mapper": self.mapper,
            "images": self.images,
            "sizes": {name: tensor.nbytes for name, tensor in sorted(self.tensors.items())},
        }

    @property
    def digest(self) -> str:
        """sha256 over all that the packet says."""
        digest = hashlib.sha256(json.dumps(self.info(), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
            digest.update(np.ascontiguousarray(tensor).data)
        return digest.hexdigest()


def write_packet(path: Path, packet: Packet) -> None:
    write_tensors(path, KIND, packet.tensors, {**packet.info(), "sha256": packet.digest})


def read_packet(path: Path, backbone: str, features: int, channels: int) -> Packet:
    """The packet in a file, for a receiver with this backbone (its fingerprint, feature width and conv channels).

    Raises:
        PacketRefused: anything about the file is not as it must be. Nothing of it is kept or run.
    """
    try:
        return _parsed(path.read_bytes() if _small(path) else b"", backbone, features, channels)
    except PacketRefused as refusal:
        raise PacketRefused(f"{path.name}: {refusal}") from None
    except OSError as error:
        raise PacketRefused(f"{path.name}: cannot be read ({error})") from None


def _small(path: Path) -> bool:
    size = path.stat().st_size
    _demand(size <= MOST_BYTES, f"has {size} bytes; at most {MOST_BYTES} are taken")
    return True


def _parsed(content: bytes, backbone: str, features: int, channels: int) -> Packet:
    info, tensors = _opened(content)
    _demand(info.get("kind") == KIND and info.get("format") == FORMAT, f"is of kind {info.get('kind')!r}, not a packet")
    names: Any = info.get("class_names")
    for key in ("task", "variant", "backbone", "mapper"):
        _demand(isinstance(info.get(key), str) and 0 < len(info[key]) <= 200, f"has no proper {key!r}")
    _demand(
        isinstance(names, list) and 2 <= len(names) <= MOST_CLASSES and all(isinstance(n, str) for n in names),
        "names no classes, or too many",
    )
    _demand(info["mapper"] in ANCHORS, f"has an unknown mapper {info['mapper']!r}")
    _demand(type(info.get("images")) is int and 0 < info["images"] < 10**9, "says of no sensible number of images")
    _demand(info["backbone"] == backbone, f"was made with another backbone ({info['backbone'][:12]}, not {backbone[:12]})")
    _check_tensors(tensors, info["mapper"], len(names), features, channels)
    packet = Packet(info["task"], tuple(names), info["variant"], backbone, info["mapper"], info["images"], tensors)
    _demand(info.get("sha256") == packet.digest, "was changed under way: its hash does not fit its content")
    return packet


def _opened(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    _demand(len(content) > 8, "is empty or cut short")
    (length,) = struct.unpack("<Q", content[:8])
    _demand(length <= MOST_HEADER and length <= len(content) - 8, "is no safetensors file, or cut short in its header")
    try:
        header = json.loads(content[8 : 8 + length])
        info = json.loads(header["__metadata__"]["lifelong"])
        tensors = safetensors.numpy.load(content)
    except RecursionError:
        raise PacketRefused("has a header nested without end") from None
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise PacketRefused(f"is no whole safetensors file with our header ({type(error).__name__})") from None
    _demand(isinstance(info, dict), "has a header that is no object")
    return info, tensors


def _check_tensors(tensors: dict[str, np.ndarray], mapper: str, classes: int, features: int, channels: int) -> None:
    expected = {"head.weight", "head.bias", *(f"anchor.{name}" for name in ANCHORS[mapper])}
    result = set(tensors) - {"biases"}
    _demand(result == expected, f"holds {sorted(result ^ expected)[:3]} too much or too little")
    for name, tensor in tensors.items():
        requested = np.int64 if name == "anchor.owners" else np.float32
        _demand(tensor.dtype == requested, f"has {name} as {tensor.dtype}, not {np.dtype(requested)}")
        _demand(bool(np.isfinite(tensor).all()), f"has numbers in {name} that are not finite")
    rows = len(tensors["anchor.samples" if mapper == "mahalanobis" else "anchor.means"])
    _demand(0 < rows <= MOST_ROWS, f"has an anchor of {rows} rows")
    shapes = {"head.weight": (classes, features), "head.bias": (classes,), "biases": (channels,)}
    if mapper == "gmmc":
        shapes |= {"anchor.means": (rows, features), "anchor.variances": (rows, features), "anchor.weights": (rows,)}
    else:
        shapes |= {"anchor.means": (classes, features), "anchor.samples": (rows, features), "anchor.owners": (rows,)}
    for name, tensor in tensors.items():
        _demand(tensor.shape == shapes[name], f"has {name} of shape {tensor.shape}, not {shapes[name]}")
    if mapper == "gmmc":
        weights = tensors["anchor.weights"]
        _demand(bool((tensors["anchor.variances"] > 0).all()), "has variances that are not positive")
        _demand(bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-3, "has weights that are no distribution")
    else:
        owners = tensors["anchor.owners"]
        _demand(bool(((owners >= 0) & (owners < classes)).all()), "has samples of classes it does not name")


def _demand(holds: bool, reason: str) -> None:
    if not holds:
        raise PacketRefused(reason)
