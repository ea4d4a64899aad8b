"""Printed values as data, and what ours say about them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

PRINTED = Path(__file__).parent / "printed"
TOLERANCE = 1.0
"""Percentage points within which a value counts as reproduced whatever the deviations."""


@dataclass(frozen=True)
class Printed:
    """One cell of a published table, in percent; `doubt` says why the cell itself is suspect."""

    mean: float
    deviation: float
    doubt: str


def printed_table(name: str) -> dict[tuple[str, str], Printed]:
    """(row, metric) -> cell of a published table."""
    with open(PRINTED / f"{name}.csv", newline="") as handle:
        return {
            (row["row"], row["metric"]): Printed(float(row["mean"]), float(row["deviation"]), row["doubt"])
            for row in csv.DictReader(handle)
        }


def verdict(
    mean: float, deviation: float | None, printed: Printed, reference: float | None, printed_reference: float | None
) -> str:
    """What our value says about a printed one, all in percent.

    `reproduced`: the difference is at most one point, or at most twice the root of the summed squared deviations.
    `trend only`: it is not, but both values lie on the same side of the reference row's (fine-tuning's).
    `contradicted`: neither.
    """
    allowed = max(TOLERANCE, 2 * math.hypot(deviation or 0.0, printed.deviation))
    if abs(mean - printed.mean) <= allowed:
        return "reproduced"
    if reference is None or printed_reference is None or mean == reference or printed.mean == printed_reference:
        return "contradicted"
    same_side = (mean > reference) == (printed.mean > printed_reference)
    return "trend only" if same_side else "contradicted"
