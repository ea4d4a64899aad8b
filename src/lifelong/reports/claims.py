"""What a paper says in words of its own figure, held against our numbers.

A file of `lifelong/reports/claims` lists claims; each names the rows and the metric it speaks of and one test:

- `above`: at every x (or at `at`), the first row lies above the second by more than the noise.
- `level`: the two rows differ by no more than the noise, or by one point of percent.
- `widens`: the first row's lead over the second is larger at the last x than at the first, beyond the noise.
- `narrows`: it is larger at the first x than at the last.
- `rises`, `falls`: the row's last value lies above (below) its first, beyond the noise.
- `best`: the row is highest at one of `at`.
- `steadier`: the first row's deviation over seeds is below the second's.
- `gains`: the row, differences of the same seeds, lies above 0 with its whole 95 % interval.

Noise is the larger of the deviations at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from lifelong.params.messages import validate
from lifelong.params.reports import PAPER
from lifelong.params.sections import Section
from lifelong.reports.cells import Cell, margin, of
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.verdicts import TOLERANCE
from lifelong.runtime.errors import UserError

PAIRED = ("above", "level", "widens", "narrows", "steadier")
MOVING = ("widens", "narrows", "rises", "falls")


class Claim(Section):
    """One statement of a paper, in our words, and how it is tested."""

    statement: str
    test: Literal["above", "level", "widens", "narrows", "rises", "falls", "best", "steadier", "gains"]
    metric: str
    rows: Annotated[list[str], Field(min_length=1, max_length=2)]
    at: list[float] | None = None  # values of x; none: all there are

    @model_validator(mode="after")
    def _possible(self) -> Claim:
        if len(self.rows) != (2 if self.test in PAIRED else 1):
            raise ValueError(f"test {self.test!r} speaks of {2 if self.test in PAIRED else 1} rows; found {len(self.rows)}")
        if (self.test == "best") and self.at is None:
            raise ValueError("test 'best' needs 'at': where the row is said to be highest")
        if self.metric not in QUANTITIES:
            raise ValueError(f"metric {self.metric!r} is unknown")
        return self


@dataclass(frozen=True)
class Finding:
    """A claim's verdict, and the numbers that it rests on."""

    statement: str
    verdict: str
    numbers: str


def read_claims(name: str) -> list[Claim]:
    file = PAPER / "claims" / f"{name}.yaml"
    written = yaml.safe_load(file.read_text())
    return [validate(Claim, one, str(file), f"{number}.") for number, one in enumerate(written)]


def judge(claims: Sequence[Claim], cells: Sequence[Cell], labels: Collection[str] = ()) -> list[Finding]:
    """Every claim's verdict: reproduced, trend only, within noise, contradicted, or not attempted where numbers lack.

    `labels` are rows that the report has, be they in `cells` or, having diverged, not.

    Raises:
        UserError: a claim names a row that the report does not have.
    """
    findings = []
    known = {*labels, *(cell.row for cell in cells)}
    for claim in claims:
        result = has = [_chosen(claim, of(cells, row, claim.metric)) for row in claim.rows]
        unknown = [row for row in claim.rows if row not in known]
        if unknown:
            raise UserError(f"the claim {claim.statement!r} speaks of {unknown[0]!r}, a label that the report does not have")
        if len(result) == 2:
            shared = {cell.x for cell in result[0]} & {cell.x for cell in result[1]}
            result = [[cell for cell in one if cell.x in shared] for one in result]
        enough = all(len(one) >= (2 if claim.test in MOVING else 1) for one in result)
        verdict = TESTS[claim.test](claim, result) if enough else "not attempted"
        told = result if all(result) else has
        numbers = [_numbers(claim, one) if one else f"{row} -" for row, one in zip(claim.rows, told, strict=True)]
        findings.append(Finding(claim.statement, verdict, "; ".join(numbers)))
    return findings


