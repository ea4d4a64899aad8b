"""The numbers of a report as CSV: a line a row, metric and place."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lifelong.evaluation.metrics import over_seeds
from lifelong.runtime.artifacts import read_bytes, write_text


@dataclass(frozen=True)
class Cell:
    """Mean and sample deviation over n seeds (none for n = 1) of a metric, of a figure's row and at its place x."""

    row: str
    metric: str
    mean: float
    deviation: float | None
    n: int
    x: float | None = None
    experiment: str = ""
    printed_mean: float | None = None
    verdict: str = ""


def cell_over_seeds(
    row: str, metric: str, values: Sequence[float | None], x: float | None = None, experiment: str = ""
) -> Cell | None:
    """The cell of one value a seed; none where a seed has no value."""
    result = over_seeds(values)
    if result["mean"] is None:
        return None
    return Cell(row, metric, result["mean"], result["deviation"], result["n"], x, experiment)


def margin(cell: Cell) -> float | None:
    """Half the width of the mean's 95 % interval: Student's t with n - 1 degrees of freedom; none for one seed."""
    if cell.deviation is None or cell.n < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, cell.n - 1)) * cell.deviation / math.sqrt(cell.n)


def of(cells: Sequence[Cell], row: str, metric: str) -> list[Cell]:
    """A row's cells of one metric, by x."""
    result = [cell for cell in cells if (cell.row, cell.metric) == (row, metric)]
    return sorted(result, key=lambda cell: -float("inf") if cell.x is None else cell.x)


def rows(cells: Sequence[Cell]) -> list[str]:
    """The rows, in their order."""
    return list(dict.fromkeys(cell.row for cell in cells))


def write_cells(path: Path, cells: Sequence[Cell]) -> None:
    write_csv(path, [field.name for field in fields(Cell)], [asdict(cell) for cell in cells], ".6g")


def write_csv(path: Path, columns: Sequence[str], lines: Sequence[Mapping[str, Any]], digits: str) -> None:
    """Lines under named columns; an absent or empty value is an empty field, floats have `digits`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({k: format(v, digits) if isinstance(v, float) else v for k, v in line.items()})
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines of a report's CSV, as text."""
    return list(csv.DictReader(io.StringIO(read_bytes(path).decode())))
