"""What the papers say of their tables and figures, as data, held against what a section keeps.

A file of `lifelong/reports/claims` lists the claims of one table or figure; `papers.yaml` says for each paper which files
they are, and which reports test them. Each claim names the rows and the metric it speaks of and one test:

- `above`: at every x (or at each of `at`), the first row lies above the second.
- `level`: the two rows differ by no more than `margin`.
- `widens`, `narrows`: the first row's lead over the second grows (shrinks) from the first x to the last.
- `rises`, `falls`: so does the row itself.
- `falls-less`: from the first x to the last the row falls by less than `margin`.
- `best`: the row is higher at one of `at` than at every other x.
- `steadier`: the first row spreads less over seeds than the second.
- `gains`: the row, differences of the same seeds, lies above 0.

A claim that nothing tests says why instead (`untested`). `verdicts` judges; all claims that a section tests are one family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from lifelong.params import Report, Settings
from lifelong.params.messages import validate
from lifelong.params.reports import PAPER
from lifelong.params.sections import Section
from lifelong.reports.observations import Observations, observe
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results
from lifelong.reports.verdicts import (
    Estimate,
    Outcome,
    Sample,
    Trial,
    Verdict,
    contrast,
    judge,
    try_above,
    try_level,
    try_steadier,
)
from lifelong.runtime.errors import UserError

PAIRED = ("above", "level", "widens", "narrows", "steadier")
MOVING = ("widens", "narrows", "rises", "falls", "falls-less")


class Claim(Section):
    """One statement of a paper, in our words, and how it is tested, or why it is not."""

    statement: str
    printed: str = ""  # the numbers that it rests on
    test: (
        Literal["above", "level", "widens", "narrows", "rises", "falls", "falls-less", "best", "steadier", "gains"] | None
    ) = None
    metric: str = ""
    rows: Annotated[list[str], Field(max_length=2)] = []
    at: list[float] | None = None  # values of x; none: all there are
    margin: float = 0.0  # in the metric's unit
    untested: str = ""

    @model_validator(mode="after")
    def _possible(self) -> Claim:
        if self.test is None:
            if not self.untested:
                raise ValueError("a claim without a test says why: 'untested'")
            return self
        wanted = 2 if self.test in PAIRED else 1
        if len(self.rows) != wanted:
            raise ValueError(f"test {self.test!r} speaks of {wanted} rows; found {len(self.rows)}")
        if self.test == "best" and self.at is None:
            raise ValueError("test 'best' needs 'at': where the row is said to be highest")
        if self.metric not in QUANTITIES:
            raise ValueError(f"metric {self.metric!r} is unknown")
        return self


class Place(Section):
    """A table or a figure of a paper."""

    place: str
    claims: str  # a file of `lifelong/reports/claims`
    reports: list[str] = []  # that test them
    tier: str = ""  # how these are smaller than the paper's; empty: they are not


@dataclass(frozen=True)
class Finding:
    """A claim's verdict in one report, and the numbers that it rests on."""

    claim: Claim
    place: str
    claims: str
    report: str
    tier: str
    verdict: Verdict
    numbers: str


def read_claims(name: str) -> list[Claim]:
    file = PAPER / "claims" / f"{name}.yaml"
    written = yaml.safe_load(file.read_text())
    return [validate(Claim, one, str(file), f"{number}.") for number, one in enumerate(written)]


def read_papers() -> dict[str, list[Place]]:
    """Of each paper, all its tables and figures about which it says something."""
    file = PAPER / "papers.yaml"
    written = yaml.safe_load(file.read_text())
    return {
        paper: [validate(Place, one, str(file), f"{paper}.{number}.") for number, one in enumerate(places)]
        for paper, places in written.items()
    }


def find_findings(results: Results) -> list[Finding]:
    """`judge_section`, once for each reading of a section's tables."""
    if results.judged is None:
        results.judged = judge_section(results)
    found: list[Finding] = results.judged
    return found


