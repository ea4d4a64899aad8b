"""params.yaml and the files it includes, read as one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from lifelong.errors import UserError

INCLUDE = "include"  # the key of params.yaml that lists further files, their paths relative to it


class Written:
    """What the files say, and which of them says it."""

    def __init__(self, path: Path) -> None:
        """Read `path` and what it includes.

        Raises:
            UserError: a file is missing, is not YAML, or gives again what another one has given.
        """
        self.path = path
        self.values: dict[str, Any] = {}
        self._files: dict[str, Path] = {}  # by dotted key, of the last part that was merged
        first = _read(path)
        included = first.pop(INCLUDE, [])
        if not isinstance(included, list) or not all(isinstance(name, str) for name in included):
            raise UserError(
                f"{path}: {INCLUDE}: found {included!r}; expected a list of files, their paths relative to this one"
            )
        self._merge(first, self.values, path, "")
        for name in included:
            further = path.parent / name
            written = _read(further)
            if INCLUDE in written:
                raise UserError(f"{further}: {INCLUDE}: an included file includes nothing; list all files in {path}")
            self._merge(written, self.values, further, "")

    def _merge(self, new: dict[str, Any], into: dict[str, Any], path: Path, prefix: str) -> None:
        """Sections are put together key by key; below `experiments.x` or `reports.section.x` a key stands in one file."""
        for name, value in new.items():
            key = f"{prefix}{name}"
            shared = not prefix or (key.startswith("reports.") and key.count(".") == 1)
            if name in into and shared and isinstance(value, dict) and isinstance(into[name], dict):
                self._merge(value, into[name], path, f"{key}.")
                continue
            if name in into:
                raise UserError(f"{path}: {key}: {self.file_of(key)} has this key already; keep one of the two")
            if shared and isinstance(value, dict):
                into[name] = {}
                self._files[key] = path
                self._merge(value, into[name], path, f"{key}.")
            else:
                into[name] = value
                self._files[key] = path

    def file_of(self, key: str) -> Path:
        """The file that says `key`, or the nearest part of it that any file says."""
        parts = key.split(".")
        for count in range(len(parts), 0, -1):
            found = self._files.get(".".join(parts[:count]))
            if found is not None:
                return found
        return self.path


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run this in the project's folder, or give --params") from None
    try:
        written = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path}: found {type(written).__name__}; expected sections such as 'experiments' and 'reports'")
    return written


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} is given twice (again in line {line}); keep one")
            seen[key] = True
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
