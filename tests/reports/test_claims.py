"""What a paper says in words, held against numbers."""

from __future__ import annotations

from typing import Any

import pytest
from support.project import ROOT

from lifelong.params import load
from lifelong.params.reports import PAPER, FigureOptions
from lifelong.reports.ari.words import PROTOCOLS
from lifelong.reports.cells import Cell
from lifelong.reports.claims import Claim, judge, read_claims
from lifelong.runtime.errors import UserError

Points = list[tuple[float, float | None]]
"""Mean and deviation at x = 1, 2, ..."""


def cells(**rows: Points) -> list[Cell]:
    return [
        Cell(row, "acc", mean, deviation, 3, float(x))
        for row, points in rows.items()
        for x, (mean, deviation) in enumerate(points, 1)
    ]


def verdict_of(test: str, found: list[Cell], **more: Any) -> str:
    rows = ["a", "b"] if test in ("above", "level", "widens", "narrows", "steadier") else ["a"]
    claim = Claim.model_validate({"statement": "s", "test": test, "metric": "acc", "rows": rows, **more})
    return judge([claim], found)[0].verdict


@pytest.mark.parametrize(
    ("test", "a", "b", "expected"),
    [
        ("above", [(5, 1), (6, 1)], [(3, 1), (4, 1)], "reproduced"),
        ("above", [(5, 1), (6, 1)], [(3, 1), (5.5, 1)], "trend only"),
        ("above", [(5, 1), (6, 1)], [(5.5, 1), (5.5, 1)], "within noise"),
        ("above", [(5, 1), (6, 1)], [(3, 1), (7.5, 1)], "contradicted"),
        ("above", [(5, 1)], [(3, 2.5)], "within noise"),  # the larger deviation counts
        ("above", [(5, 2.5)], [(3, 1)], "within noise"),
        ("above", [(5, None)], [(4.9, None)], "reproduced"),  # one seed has no noise
        ("level", [(90, 0.1)], [(90.9, 0.1)], "reproduced"),
        ("level", [(90, 3)], [(92, 0.1)], "reproduced"),
        ("level", [(90, 0.1)], [(92, 0.1)], "contradicted"),
        ("widens", [(5, 1), (9, 1)], [(4, 1), (4, 1)], "reproduced"),
        ("narrows", [(5, 1), (9, 1)], [(4, 1), (4, 1)], "contradicted"),
        ("narrows", [(9, 1), (5, 1)], [(4, 1), (4, 1)], "reproduced"),
        ("widens", [(5, 1), (6, 1)], [(4, 1), (4, 1)], "within noise"),
        ("widens", [(5, 1)], [(4, 1)], "not attempted"),
        ("rises", [(5, 1), (3, 1), (7, 1)], [], "reproduced"),
        ("falls", [(5, 1), (3, 1), (7, 1)], [], "contradicted"),
        ("falls", [(7, 1), (3, 1), (5, 1)], [], "reproduced"),
        ("rises", [(5, 3), (7, 1)], [], "within noise"),
        ("steadier", [(5, 1)], [(4, 2)], "reproduced"),
        ("steadier", [(5, 2)], [(4, 1)], "contradicted"),
        ("steadier", [(5, None)], [(4, 1)], "not attempted"),
    ],
)
def test_rule(test: str, a: Points, b: Points, expected: str) -> None:
    assert verdict_of(test, cells(a=a, b=b)) == expected


@pytest.mark.parametrize(
    ("at", "expected"), [([3], "reproduced"), ([1, 3], "reproduced"), ([2], "trend only"), ([1], "contradicted")]
)
def test_best_is_where_it_is_said_to_be(at: list[float], expected: str) -> None:
    assert verdict_of("best", cells(a=[(5, 1), (8.5, 1), (9, 1)]), at=at) == expected


def test_only_the_places_that_a_claim_speaks_of_count() -> None:
    found = cells(a=[(1, 0), (6, 0), (7, 0)], b=[(2, 0), (5, 0), (5, 0)])
    assert verdict_of("above", found) == "contradicted"
    assert verdict_of("above", found, at=[2, 3]) == "reproduced"
    assert verdict_of("above", found, at=[9]) == "not attempted"


def test_rows_are_compared_where_both_have_a_value() -> None:
    found = [cell for cell in cells(a=[(5, 0), (1, 0)], b=[(4, 0), (2, 0)]) if (cell.row, cell.x) != ("b", 2.0)]
    assert verdict_of("above", found) == "reproduced"


def test_a_label_that_the_report_lacks_is_named() -> None:
    with pytest.raises(UserError, match="speaks of 'b', a label that the report does not have"):
        verdict_of("above", cells(a=[(1, 0)]))


def test_a_label_whose_training_diverged_has_no_verdict() -> None:
    claim = Claim(statement="s", test="above", metric="acc", rows=["a", "b"])
    (found,) = judge([claim], cells(a=[(1, 0)]), ["a", "b"])
    assert found.verdict == "not attempted"
    assert found.numbers == "a 1.00 ± 0.00; b -"


@pytest.mark.parametrize(
    "change",
    [{"rows": ["a"]}, {"test": "best", "rows": ["a"]}, {"metric": "accc"}, {"test": "over"}, {"rows": ["a", "b", "c"]}],
)
def test_an_impossible_claim_is_refused(change: dict[str, Any]) -> None:
    sound = {"statement": "s", "test": "above", "metric": "acc", "rows": ["a", "b"]}
    Claim.model_validate(sound)
    with pytest.raises(ValueError):
        Claim.model_validate(sound | change)


@pytest.mark.parametrize("path", sorted((PAPER / "claims").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_claims_fit(path: Any) -> None:
    assert read_claims(path.stem)


def test_shipped_claims_speak_of_labels_that_their_reports_have() -> None:
    for report in load(ROOT / "params.yaml").reports.values():
        if isinstance(report.options, FigureOptions) and report.options.claims and report.experiments:
            labels = list(report.experiments)
            if report.kind_name == "paired":
                labels = [f"{label}, {protocol}" for label in labels for protocol in PROTOCOLS.values()]
            for claim in read_claims(report.options.claims):
                for row in claim.rows:
                    assert any(row == label or row.endswith(f"({label})") for label in labels), (report.name, row)
