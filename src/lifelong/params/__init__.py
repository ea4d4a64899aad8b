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
        raise UserError("\n".join(f"{written.place_of(fault.split(': ')[0])}: {fault}" for fault in faults)) from None
    return replace(result, place_of=written.place_of)


def settings(written: dict[str, Any], source: str = "params.yaml") -> Settings:
    """Check params that are already read; `source` names them in messages."""
    return resolve(written, source)


__all__ = ["Experiment", "Report", "Settings", "load", "settings"]
