"""What stages leave: groups of named tensors in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifelong.networks.create import State
from lifelong.runtime.artifacts import read_tensors, write_tensors
from lifelong.runtime.device import to_device


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
