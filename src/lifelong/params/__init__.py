"""params.yaml -> frozen, validated objects; whatever does not fit is refused by name before any work starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lifelong.params.experiment import Experiment
from lifelong.params.files import Written
from lifelong.params.reporting import Report
from lifelong.params.resolve import resolve
from lifelong.params.schema import PARAMS_FILE
from lifelong.params.settings import Settings
from lifelong.runtime.errors import UserError


def load(path: Path = PARAMS_FILE) -> Settings:
    """Read and check params.yaml and the files it includes.

    Raises:
        UserError: a file is missing, is not YAML, or says something that does not fit; each fault is
            listed with its file.
    """
    written = Written(path)
    try:
        result = settings(written.values, str(path))
    except UserError as error:
        told = f"{path}: "
        faults = [line.removeprefix(told) for line in str(error).split("\n")]
        told_once = _first_told(faults, written)
        raise UserError("\n".join(f"{written.place_of(one.split(': ')[0])}: {one}" for one in told_once)) from None
    return replace(result, place_of=written.place_of)


def _first_told(faults: list[str], written: Written) -> list[str]:
    """Each fault once, where it was written: not again for all that inherit it."""
    result = []
    for fault in dict.fromkeys(faults):
        key, _, said = fault.partition(": ")
        above = written.inherited_from(key)
        while above is not None and f"{above}: {said}" not in faults:
            above = written.inherited_from(above)
        if above is None:
            result.append(fault)
    return result


def settings(written: dict[str, Any], source: str = "params.yaml") -> Settings:
    """Check params that are already read; `source` names them in messages."""
    return resolve(written, source)


__all__ = ["Experiment", "Report", "Settings", "load", "settings"]