def judge_section(results: Results) -> list[Finding]:
    """Every claim that a section's reports test, corrected as one family; a claim that two reports test counts twice."""
    settings, section = results.settings, results.section
    asked: list[tuple[Claim, Place, str]] = []
    for place in _places(settings, section):
        for name in place.reports:
            if name.partition("/")[0] == section and name in settings.reports:
                asked += [(claim, place, name) for claim in read_claims(place.claims) if claim.test is not None]
    observed = {name: observe(settings.report(name), results) for name in dict.fromkeys(n for *_, n in asked)}
    tests = [try_claim(claim, observed[name], settings.report(name)) for claim, _, name in asked]
    return [
        Finding(claim, place.place, place.claims, name, place.tier, verdict, _numbers(claim, observed[name]))
        for (claim, place, name), verdict in zip(asked, judge(tests), strict=True)
    ]


def count_outcomes(place: Place, findings: Sequence[Finding]) -> Counter[Outcome]:
    """Of a table or figure: claims by outcome; one that no report tests is not attempted, one that two test counts twice."""
    own = [one for one in findings if (one.place, one.claims) == (place.place, place.claims)]
    counted = Counter[Outcome](one.verdict.outcome for one in own)
    tested = {one.claim.statement for one in own}
    counted["not attempted"] += sum(claim.statement not in tested for claim in read_claims(place.claims))
    return counted


def _places(settings: Settings, section: str) -> list[Place]:
    """What the papers' list says of the section, and the reports that name claims themselves."""
    places = [place for paper in read_papers().values() for place in paper]
    known = {(place.claims, report) for place in places for report in place.reports}
    for name in settings.sections()[section]:
        file = getattr(settings.report(name).options, "claims", None)
        if file is not None and (file, name) not in known:
            places.append(Place(place=settings.report(name).title, claims=file, reports=[name]))
    return places


def try_claim(claim: Claim, observed: Observations, report: Report) -> Trial:
    """What a report's observations say of a claim.

    Raises:
        UserError: the claim names a row that the report does not have.
    """
    if not observed:
        return Trial(why="nothing is kept of it")
    rows = {row for row, _, _ in observed} | set(report.experiments)
    unknown = [row for row in claim.rows if row not in rows]
    if unknown and report.kind_name not in ("collective", "skill-baselines"):
        raise UserError(
            f"{report.name}: the claim {claim.statement!r} speaks of {unknown[0]!r}, a label that the report does not have"
        )
    found = [_at(claim, row, observed) for row in claim.rows]
    if len(found) == 2:
        shared = found[0].keys() & found[1].keys()
        found = [{x: sample for x, sample in one.items() if x in shared} for one in found]
    if any(len(one) < (2 if claim.test in MOVING else 1) for one in found):
        return Trial(why=f"no values of {unknown[0]}" if unknown else "no values")
    assert claim.test is not None
    return TESTS[claim.test](claim, found)


Curve = Mapping[float | None, Sample]
"""x -> what was observed there, in the order of x."""


def _at(claim: Claim, row: str, observed: Observations) -> Curve:
    places = {x: sample for (name, metric, x), sample in observed.items() if (name, metric) == (row, claim.metric)}
    if claim.at is not None and claim.test != "best":
        places = {x: sample for x, sample in places.items() if x in claim.at}
    return dict(sorted(places.items(), key=lambda place: -float("inf") if place[0] is None else place[0]))


def _judged(estimates: Sequence[Estimate | str], test: Callable[[list[Estimate]], Trial]) -> Trial:
    """The test of contrasts, if all of them can be tested."""
    why = [one for one in estimates if isinstance(one, str)]
    return Trial(why=why[0]) if why else test([one for one in estimates if isinstance(one, Estimate)])


def _above(claim: Claim, found: Sequence[Curve]) -> Trial:
    first, second = found
    return _judged([contrast([(1, first[x]), (-1, second[x])]) for x in first], try_above)


