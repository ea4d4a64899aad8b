"""A user's own data set: a folder of images by class, on disk or in a tar, which is read without unpacking it.

    <root>/<split>/<class>/<image>     splits train and test (val, valid or validation serves where there is no test)
    <root>/<class>/<image>             cut into train and test by `test_fraction` and `split_seed`, stratified by class
    <root>/words.json                  optional: {"<class>": "readable name", ...}
    <root>/labels.csv                  instead of class folders: columns file, label and perhaps split

One enclosing folder around all that is skipped, hidden files and what systems leave behind (Thumbs.db) are ignored, and any
other file is an error. Classes and
images are in the order of their names. A split beside train and test (val beside test, say) would go unused without a
word, so it is an error too: merge it into train or take it away.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from lifelong.data.images import Images
from lifelong.data.pictures import read_picture, refuse_unreadable
from lifelong.params.datasets import USUAL_LIMITS, Limits
from lifelong.runtime.artifacts import file_digest
from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import note_outside

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_TEST_NAMES = ("test", "val", "valid", "validation")
_WORDS = ("words.json",)
_LABELS = ("labels.csv",)
JUNK = ("Thumbs.db", "thumbs.db", "desktop.ini", "Icon\r", "__MACOSX")
"""Files and folders that systems leave beside images."""
_LAYOUT = "expected <split>/<class>/<image> with the splits train and test, or <class>/<image> for all images"
_LONGEST_HEADER = 2**20
_MODES = {"grey": "L", "colour": "RGB"}

Parts = tuple[str, ...]  # a file's path inside the data set
Files = dict[Parts, Callable[[], bytes]]  # in the order in which they are best read


@dataclass(frozen=True)
class FolderSource:
    """Where a folder of images is and how it is read; only stores, `read_folder` checks."""

    path: str  # directory or tar
    image_size: int  # pixels, height and width
    channels: Literal["grey", "colour"]
    test_fraction: float | None = None
    split_seed: int = 0
    sha256: str | None = None  # of the tar


def read_folder(name: str, source: FolderSource, raw: Path, search: Sequence[Path], limits: Limits = USUAL_LIMITS) -> Images:
    """Decode the folder or tar at `source.path`, looked for in `raw`, the `search` directories, then as it stands.

    Images are uint8 [N, 1 or 3, size, size]: shorter side resized (bilinear) to `image_size`, centre crop. UserError
    names the file or member that is missing, damaged, misplaced, unsafe or over a limit.
    """
    path = locate(name, source.path, raw, search)
    check_sha256(path, source.sha256)
    if source.sha256 is None:
        note_outside(path)
    with open_files(path, limits) as files:
        files = arrange_files(path, files)
        readable_names = _words(path, files.pop(_WORDS, None))
        splits = _splits(path, files)
        _check_test_fraction(name, path, splits, source.test_fraction)
        classes = _classes(path, splits)
        names = _class_names(path, classes, readable_names)
        decoded = {split: _decode(path, members, files, classes, source, limits) for split, members in splits.items()}
    if source.test_fraction is None:
        return Images.of(decoded["train"], decoded["test"], names)
    try:
        return Images.split(*decoded["all"], names, source.test_fraction, source.split_seed)
    except ValueError as error:
        raise UserError(
            f"data set {name!r}: {path} cannot be split with test_fraction {source.test_fraction}: {error}"
        ) from None


def arrange_files(path: Path, files: Files) -> Files:
    """The files by split and class: without junk and enclosing folder, and as labels.csv says where there is one."""
    files = strip_enclosing_folder({parts: read for parts, read in files.items() if not set(parts) & set(JUNK)})
    labels = files.pop(_LABELS, None)
    return files if labels is None else _arrange_by_labels(path / _LABELS[0], files, labels())


def _arrange_by_labels(path: Path, files: Files, table: bytes) -> Files:
    rows = csv.DictReader(io.StringIO(table.decode("utf-8-sig", errors="replace")))
    columns = rows.fieldnames or []
    if not {"file", "label"} <= set(columns) <= {"file", "label", "split"}:
        raise UserError(
            f"{path}: found the columns {', '.join(columns) or '(none)'}; expected file, label and perhaps split"
        )
    result: Files = {parts: read for parts, read in files.items() if parts == _WORDS}
    named: dict[Parts, int] = {}
    for number, row in enumerate(rows, 2):
        parts = PurePosixPath(row["file"] or "").parts
        if parts not in files or not row["label"]:
            raise UserError(
                f"{path}, line {number}: found {row}; expected a file that is there, and a label; correct the line"
            )
        if parts in named:
            raise UserError(f"{path}, line {number}: {row['file']!r} is in line {named[parts]} already; keep one of the two")
        named[parts] = number
        split = (row["split"],) if "split" in columns else ()
        result[(*split, row["label"], "/".join(parts))] = files[parts]
    if unnamed := [parts for parts in files if parts not in named and parts != _WORDS]:
        raise UserError(
            f"{path}: says nothing of {_shown(unnamed[0])!r}, of {len(unnamed)} files in all; add or remove them"
        )
    return result


def locate(name: str, given: str, raw: Path, search: Sequence[Path]) -> Path:
    """The first that exists of `given` under `raw`, under the search directories and as it stands.

    Raises:
        UserError: none exists; all that were tried are named.
    """
    candidates = [base / given for base in (raw, *search, Path())]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    tried = ", ".join(dict.fromkeys(map(str, candidates)))
    raise UserError(
        f"data set {name!r}: no folder or tar {given!r}; tried {tried}; "
        "correct its path, put it there or set LIFELONG_DATA to the directory that holds it"
    )


def check_sha256(path: Path, expected: str | None) -> None:
    """Refuse a tar that is not the one expected."""
    if expected is None:
        return
    if path.is_dir():
        raise UserError(f"{path}: a directory, where sha256 is given, which only a tar can have; remove sha256")
    result = file_digest(path)
    if result != expected.lower():
        raise UserError(
            f"{path}: found sha256 {result}; expected {expected}; fetch the tar again, or correct sha256 if it is right"
        )


@contextmanager
def open_files(path: Path, limits: Limits = USUAL_LIMITS) -> Iterator[Files]:
    """The files of a directory or tar, by the parts of their paths, each as what reads it.

    Raises:
        UserError: the tar is damaged, a file is over a limit, a link leads out of the directory, or a folder is empty.
    """
    if path.is_dir():
        yield dict(_walk(path, (), path.resolve(), limits))
        return
    try:
        tar = tarfile.open(path, tarinfo=_Member)  # noqa: SIM115 (closed below; errors of the caller's block are not the tar's)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(path, error) from None
    with tar:
        yield _members(path, tar, limits)


class _Member(tarfile.TarInfo):
    """A header that keeps a forged length of a name or of attributes from being read into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if not self.isreg() and not self.isdir() and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


