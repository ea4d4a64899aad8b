"""What stages leave: groups of named tensors in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lifelong.networks.create import State
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, read_record, read_tensors, remedy, write_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import UserError


def read_state(path: Path) -> State:
    """The groups of named tensors that a stage left."""
    arrays, info = read_tensors(path, "state")
    state: State = {group: {} for group in info["groups"]}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        state[group][name] = to_device(array)
    return state


def write_state(path: Path, state: State, info: dict[str, Any]) -> None:
    """Groups travel as `group/name`; their names are in the header too, since an empty group has no tensor."""
    arrays = {f"{group}/{name}": tensor.cpu().numpy() for group, named in state.items() for name, tensor in named.items()}
    write_tensors(path, "state", arrays, {**info, "groups": sorted(state)})


def read_curve(state_path: Path) -> list[dict[str, Any]]:
    """The learning curve beside a state, row by row; empty for a stage that trains nothing.

    Raises:
        UserError: it is not the one that was written with the state.
    """
    path = paths.curve(state_path)
    if not path.is_file():
        return []
    # A state may have been removed to save space; its curve is read as it is then.
    written = read_record(state_path)["made"].get("beside", {}).get(str(path)) if state_path.exists() else None
    if written not in (None, file_digest(path)):
        raise UserError(f"{path}: damaged: not what was written with {state_path.name}; {remedy(path)}")
    return [json.loads(line) for line in path.read_text().splitlines()]
