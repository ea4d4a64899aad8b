"""Entries that start from others (`like`) and experiments in variants (`sweep`), put together before anything is checked.

How the two are used, and what an entry inherits, is told at the top of params.yaml.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from pydantic import BaseModel

from lifelong.params.messages import models_in
from lifelong.params.reading import SWEEP
from lifelong.params.reports import REPORT_KINDS
from lifelong.params.schema import Params
from lifelong.runtime.errors import UserError, did_you_mean

LIKE = "like"
OF_METHOD = ("options", "grid")  # what another `method` beside them leaves without meaning


@dataclass(frozen=True)
class Step:
    """One of the entries that an experiment is made of, and the values that its sweep gives it there."""

    name: str
    labels: dict[str, str]  # swept key -> value as written


@dataclass(frozen=True)
class Origin:
    """An experiment as if it had been written without `like` and `sweep`, and what it was made of, itself first."""

    entry: dict[str, Any]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Expansion:
    """Params without `like` and `sweep`."""

    values: dict[str, Any]
    origins: dict[str, Origin]  # by experiment
    sweeps: dict[str, tuple[str, ...]]  # swept experiment, which is none itself -> its variants


@dataclass(frozen=True)
class _Variant:
    base: str
    labels: dict[str, str]
    values: dict[str, Any]  # by swept key


def is_above_entries(path: tuple[str, ...]) -> bool:
    """Whether what stands at this path is a section or a mapping of named entries."""
    return (path[:1] == ("reports",) and len(path) <= 2) or any(path == known[: len(path)] for known in _sections(Params))


def expand_entries(written: Mapping[str, Any], source: str) -> Expansion:
    """Every entry with what it starts from, every swept experiment as its variants.

    Raises:
        UserError: a name is unknown or given twice, entries start from one another in a circle, or a sweep makes no
            names; each fault is listed.
    """
    faults: list[str] = []
    values = dict(written)
    origins: dict[str, Origin] = {}
    sweeps: dict[str, tuple[str, ...]] = {}
    for path in _sections(Params):
        entries: Any = values
        for part in path:
            entries = entries.get(part) if isinstance(entries, Mapping) else None
        if not isinstance(entries, Mapping):
            continue  # absent, or refused by its type
        family = _Family(".".join(path), entries)
        completed = family.complete_all()
        faults += family.faults
        values = _with_value(values, path, {name: origin.entry for name, origin in completed.items()})
        if path == ("experiments",):
            origins, sweeps = completed, family.sweeps
    if isinstance(values.get("reports"), Mapping):
        reports = {}
        for section, of_section in values["reports"].items():
            entries = of_section.items() if isinstance(of_section, Mapping) else ()
            result = {name: _name_variants(f"reports.{section}.{name}", entry, sweeps, faults) for name, entry in entries}
            reports[section] = result or of_section
        values["reports"] = reports
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
    return Expansion(values, origins, sweeps)


def merge_entries(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What is inherited with what is given over it.

    Raises:
        ValueError: a key is to be taken away that is not inherited.
    """
    if own.get("kind") is not None and own["kind"] != inherited.get("kind"):
        return dict(own)  # what is inherited describes another kind of thing
    kept = dict(inherited)
    if own.get("method") is not None and own["method"] != inherited.get("method"):
        for key in OF_METHOD:
            kept.pop(key, None)
    for key, value in own.items():
        if value is None:
            if key not in inherited:
                raise ValueError(f"{key}: found null, which takes an inherited key away; {did_you_mean(key, inherited)}")
            kept.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(kept.get(key), Mapping):
            try:
                kept[key] = merge_entries(kept[key], value)
            except ValueError as error:
                raise ValueError(f"{key}.{error}") from None
        else:
            kept[key] = value
    return kept


