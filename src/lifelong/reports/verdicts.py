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
class Value:
    """A mean in percent, and its deviation over runs (0 when there is one run)."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Printed(Value):
    """One cell of a published table; `doubt` says why the cell itself is suspect."""

    doubt: str = ""


def printed_table(name: str) -> dict[tuple[str, str], Printed]:
    """(row, metric) -> cell of a published table; a deviation that is not printed counts as 0."""
    with open(PRINTED / f"{name}.csv", newline="") as handle:
        return {
            (row["row"], row["metric"]): Printed(float(row["mean"]), float(row["deviation"] or 0), row["doubt"])
            for row in csv.DictReader(handle)
        }


def verdict(ours: Value, printed: Printed, reference: Value | None, printed_reference: Value | None) -> str:
    """What our value says about a printed one.

    `reproduced`: the difference is at most one point, or at most twice the root of the summed squared deviations.
    `trend only`: it is not, but both values lie beyond the noise on the same side of their reference row (fine-tuning).
    `contradicted`: neither.
    """
    allowed = max(TOLERANCE, 2 * math.hypot(ours.deviation, printed.deviation))
    if abs(ours.mean - printed.mean) <= allowed:
        return "reproduced"
    if reference is None or printed_reference is None:
        return "contradicted"
    side = _side(ours, reference)
    return "trend only" if side != 0 and side == _side(printed, printed_reference) else "contradicted"


def _side(value: Value, reference: Value) -> int:
    """1 above, -1 below, 0 when the difference is no larger than the larger of the two deviations."""
    difference = value.mean - reference.mean
    noise = max(value.deviation, reference.deviation)
    return 0 if abs(difference) <= noise else int(math.copysign(1, difference))
