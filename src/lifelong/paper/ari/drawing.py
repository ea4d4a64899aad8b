"""Saves a figure that has its own arrangement of panels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from lifelong.artifacts import write_bytes


def write_figure(path: Path, figure: Any) -> None:
    """A matplotlib figure as PNG; the same figure gives the same bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, drawn.getvalue())
