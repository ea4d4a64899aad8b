"""Pieces of the reports' Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of aligned columns."""
    lines = [header, ["---"] * len(header), *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "".join("| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |\n" for line in lines)


def machine() -> str:
    """CPU model and number of cores."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"
