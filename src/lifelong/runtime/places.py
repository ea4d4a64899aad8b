"""Where inputs that the pipeline did not make are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from lifelong.runtime.errors import UserError

RAW = Path("data/raw")


def search_directories() -> list[Path]:
    """The directories of LIFELONG_DATA; UserError where one does not exist."""
    directories = [Path(entry) for entry in os.environ.get("LIFELONG_DATA", "").split(os.pathsep) if entry]
    for directory in directories:
        if not directory.is_dir():
            raise UserError(
                f"LIFELONG_DATA: no such directory: {directory}; expected directories separated by {os.pathsep!r}"
            )
    return directories
