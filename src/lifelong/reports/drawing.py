"""Saves a figure as PNG: the same figure gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from lifelong.runtime.artifacts import write_bytes


def write_figure(path: Path, figure: Any, dpi: int = 110) -> None:
    """Save a matplotlib figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, drawn.getvalue())
