"""params.yaml and the files it includes, read as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifelong.params.inheritance import is_above_entries
from lifelong.params.reading import read_yaml
from lifelong.runtime.errors import UserError

INCLUDE = "include"  # the key of params.yaml that lists further files, their paths relative to it

OWN = Path("params/own")
"""Beside params.yaml: a folder whose files are all read too, so that what is one's own stays out of the project's files."""


class Written:
    """What the files say, and where each of them says it."""

    def __init__(self, path: Path) -> None:
        """Read `path` and what it includes.

        Raises:
            UserError: a file is missing, is not YAML, or gives again what another one has given.
        """
        self.path = path
        self.values: dict[str, Any] = {}
        self._places: dict[str, str] = {}  # by dotted key: file and line
        first, first_lines = read_yaml(path)
        included = first.pop(INCLUDE, [])
        if not isinstance(included, list) or not all(isinstance(name, str) for name in included):
            raise UserError(
                f"{path}, line {first_lines[INCLUDE]}: {INCLUDE}: found {included!r}; expected a list of files, their paths "
                f"relative to this one; write '{INCLUDE}: [FILE, ...]'"
            )
        self._add(path, first, first_lines)
        for name in included:
            further = path.parent / name
            if not further.exists():
                where = f"{path}, line {first_lines[INCLUDE]}: {INCLUDE}"
                raise UserError(f"{where}: found {name!r}, and there is no file {further}; correct the name or take it away")
            values, lines = read_yaml(further)
            if INCLUDE in values:
                raise UserError(f"{further}: {INCLUDE}: an included file includes nothing; list all files in {path}")
            self._add(further, values, lines)
        for further in sorted((path.parent / OWN).glob("*.yaml")):
            self._add(further, *read_yaml(further))

    def place_of(self, key: str) -> str:
        """File and line of `key`, or of the nearest part of it that any file says; of a variant: of what is swept."""
        result = ""
        for requested in {key, key.partition("@")[0]}:
            # Names may hold dots, so parts are what is known and not what lies between dots.
            parts = (known for known in self._places if requested == known or requested.startswith(f"{known}."))
            result = max(result, *parts, "", key=len)
        return self._places.get(result, str(self.path))

    def inherited_from(self, key: str) -> str | None:
        """The same key of the entry that this one starts from; none where the entry gives it itself."""
        if key in self._places:
            return None
        for section, entries in self.values.items():
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                own = f"{section}.{name}"
                if key.startswith((f"{own}.", f"{own}@")) and isinstance(entry, dict) and "like" in entry:
                    return f"{section}.{entry['like']}{key[key.find('.', len(own)) :]}"
        return None

    def _add(self, path: Path, values: dict[str, Any], lines: dict[str, int]) -> None:
        places = {key: f"{path}, line {line}" for key, line in lines.items()}
        self._merge(values, self.values, places, ())
        for key, place in places.items():
            self._places.setdefault(key, place)

    def _merge(self, new: dict[str, Any], into: dict[str, Any], places: dict[str, str], above: tuple[str, ...]) -> None:
        """Sections are put together name by name; each entry stands in one file."""
        for name, value in new.items():
            path = (*above, str(name))
            key = ".".join(path)
            if is_above_entries(path):
                if not isinstance(value, dict):
                    result = "nothing" if value is None else "a list" if isinstance(value, list) else repr(value)
                    remedy = "write 'NAME: ...' for each" if value is None else "write 'NAME: ...' in its place"
                    raise UserError(f"{places[key]}: {key}: found {result}; expected entries by name; {remedy}")
                self._merge(value, into.setdefault(name, {}), places, path)
            elif name in into:
                raise UserError(f"{places[key]}: {key}: {self._places[key]} has this key already; keep one of the two")
            else:
                into[name] = value