def _walk(directory: Path, above: Parts, root: Path, limits: Limits) -> Iterator[tuple[Parts, Callable[[], bytes]]]:
    entries = [entry for entry in sorted(directory.iterdir()) if not entry.name.startswith(".")]
    if above and not entries:
        raise _empty(directory)
    for entry in entries:
        parts = (*above, entry.name)
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            raise UserError(f"{entry}: a link to {entry.resolve()}, outside the data set; put a copy there")
        if entry.is_file():
            _check_size(entry, entry.stat().st_size, limits)
            yield parts, entry.read_bytes
        elif not entry.is_dir():
            raise UserError(f"{entry}: neither a file nor a folder; only files are read")
        elif len(parts) > 3:  # enclosing folder, split, class; the limit also ends a link that leads back up
            raise UserError(f"{entry}: a folder inside a class folder; expected only images there")
        else:
            yield from _walk(entry, parts, root, limits)


def _check_size(where: object, size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise UserError(f"{where}: holds {size} bytes, more than limits.file_bytes = {limits.file_bytes} of params.yaml")


def _empty(where: object) -> UserError:
    return UserError(f"{where}: an empty folder, so a class or split has no image; fill it or take it away")


def _members(path: Path, tar: tarfile.TarFile, limits: Limits) -> Files:
    files: Files = {}
    folders: dict[Parts, str] = {}
    for member in _listed(path, tar, limits):
        parts = PurePosixPath(member.name).parts
        if member.name.startswith("/") or ".." in parts:
            raise UserError(f"{path}: the member {member.name!r} points outside the tar, which is refused")
        if not (member.isfile() or member.isdir()):
            raise UserError(f"{path}: the member {member.name!r} is a link or a device; only files are read")
        if any(part.startswith(".") for part in parts):
            continue
        if member.isdir():
            folders[parts] = member.name
            continue
        if parts in files:
            raise UserError(f"{path}: holds the member {member.name!r} twice; expected each once")
        files[parts] = lambda member=member: _content(tar, member)  # type: ignore[misc]
    filled = {parts[:depth] for parts in files for depth in range(len(parts))}
    for parts, name in folders.items():
        if parts not in filled:
            raise _empty(f"{path}: {name!r}")
    return files


def _listed(path: Path, tar: tarfile.TarFile, limits: Limits) -> list[tarfile.TarInfo]:
    members, packed, total = [], path.stat().st_size, 0
    try:
        for member in tar:  # not all at once: what follows a member is unpacked to find the next
            _check_size(f"{path}: the member {member.name!r}", member.size, limits)
            members.append(member)
            total += member.size
            if total > max(limits.ratio * packed, limits.file_bytes):
                raise UserError(
                    f"{path}: unpacks to more than limits.ratio = {limits.ratio} times its {packed} bytes; raise that in "
                    "params.yaml if the archive is right"
                )
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        # tarfile takes a tar that was cut between two members for a whole one; a whole one ends with zeros
        whole = tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None
    if not whole:
        raise _damaged(path, "it ends without an end mark")
    return members


def _damaged(path: Path, reason: object) -> UserError:
    told = " ".join(str(reason).split())  # tarfile tries every packing and tells of each on a line
    return UserError(f"{path}: not a whole tar ({told}); expected a directory or a tar; fetch it again")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = tar.extractfile(member)
    assert handle is not None  # a regular file
    return handle.read()


def strip_enclosing_folder(files: Files) -> Files:
    """The same without the one folder that all of a tar may lie in."""
    tops = {parts[0] for parts in files}
    if len(tops) != 1 or tops & {"train", *_TEST_NAMES} or max(map(len, files)) < 3:
        return files
    return {parts[1:]: read for parts, read in files.items()}


def _words(path: Path, read: Callable[[], bytes] | None) -> dict[str, str] | None:
    if read is None:
        return None
    try:
        words: Any = json.loads(read(), object_pairs_hook=_without_doubles)
    except ValueError as error:
        raise UserError(f"{path}: words.json is not valid JSON ({error}); mend or remove it") from None
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise UserError(f'{path}: words.json is not of the form {{"<class folder>": "readable name"}}; mend or remove it')
    return words


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that names each key once."""
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"{twice!r} is there twice")
    return result


def _splits(path: Path, files: Files) -> dict[str, list[Parts]]:
    """The images of "train" and "test", or of "all" where the folder has no splits."""
    for parts in files:
        if PurePosixPath(parts[-1]).suffix.lower() not in SUFFIXES:
            raise UserError(
                f"{path}: found {_shown(parts)!r}, neither an image ({' '.join(SUFFIXES)}) nor words.json; take it away"
            )
    depths = {len(parts) for parts in files}
    if not files:
        raise UserError(f"{path}: found no image; {_LAYOUT}")
    if len(depths) > 1 or not depths <= {2, 3}:
        usual = 3 if 3 in depths else 2
        misplaced = next(parts for parts in files if len(parts) != usual)
        raise UserError(f"{path}: found the image {_shown(misplaced)!r}; {_LAYOUT}")
    if depths == {2}:
        unsorted = [parts for parts in files if parts[0] in ("train", *_TEST_NAMES)]
        if unsorted:
            raise UserError(f"{path}: found the image {_shown(unsorted[0])!r} outside a class folder; {_LAYOUT}")
        return {"all": list(files)}
    by_split: dict[str, list[Parts]] = {}
    for parts in files:
        by_split.setdefault(parts[0], []).append(parts)
    test = next((name for name in _TEST_NAMES if name in by_split), None)
    if "train" not in by_split or test is None:
        raise UserError(f"{path}: found the splits {', '.join(sorted(by_split))}; expected train and test; {_LAYOUT}")
    unused = sorted(set(by_split) - {"train", test})
    if unused:
        raise UserError(
            f"{path}: the split {unused[0]!r} would go unused beside train and {test}; merge it into train or take it away"
        )
    return {"train": by_split["train"], "test": by_split[test]}


def _shown(parts: Parts) -> str:
    return "/".join(parts)


def _check_test_fraction(name: str, path: Path, splits: dict[str, list[Parts]], test_fraction: float | None) -> None:
    if "all" in splits and test_fraction is None:
        raise UserError(
            f"data set {name!r}: {path} has no train and test folders; expected test_fraction (0.25, say), "
            "the part of each class to keep for testing"
        )
    if "all" not in splits and test_fraction is not None:
        raise UserError(
            f"data set {name!r}: {path} has train and test folders, where test_fraction {test_fraction} means nothing; "
            "remove test_fraction"
        )


def _classes(path: Path, splits: dict[str, list[Parts]]) -> list[str]:
    by_split = {split: {parts[-2] for parts in members} for split, members in splits.items()}
    classes = sorted(set.union(*by_split.values()))
    for split, present in by_split.items():
        absent = [name for name in classes if name not in present]
        if absent:
            raise UserError(f"{path}: the class {absent[0]!r} has no {split} image; expected each class in both splits")
    if len(classes) < 2:
        raise UserError(f"{path}: found one class, {classes[0]!r}; expected two or more; {_LAYOUT}")
    return classes


def _class_names(path: Path, classes: list[str], words: dict[str, str] | None) -> list[str]:
    if words is None:
        return classes
    unnamed = [name for name in classes if name not in words]
    if unnamed:
        raise UserError(f"{path}: words.json has no name for the class {unnamed[0]!r}; add it or remove words.json")
    owners: dict[str, str] = {}
    for name in classes:
        if (other := owners.setdefault(words[name], name)) != name:
            raise UserError(f"{path}: words.json calls {other!r} and {name!r} both {words[name]!r}; give two names")
    return [words[name] for name in classes]


def _decode(
    path: Path, members: list[Parts], files: Files, classes: list[str], source: FolderSource, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, C, size, size] and labels of the members, in the order of their names."""
    place = {parts: index for index, parts in enumerate(sorted(members))}
    label_of = {name: label for label, name in enumerate(classes)}
    mode = _MODES[source.channels]
    faults: dict[str, str] = {}
    images = np.empty((len(place), len(mode), source.image_size, source.image_size), np.uint8)
    for parts in members:  # as stored: a compressed tar is slow to read in another order
        try:
            picture = read_picture(io.BytesIO(files[parts]()), mode, limits)
        except ValueError as error:
            faults[_shown(parts)] = str(error)
            continue
        fitted = ImageOps.fit(picture, (source.image_size, source.image_size), Image.Resampling.BILINEAR)
        images[place[parts]] = np.atleast_3d(np.asarray(fitted)).transpose(2, 0, 1)
    refuse_unreadable(path, faults)
    return images, np.array([label_of[parts[-2]] for parts in place])
