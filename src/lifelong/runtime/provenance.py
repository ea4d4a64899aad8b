"""How a file of the pipeline was made, as the file itself says; and what a job may read.

Inside `working(...)` every result that is written says which path it was made for, the fingerprint of its job, and the
content of every result that the job had read by then; every result that is read is refused unless it is what is asked
for. So a stale file, or one in another's place, is never used, whatever its time and whatever Snakemake remembers.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lifelong.runtime.errors import UserError

Made = Mapping[str, Any]
"""`path`, `fingerprint`, `versions`, `device`; by path the content of its sources (`from`), the digests of plain files that
were read (`plain`) and of those written with it (`beside`), and how what is not the project's looked (`outside`)."""

LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch")
"""Libraries whose version numbers depend on; a result of others is made anew."""


class Judge(Protocol):
    """Knows which results are asked for."""

    def covers(self, path: Path) -> bool:
        """Whether a result of the pipeline belongs there."""

    def find_problem(self, path: Path) -> str | None:
        """Why what is there is not what is asked for; none if it is."""


@dataclass
class Work:
    """What a process reads and writes for one job.

    Attributes:
        fingerprint: of the job; none for one that only reads.
        sources: the content of each result read so far.
        plain: the digest of each plain file of the project that was read so far.
        beside: the digest of each plain file written so far.
        outside: how each file or directory that is not the project's looked when it was read.
    """

    fingerprint: str | None
    judge: Judge
    sources: dict[str, str] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    device: str | None = None


_works: list[Work] = []


@contextmanager
def working(fingerprint: str | None, judge: Judge) -> Iterator[Work]:
    """In the block, results are checked when read and say how they were made when written."""
    _works.append(Work(fingerprint, judge))
    try:
        yield _works[-1]
    finally:
        _works.pop()


@contextmanager
def reading_aside() -> Iterator[None]:
    """In the block, what is read is checked by its content alone, and is no source of what is written."""
    aside, _works[:] = list(_works), []
    try:
        yield
    finally:
        _works[:] = aside


def describe_job() -> dict[str, Any]:
    """The fingerprint of the job at work, if one is, and the libraries."""
    return {"fingerprint": _works[-1].fingerprint if _works else None, "versions": library_versions()}


def describe(path: Path) -> dict[str, Any]:
    """What a result at `path` says of how it was made."""
    made = describe_job()
    if _works:
        work = _works[-1]
        made |= {"path": str(path), "from": dict(sorted(work.sources.items()))}
        if plain := {name: digest for name, digest in sorted(work.plain.items()) if name not in work.beside}:
            made["plain"] = plain
        if work.beside:
            made["beside"] = dict(sorted(work.beside.items()))
        if work.outside:
            made["outside"] = dict(sorted(work.outside.items()))
        if work.device:
            made["device"] = work.device
    return made


def admit(path: Path, content: str) -> None:
    """Take a result as a source of what is made next.

    Raises:
        UserError: it is another job's, or of other parameters, code, libraries or inputs than are asked for.
    """
    if not _works or not _works[-1].judge.covers(path):
        return
    if problem := _works[-1].judge.find_problem(path):
        raise UserError(f"{path}: {problem}; run snakemake again, which makes it anew")
    _works[-1].sources[str(path)] = content


def find_difference(path: Path, made: Made, asked: str) -> str | None:
    """In what a result is not what is asked of its path; none if it is."""
    if made.get("path") != str(path):
        return f"was made as {made.get('path')}, not for this place"
    if made.get("fingerprint") != asked:
        return "was made with other parameters or other code"
    old, new = made.get("versions", {}), library_versions()
    different = [f"{name} {old.get(name)}, not {new[name]}" for name in new if old.get(name) != new[name]]
    return f"was made with {different[0]}" if different else None


def note_plain_source(path: Path, digest: str) -> None:
    """A plain file of the project was read; the next result says so, unless the job writes it too."""
    if _works and not path.is_absolute():
        _works[-1].plain.setdefault(str(path), digest)


def look_at(path: Path) -> str:
    """What tells a file, or all files of a directory, from others without reading them: names, sizes and times."""
    files = [path] if path.is_file() else [Path(above, name) for above, _, names in os.walk(path) for name in names]
    lines = [f"{file.relative_to(path)} {(at := file.stat()).st_size} {at.st_mtime_ns}" for file in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def note_outside(path: Path) -> None:
    """Data that params.yaml pins by no hash are about to be read; the next result says how they looked."""
    if _works:
        _works[-1].outside[str(path)] = look_at(path)


def note_plain_file(path: Path, digest: str) -> None:
    """A plain file was written, whose digest the next result says."""
    if _works:
        _works[-1].beside[str(path)] = digest


def note_device(name: str | None) -> None:
    """Results say where they were computed, unless it was the processor."""
    if _works:
        _works[-1].device = name


_versions: dict[str, str] = {}


def library_versions() -> dict[str, str]:
    """Versions of `LIBRARIES` as installed, without what comes after a plus sign."""
    if not _versions:
        for name in LIBRARIES:
            _versions[name] = importlib.metadata.version(name).partition("+")[0]
    return _versions
