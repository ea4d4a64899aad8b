"""The only judge of the reports. Two kinds of verdict:

**Claims**, what a paper says in words or by an order of rows: *supported*, *contradicted*, *undecided*, *not attempted*.
Each is one or several contrasts of means, tested by Student's t on the differences of the same seeds (where only means are
kept, by Welch's t on these), or, for spreads, by the F test of two variances. A claim that holds at several places must hold
at each: its p is the largest (intersection-union); against it speaks the smallest, times their number (Bonferroni). The p of
all claims of a page are corrected together (Holm); both directions are tested, so each p is two-sided.

**Cells**, whether ours is the printed number: *same* when our mean's whole 95 % interval is within a quarter of the spread
(`tolerance`) of the table's methods, *different* when all of it is beyond, *undecided* otherwise.

Below `LEAST` seeds nothing is judged, only shown.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

PRINTED = Path(__file__).parent / "printed"
LEVEL = 0.05
LEAST = 3

Outcome = Literal["supported", "contradicted", "undecided", "not attempted"]
OUTCOMES: tuple[Outcome, ...] = ("supported", "contradicted", "undecided", "not attempted")


@dataclass(frozen=True)
class Sample:
    """A quantity over seeds: each seed's value, or, imported, mean, deviation and number alone.

    `n` = 0: it is counted, not sampled, and exact.
    """

    mean: float
    deviation: float | None
    n: int
    by_seed: Mapping[int, float] | None = None

    @classmethod
    def of_seeds(cls, values: Mapping[int, float]) -> Sample:
        array = np.array(list(values.values()))
        return cls(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None, len(array), dict(values))


@dataclass(frozen=True)
class Estimate:
    """A contrast of means, its standard error, and how it was tested."""

    mean: float
    error: float
    freedom: float
    n: int
    test: str

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, for this contrast alone."""
        around = self.error * float(stats.t.ppf(1 - LEVEL / 2, self.freedom)) if self.error else 0.0
        return self.mean - around, self.mean + around

    def above(self, value: float) -> float:
        """One-sided p of the mean being no larger than `value`."""
        if self.error == 0:
            return 0.0 if self.mean > value else 1.0
        return float(stats.t.sf((self.mean - value) / self.error, self.freedom))

    def below(self, value: float) -> float:
        """One-sided p of the mean being no smaller than `value`."""
        if self.error == 0:
            return 0.0 if self.mean < value else 1.0
        return float(stats.t.cdf((self.mean - value) / self.error, self.freedom))


@dataclass(frozen=True)
class Trial:
    """What a claim's data say: one-sided p for it and against it; without them the seeds are too few, or there are none.

    Attributes:
        shown: the contrast that decides: of several that which speaks least for the claim.
        why: why nothing is judged; empty where something is.
    """

    support: float = 1.0
    against: float = 1.0
    shown: Estimate | None = None
    why: str = ""

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.support, self.against))


def contrast(parts: Sequence[tuple[float, Sample]]) -> Estimate | str:
    """A sum of samples times their weights; or why it cannot be tested."""
    samples = [sample for _, sample in parts]
    mean = sum(weight * sample.mean for weight, sample in parts)
    if all(sample.n == 0 for sample in samples):
        return Estimate(mean, 0.0, math.inf, 0, "counted")
    if all(sample.by_seed is not None for sample in samples):
        seeds = set.intersection(*(set(sample.by_seed or ()) for sample in samples))
        if len(seeds) < LEAST:
            return _too_few(len(seeds), "seeds in common")
        values = [sum(weight * (sample.by_seed or {})[seed] for weight, sample in parts) for seed in sorted(seeds)]
        paired = Sample.of_seeds(dict(zip(sorted(seeds), values, strict=True)))
        assert paired.deviation is not None
        error = _error(paired.deviation / math.sqrt(paired.n), mean)
        return Estimate(paired.mean, error, paired.n - 1, paired.n, "paired t")
    n = min(sample.n for sample in samples)
    if n < LEAST:
        return _too_few(n, "seeds")
    variances = [(weight * (sample.deviation or 0.0)) ** 2 / sample.n for weight, sample in parts]
    total = sum(variances)
    freedom = total**2 / sum(v**2 / (s.n - 1) for v, s in zip(variances, samples, strict=True)) if total else math.inf
    name = "t of imported differences" if len(parts) == 1 else "Welch's t of imported means"
    return Estimate(mean, _error(math.sqrt(total), mean), freedom, n, name)


def _too_few(n: int, of: str) -> str:
    return f"n = {n} {of}: shown, not judged" if n else "no values"


def _error(error: float, mean: float) -> float:
    """Rounding is no spread."""
    return 0.0 if error <= 1e-9 * max(1.0, abs(mean)) else error


