"""Progress inside one long stage, kept outside its declared outputs so that a killed job goes on where it was.

The folder's name is a hash of inputs, parameters and code: a checkpoint of another state of affairs is never found, and is
removed when the stage starts anew. The folder goes when the stage has written its output.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lifelong.runtime.artifacts import json_digest, read_tensors, write_tensors
from lifelong.runtime.device import to_device
from lifelong.runtime.errors import UserError
from lifelong.runtime.provenance import describe_job

SECONDS = float(os.environ.get("LIFELONG_CHECKPOINT_SECONDS", "5"))


@dataclass
class Checkpoints:
    """Named checkpoints of one job, written at most every `seconds`."""

    folder: Path
    seconds: float = SECONDS
    _written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, place: Path, key: Any) -> Checkpoints:
        """Those of the work that `key` (a JSON value) and the job's code say all of; others of the place are given up."""
        folder = place / json_digest([key, describe_job()])
        for other in place.glob("*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return cls(folder)

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A checkpoint; none where there is none, or a damaged one."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            arrays, info = read_tensors(path, "checkpoint")
        except UserError as error:
            print(f"passed over, from the start again: {error}", file=sys.stderr)
            return None
        return {key: to_device(array) for key, array in arrays.items()}, info

    def due(self) -> bool:
        return time.monotonic() - self._written >= self.seconds

    def save(self, name: str, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        arrays = {key: tensor.detach().cpu().numpy() for key, tensor in tensors.items()}
        write_tensors(self.folder / f"{name}.safetensors", "checkpoint", arrays, info)
        self._written = time.monotonic()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # if it is empty
