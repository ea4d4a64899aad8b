"""Claims: how a statement becomes a test of means over seeds, and that what is shipped fits its reports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.project import ROOT

from lifelong.params import load
from lifelong.params.reports import PAPER
from lifelong.reports.ari.words import PROTOCOLS
from lifelong.reports.claims import Claim, read_claims, read_papers, try_claim
from lifelong.reports.observations import Observations
from lifelong.reports.verdicts import Sample, judge
from lifelong.runtime.errors import UserError

Curves = dict[str, list[list[float]]]
"""Row -> [x][seeds]."""


def outcome(test: str, curves: Curves, counted: bool = False, **more: Any) -> str:
    """The verdict on one claim about all rows, alone on its page; x counts from 1."""
    claim = Claim.model_validate({"statement": "s", "test": test, "metric": "acc", "rows": list(curves)} | more)
    observed: Observations = {
        (row, "acc", x): Sample(one[0], None, 0) if counted else Sample.of_seeds(dict(enumerate(one)))
        for row, places in curves.items()
        for x, one in enumerate(places, 1)
    }
    report = cast(Any, SimpleNamespace(name="r", kind_name="bars", experiments=dict.fromkeys(curves)))
    (verdict,) = judge([try_claim(claim, observed, report)])
    return verdict.outcome


HIGH, LOW, NEAR = [90.0, 91.0, 92.5], [80.0, 81.2, 82.0], [89.9, 91.4, 92.1]


@pytest.mark.parametrize(
    ("test", "curves", "expected"),
    [
        ("above", {"a": [HIGH], "b": [LOW]}, "supported"),
        ("above", {"a": [LOW], "b": [HIGH]}, "contradicted"),
        ("above", {"a": [HIGH], "b": [NEAR]}, "undecided"),
        ("above", {"a": [HIGH, NEAR], "b": [LOW, HIGH]}, "undecided"),  # at every x
        ("above", {"a": [HIGH, LOW], "b": [LOW, HIGH]}, "contradicted"),
        ("above", {"a": [HIGH[:2]], "b": [LOW[:2]]}, "not attempted"),
        ("widens", {"a": [HIGH, HIGH], "b": [NEAR, LOW]}, "supported"),
        ("narrows", {"a": [HIGH, HIGH], "b": [LOW, NEAR]}, "supported"),
        ("narrows", {"a": [HIGH, HIGH], "b": [NEAR, LOW]}, "contradicted"),
        ("widens", {"a": [HIGH], "b": [LOW]}, "not attempted"),
        ("rises", {"a": [LOW, NEAR, HIGH]}, "supported"),
        ("falls", {"a": [LOW, HIGH]}, "contradicted"),
        ("gains", {"a": [[3.0, 4.0, 3.5]]}, "supported"),
        ("gains", {"a": [[3.0, -4.0, 3.5]]}, "undecided"),
    ],
)
def test_what_seeds_say(test: str, curves: Curves, expected: str) -> None:
    assert outcome(test, curves) == expected


def test_a_margin_is_what_counts_as_level_and_as_little() -> None:
    curves = {"a": [[90.0, 91.0, 92.0, 90.5]], "b": [[90.1, 91.0, 91.9, 90.6]]}
    assert outcome("level", curves, margin=1) == "supported"
    assert outcome("level", curves, margin=0.01) == "undecided"
    assert outcome("level", {"a": [HIGH], "b": [LOW]}, margin=1) == "contradicted"
    falling = {"a": [HIGH, [88.0, 89.1, 90.4]]}  # by two points
    assert outcome("falls-less", falling, margin=5) == "supported"
    assert outcome("falls-less", falling, margin=1) == "contradicted"


def test_the_best_place_is_above_every_other() -> None:
    curve = {"a": [LOW, HIGH, LOW]}
    assert outcome("best", curve, at=[2]) == "supported"
    assert outcome("best", curve, at=[1]) == "contradicted"
    assert outcome("best", {"a": [NEAR, HIGH, LOW]}, at=[2]) == "undecided"


def test_spreads_are_held_against_each_other() -> None:
    steady, wild = [90.0, 90.1, 90.05, 89.95, 90.0], [80.0, 99.0, 85.0, 91.0, 70.0]
    assert outcome("steadier", {"a": [steady], "b": [wild]}) == "supported"
    assert outcome("steadier", {"a": [wild], "b": [steady]}) == "contradicted"


def test_what_is_counted_needs_no_seeds() -> None:
    assert outcome("above", {"a": [[5.0], [7.0]], "b": [[4.0], [6.0]]}, counted=True) == "supported"
    assert outcome("level", {"a": [[5.0]], "b": [[5.0]]}, counted=True) == "supported"
    assert outcome("level", {"a": [[5.0]], "b": [[5.1]]}, counted=True) == "contradicted"


def test_a_row_that_the_report_does_not_have_is_named() -> None:
    claim = Claim.model_validate({"statement": "s", "test": "above", "metric": "acc", "rows": ["a", "c"]})
    report = cast(Any, SimpleNamespace(name="r", kind_name="bars", experiments={"a": ("x",)}))
    with pytest.raises(UserError, match=r"the claim 's' speaks of 'c'"):
        try_claim(claim, {("a", "acc", None): Sample(1.0, 0.1, 3)}, report)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": ["a"]},
        {"test": "best", "rows": ["a"]},
        {"metric": "accc"},
        {"test": "over"},
        {"rows": ["a", "b", "c"]},
        {"test": None},
    ],
)
def test_an_impossible_claim_is_refused(change: dict[str, Any]) -> None:
    sound = {"statement": "s", "test": "above", "metric": "acc", "rows": ["a", "b"]}
    Claim.model_validate(sound)
    with pytest.raises(ValueError):
        Claim.model_validate(sound | change)


@pytest.mark.parametrize("path", sorted((PAPER / "claims").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_claims_fit(path: Any) -> None:
    assert read_claims(path.stem)


def test_shipped_claims_speak_of_rows_that_their_reports_have() -> None:
    reports = load(ROOT / "params.yaml").reports
    places = [place for paper in read_papers().values() for place in paper]
    assert {Path(path).stem for path in (PAPER / "claims").glob("*.yaml")} == {place.claims for place in places}
    for place in places:
        for report in [reports[name] for name in place.reports]:
            if not report.experiments or report.kind_name == "skill-baselines":
                continue  # rows are variants of a collective, or counted
            labels = list(report.experiments)
            if report.kind_name in ("paired", "ari-protocols", "ari-steps"):
                labels = [f"{label}, {protocol}" for label in labels for protocol in PROTOCOLS.values()]
            for claim in read_claims(place.claims):
                for row in claim.rows:
                    assert any(row == label or row.endswith(f"({label})") for label in labels), (report.name, row)