def try_above(estimates: Sequence[Estimate], value: float = 0.0) -> Trial:
    """Whether every contrast lies above `value`."""
    worst = max(estimates, key=lambda one: one.above(value))
    against = min(1.0, len(estimates) * min(one.below(value) for one in estimates))
    return Trial(worst.above(value), against, worst)


def try_level(estimates: Sequence[Estimate], margin: float) -> Trial:
    """Whether every contrast lies within the margin on either side of 0 (two one-sided tests)."""

    def inside(one: Estimate) -> float:
        return max(one.above(-margin), one.below(margin)) if margin or one.error else float(one.mean != 0)

    worst = max(estimates, key=inside)
    outside = [min(one.above(margin), one.below(-margin)) for one in estimates]
    return Trial(inside(worst), min(1.0, len(estimates) * 2 * min(outside)), worst)


def try_steadier(pairs: Sequence[tuple[Sample, Sample]]) -> Trial:
    """Whether the first of every pair spreads less over seeds than the second (F test of two variances)."""
    if (n := min(sample.n for pair in pairs for sample in pair)) < LEAST:
        return Trial(why=_too_few(n, "seeds"))
    below, above = [], []
    for a, b in pairs:
        one, other = (a.deviation or 0.0) ** 2, (b.deviation or 0.0) ** 2
        ratio = one / other if other else math.inf
        below.append(float(stats.f.cdf(ratio, a.n - 1, b.n - 1)))
        above.append(float(stats.f.sf(ratio, a.n - 1, b.n - 1)))
    return Trial(max(below), min(1.0, len(pairs) * min(above)))


def correct_holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of one false verdict or more among all is kept."""
    order = np.argsort(ps)
    steps = (len(ps) - np.arange(len(ps))) * np.array(ps)[order]
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(ps) else steps
    return corrected.tolist()


@dataclass(frozen=True)
class Verdict:
    """A claim's outcome, corrected over its page; `why` where nothing was judged."""

    outcome: Outcome
    p: float | None
    shown: Estimate | None
    why: str = ""


def judge(tests: Iterable[Trial]) -> list[Verdict]:
    """The verdicts of one page, in order."""
    listed = list(tests)
    corrected = iter(correct_holm([test.p for test in listed if not test.why]))
    return [_verdict(test, None if test.why else next(corrected)) for test in listed]


def _verdict(test: Trial, p: float | None) -> Verdict:
    if p is None:
        return Verdict("not attempted", None, test.shown, test.why)
    if p >= LEVEL:
        return Verdict("undecided", p, test.shown)
    return Verdict("supported" if test.support < test.against else "contradicted", p, test.shown)


def describe_sign(sample: Sample | None, words: tuple[str, str] = ("more", "less")) -> str:
    """Whether a mean difference is told from 0 by its own 95 % interval."""
    estimate = contrast([(1.0, sample)]) if sample is not None else "no values"
    if isinstance(estimate, str):
        return "not judged"
    low, high = estimate.interval
    return words[0] if low > 0 else words[1] if high < 0 else "undecided"


@dataclass(frozen=True)
class Printed:
    """One cell of a published table: mean and deviation over runs in percent (0 when it is one run); `doubt` says why the
    cell itself is suspect."""

    mean: float
    deviation: float
    doubt: str = ""


def printed_table(name: str) -> dict[tuple[str, str], Printed]:
    """(row, metric) -> cell of a published table; a deviation that is not printed counts as 0."""
    with open(PRINTED / f"{name}.csv", newline="") as handle:
        return {
            (row["row"], row["metric"]): Printed(float(row["mean"]), float(row["deviation"] or 0), row["doubt"])
            for row in csv.DictReader(handle)
        }


def tolerance(table: Mapping[tuple[str, str], Printed], metric: str, ours: Iterable[float]) -> float:
    """A quarter of the spread of a table's methods: of those printed, doubtful cells left out, or of ours, which is less.

    Spread is the interquartile range, so that one method that fails altogether does not excuse all others.
    """
    printed = [cell.mean for (_, name), cell in table.items() if name == metric and not cell.doubt]
    spreads = [float(stats.iqr(means)) for means in (printed, list(ours)) if len(means) > 1]
    return min(spreads, default=0.0) / 4


def judge_cell(ours: Sample | None, printed: float, allowed: float) -> str:
    """Whether ours is the printed value: same, different, undecided; or not judged, for want of seeds."""
    if ours is None:
        return "diverged"
    estimate = contrast([(1.0, ours)])
    if isinstance(estimate, str):
        return "not judged"
    low, high = estimate.interval
    if printed - allowed <= low and high <= printed + allowed:
        return "same"
    return "different" if high < printed - allowed or low > printed + allowed else "undecided"


def judge_counted(ours: float, printed: float, relative: float) -> str:
    """Whether a counted number is the printed one, up to a share of it."""
    return "same" if abs(ours - printed) <= relative * abs(printed) else "different"