def _chosen(claim: Claim, cells: list[Cell]) -> list[Cell]:
    if claim.at is None or claim.test == "best":
        return cells
    return [cell for cell in cells if cell.x in claim.at]


def _numbers(claim: Claim, cells: Sequence[Cell]) -> str:
    """The cells that a reader needs: one, or the first and the last, or the highest."""
    kept = [max(cells, key=lambda cell: cell.mean)] if claim.test == "best" else [cells[0], cells[-1]][: len(cells)]
    told = [
        format_value(c.metric, c.mean, c.deviation, c.n) + (f" at {c.x:g}" if c.x is not None and len(cells) > 1 else "")
        for c in kept
    ]
    return f"{cells[0].row} {', '.join(told)}"


def noise(*cells: Cell) -> float:
    return max(cell.deviation or 0.0 for cell in cells)


def _above(claim: Claim, found: list[list[Cell]]) -> str:
    """Beyond the noise at every x; `trend only`: at some, and nowhere the other way beyond the noise."""
    pairs = list(zip(*found, strict=True))
    leads = sum(a.mean - b.mean > noise(a, b) for a, b in pairs)
    lags = sum(b.mean - a.mean > noise(a, b) for a, b in pairs)
    if lags:
        return "contradicted"
    if leads == len(pairs):
        return "reproduced"
    return "trend only" if leads else "within noise"


def _level(claim: Claim, found: list[list[Cell]]) -> str:
    allowed = TOLERANCE if QUANTITIES[claim.metric].unit == "%" else 0.0
    near = all(abs(a.mean - b.mean) <= max(allowed, noise(a, b)) for a, b in zip(*found, strict=True))
    return "reproduced" if near else "contradicted"


def _moved(difference: float, around: float) -> str:
    if difference > around:
        return "reproduced"
    return "contradicted" if difference < -around else "within noise"


def _widens(claim: Claim, found: list[list[Cell]]) -> str:
    (first_a, *_, last_a), (first_b, *_, last_b) = found
    growth = (last_a.mean - last_b.mean) - (first_a.mean - first_b.mean)
    sign = 1 if claim.test == "widens" else -1
    return _moved(sign * growth, noise(first_a, last_a, first_b, last_b))


def _rises(claim: Claim, found: list[list[Cell]]) -> str:
    ((first, *_, last),) = found
    sign = 1 if claim.test == "rises" else -1
    return _moved(sign * (last.mean - first.mean), noise(first, last))


def _best(claim: Claim, found: list[list[Cell]]) -> str:
    """`trend only`: elsewhere it is highest, but one of the claimed places lies within the noise of that."""
    (cells,) = found
    assert claim.at is not None
    best = max(cells, key=lambda cell: cell.mean)
    if best.x in claim.at:
        return "reproduced"
    near = any(best.mean - cell.mean <= noise(best, cell) for cell in cells if cell.x in claim.at)
    return "trend only" if near else "contradicted"


def _steadier(claim: Claim, found: list[list[Cell]]) -> str:
    pairs = [(a.deviation, b.deviation) for a, b in zip(*found, strict=True)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < len(pairs):
        return "not attempted"
    return "reproduced" if all(a < b for a, b in known) else "contradicted"


def _gains(claim: Claim, found: list[list[Cell]]) -> str:
    """Paired differences have an interval of their own; one seed has none."""
    margins = [margin(cell) for cell in found[0]]
    known = [(cell.mean, around) for cell, around in zip(found[0], margins, strict=True) if around is not None]
    if len(known) < len(margins):
        return "not attempted"
    if any(mean < -around for mean, around in known):
        return "contradicted"
    return "reproduced" if all(mean > around for mean, around in known) else "within noise"


TESTS: dict[str, Callable[[Claim, list[list[Cell]]], str]] = {
    "above": _above,
    "level": _level,
    "widens": _widens,
    "narrows": _widens,
    "rises": _rises,
    "falls": _rises,
    "best": _best,
    "steadier": _steadier,
    "gains": _gains,
}