def _level(claim: Claim, found: Sequence[Curve]) -> Trial:
    first, second = found
    pairs = [contrast([(1, first[x]), (-1, second[x])]) for x in first]
    return _judged(pairs, lambda estimates: try_level(estimates, claim.margin))


def _widens(claim: Claim, found: Sequence[Curve]) -> Trial:
    (a, *_, b), (c, *_, d) = (list(one.values()) for one in found)
    sign = 1 if claim.test == "widens" else -1
    return _judged([contrast([(sign, b), (-sign, d), (-sign, a), (sign, c)])], try_above)


def _moves(claim: Claim, found: Sequence[Curve]) -> Trial:
    ((first, *_, last),) = (list(one.values()) for one in found)
    sign = -1 if claim.test == "falls" else 1
    value = -claim.margin if claim.test == "falls-less" else 0.0
    return _judged([contrast([(sign, last), (-sign, first)])], lambda estimates: try_above(estimates, value))


def _best(claim: Claim, found: Sequence[Curve]) -> Trial:
    """The highest of the claimed places against every other."""
    (curve,) = found
    assert claim.at is not None
    claimed = [sample for x, sample in curve.items() if x in claim.at]
    others = [sample for x, sample in curve.items() if x not in claim.at]
    if not claimed or not others:
        return Trial(why="no values where the claim is made, or elsewhere")
    best = max(claimed, key=lambda sample: sample.mean)
    return _judged([contrast([(1, best), (-1, other)]) for other in others], try_above)


def _steadier(claim: Claim, found: Sequence[Curve]) -> Trial:
    first, second = found
    return try_steadier([(first[x], second[x]) for x in first])


def _gains(claim: Claim, found: Sequence[Curve]) -> Trial:
    return _judged([contrast([(1, sample)]) for sample in found[0].values()], try_above)


TESTS: dict[str, Callable[[Claim, Sequence[Curve]], Trial]] = {
    "above": _above,
    "level": _level,
    "widens": _widens,
    "narrows": _widens,
    "rises": _moves,
    "falls": _moves,
    "falls-less": _moves,
    "best": _best,
    "steadier": _steadier,
    "gains": _gains,
}


def _numbers(claim: Claim, observed: Observations) -> str:
    """What a reader needs of each row: one value, or the first and the last, or the highest."""
    told = []
    for row in claim.rows:
        curve = list(_at(claim, row, observed).items())
        if claim.test == "best" and curve:
            curve = [max(curve, key=lambda place: place[1].mean)]
        kept = [curve[0], curve[-1]][: len(curve)] if curve else []
        values = [
            format_value(claim.metric, s.mean, s.deviation, s.n)
            + (f" at {x:g}" if x is not None and (len(kept) > 1 or claim.test == "best") else "")
            for x, s in kept
        ]
        told.append(f"{row} {', '.join(values) or '-'}")
    return "; ".join(told)


def describe(finding: Finding) -> dict[str, Any]:
    """A finding in words: outcome with its tier, the difference with its 95 % interval, n, test and corrected p."""
    verdict, estimate = finding.verdict, finding.verdict.shown
    unit = QUANTITIES[finding.claim.metric]
    digits = unit.digits.lstrip("+")
    tested = ""
    if estimate is not None and verdict.p is not None:
        low, high = estimate.interval
        tested = f"{estimate.mean:+{digits}} [{low:{digits}}, {high:{digits}}], n = {estimate.n}, {estimate.test}"
        tested += f", p = {verdict.p:.2g}" if estimate.n else ""
    elif verdict.p is not None:
        tested = f"F test, p = {verdict.p:.2g}"
    tier = f" (tier: {finding.tier})" if finding.tier and verdict.p is not None else ""
    outcome = verdict.outcome + tier + (f": {verdict.why}" if verdict.why else "")
    return {"statement": finding.claim.statement, "ours": finding.numbers, "tested": tested, "verdict": outcome}