class _Family:
    """The entries of one section, which may start from one another."""

    def __init__(self, where: str, entries: Mapping[str, Any]) -> None:
        self.where = where
        self.faults: list[str] = []
        self.sweeps: dict[str, tuple[str, ...]] = {}
        self._entries = entries
        self._variants: dict[str, _Variant] = {}
        if where == "experiments":
            for name, entry in entries.items():
                if isinstance(entry, Mapping) and SWEEP in entry:
                    self._try(self._add_variants, name, entry[SWEEP])

    def complete_all(self) -> dict[str, Origin]:
        """The entries there are in the end, in the order written."""
        result: dict[str, Origin] = {}
        for name, entry in self._entries.items():
            for one in self.sweeps.get(name, (name,)):
                if isinstance(entry, Mapping):
                    self._try(lambda one=one: result.update({one: self._complete(one, ())}))
                else:
                    result[one] = Origin(entry, ())  # refused by its type
        return result

    def _try(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except _Fault as fault:
            if str(fault) not in self.faults:  # all variants of one base have its faults
                self.faults.append(str(fault))

    def _add_variants(self, name: str, sweep: Any) -> None:
        self.sweeps[name] = ()
        variants = _list_variants(name, sweep, f"{self.where}.{name}.{SWEEP}")
        for one in variants:
            others = [f"{self.where}.{one}"] if one in self._entries else []
            others += [f"{self.where}.{self._variants[one].base}.{SWEEP}"] if one in self._variants else []
            if others:
                raise _Fault(f"{self.where}.{name}.{SWEEP}: makes {one!r}, as does {others[0]}; rename one of the two")
        self._variants |= variants
        self.sweeps[name] = tuple(variants)

    def _complete(self, name: str, behind: tuple[str, ...]) -> Origin:
        """An entry, its inheritance included, that the entries `behind` start from."""
        if name in behind:
            circle = " -> ".join([*behind[behind.index(name) :], name])
            raise _Fault(f"{self.where}.{name}.{LIKE}: {circle} is a circle; write one of them without {LIKE!r}")
        variant = self._variants.get(name)
        if variant is not None:
            base = self._complete(variant.base, (*behind, name))
            entry = base.entry
            for key, value in variant.values.items():
                try:
                    entry = _with_value(entry, tuple(key.split(".")), value)
                except ValueError as error:
                    raise _Fault(f"{self.where}.{variant.base}.{SWEEP}.{key}: {error}") from None
            return Origin(entry, (Step(variant.base, variant.labels), *base.steps[1:]))
        own = {key: value for key, value in self._entries[name].items() if key not in (LIKE, *self._swept())}
        if LIKE not in self._entries[name]:
            return Origin(own, (Step(name, {}),))
        where = f"{self.where}.{name}"
        start = self._start(where, self._entries[name][LIKE], (*behind, name))
        if own.get("kind") is not None and own["kind"] != start.entry.get("kind"):
            raise _Fault(
                f"{where}.kind: found {own['kind']!r}; {start.steps[0].name!r} has {start.entry.get('kind')!r}, and another "
                f"kind inherits nothing; write the entry without {LIKE!r}"
            )
        try:
            return Origin(merge_entries(start.entry, own), (Step(name, {}), *start.steps))
        except ValueError as error:
            raise _Fault(f"{where}.{error}") from None

    def _swept(self) -> tuple[str, ...]:
        return (SWEEP,) if self.where == "experiments" else ()

    def _start(self, where: str, name: Any, behind: tuple[str, ...]) -> Origin:
        """The entry that another one names as what it starts from."""
        if not isinstance(name, str):
            raise _Fault(f"{where}.{LIKE}: found {name!r}; expected the name of one other entry of {self.where!r}")
        known = [*(n for n, entry in self._entries.items() if isinstance(entry, Mapping)), *self._variants]
        if name not in known:
            raise _Fault(f"{where}.{LIKE}: {name!r} is unknown; {did_you_mean(name, map(str, known))}")
        return self._complete(name, behind)


class _Fault(Exception):
    """What is wrong, behind its key."""


def _list_variants(name: str, sweep: Any, where: str) -> dict[str, _Variant]:
    """The variants of a swept entry by name: every combination of the values."""
    if not isinstance(sweep, Mapping) or not sweep:
        raise _Fault(f"{where}: found {sweep!r}; expected values by key, such as {{options.strength: [1, 10]}}")
    axes = []
    for key, values in sweep.items():
        if str(key).split(".")[0] in (LIKE, SWEEP):
            raise _Fault(f"{where}.{key}: {key!r} cannot be swept; name a key of the entry itself")
        axes.append(_label_values(values, f"{where}.{key}"))
    result = {}
    for labels in product(*axes):
        values = {key: axis[label] for key, axis, label in zip(sweep, axes, labels, strict=True)}
        result["@".join([name, *labels])] = _Variant(name, dict(zip(sweep, labels, strict=True)), values)
    return result


def _label_values(values: Any, where: str) -> dict[str, Any]:
    """Label -> value of one swept key."""
    if isinstance(values, list):
        if any(isinstance(value, list | Mapping) for value in values):
            raise _Fault(f"{where}: found a list or mapping as a value; name each of them: {{LABEL: value, ...}}")
        labelled = {str(value): value for value in values}
        if len(labelled) < len(values):
            raise _Fault(f"{where}: found {values!r}; expected values that differ; keep one of the same")
    elif isinstance(values, Mapping):
        labelled = {str(label): value for label, value in values.items()}
    else:
        labelled = {}
    if not labelled:
        raise _Fault(f"{where}: found {values!r}; expected a list of values, or {{LABEL: value, ...}}")
    for label in labelled:
        if not re.fullmatch(r"[\w.+-]+", label):
            raise _Fault(
                f"{where}: {label!r} would be part of a name, which is made of letters, digits, '-', '_', '.' and '+'; "
                "give the values as {LABEL: value, ...}"
            )
    return labelled


def _name_variants(where: str, entry: Any, sweeps: Mapping[str, tuple[str, ...]], faults: list[str]) -> Any:
    """A report whose lists of experiments name the variants in place of what is swept."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("experiments"), Mapping):
        return entry
    kind = REPORT_KINDS.get(str(entry.get("kind", "comparison")))
    experiments = {}
    for label, named in entry["experiments"].items():
        names = named if isinstance(named, list) else [named]
        swept = [name for name in names if isinstance(name, str) and name in sweeps]
        if swept and sweeps[swept[0]] and kind is not None and kind.experiments == "one":
            faults.append(
                f"{where}.experiments.{label}: {swept[0]!r} is swept and no experiment itself; name one of its variants: "
                f"{', '.join(sweeps[swept[0]])}"
            )
        if swept:
            named = [one for name in names for one in (sweeps[name] if name in swept else (name,))]
        experiments[label] = named
    return {**entry, "experiments": experiments}


def _with_value(values: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with the value at this path."""
    first, *rest = path
    if not rest:
        return {**values, first: value}
    below = values.get(first)
    if below is not None and not isinstance(below, Mapping):
        raise ValueError(f"{first!r} is {below!r} and has no keys; name a key that the entry may have")
    return {**values, first: _with_value(below or {}, tuple(rest), value)}


@cache
def _sections(model: type[BaseModel]) -> tuple[tuple[str, ...], ...]:
    """Paths of all mappings of named entries that may start from one another."""
    return tuple(_walk_sections(model))


def _walk_sections(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from ((name, *path) for path in _walk_sections(annotation))
        elif typing.get_origin(annotation) is dict:
            entry = typing.get_args(annotation)[1]
            if typing.get_origin(entry) is not dict and models_in(entry):
                yield (name,)
