"""How these reports write their rows and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifelong.artifacts import atomic_path


def csv_text(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, floats with four decimals; what a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def write_figure(path: Path, figure: Any) -> None:
    """Save a matplotlib figure as PNG; the same figure gives the same bytes."""
    with atomic_path(path) as scratch:
        figure.savefig(scratch, format="png", dpi=110, metadata={"Software": None})
