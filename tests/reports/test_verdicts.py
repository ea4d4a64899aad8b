"""The rule of the verdicts at its boundaries, and the printed tables as data."""

from __future__ import annotations

import csv

import pytest

from lifelong.reports.verdicts import PRINTED, Printed, Value, printed_table, verdict

Pair = tuple[float, float]


@pytest.mark.parametrize(
    ("ours", "printed", "reference", "printed_reference", "expected"),
    [
        ((51.0, 0.0), (50.0, 0.0), None, None, "reproduced"),  # one point, either way
        ((49.0, 0.0), (50.0, 0.0), None, None, "reproduced"),
        ((51.125, 0.0), (50.0, 0.0), None, None, "contradicted"),
        ((60.0, 3.0), (50.0, 4.0), None, None, "reproduced"),  # 2 * sqrt(3^2 + 4^2)
        ((40.0, 3.0), (50.0, 4.0), None, None, "reproduced"),
        ((60.125, 3.0), (50.0, 4.0), (55.0, 0.0), (55.0, 0.0), "contradicted"),
        ((51.0, 0.125), (50.0, 0.125), None, None, "reproduced"),  # never stricter than one point
        ((70.0, 0.0), (50.0, 0.0), (60.0, 0.0), (40.0, 0.0), "trend only"),  # both above
        ((30.0, 0.0), (50.0, 0.0), (40.0, 0.0), (60.0, 0.0), "trend only"),  # both below
        ((70.0, 0.0), (50.0, 0.0), (60.0, 0.0), (60.0, 0.0), "contradicted"),  # one above, one below
        ((30.0, 0.0), (50.0, 0.0), (40.0, 0.0), (40.0, 0.0), "contradicted"),
        ((60.0, 0.0), (50.0, 0.0), (60.0, 0.0), (40.0, 0.0), "contradicted"),  # on the reference is on no side
        ((70.0, 0.0), (50.0, 0.0), (60.0, 0.0), (50.0, 0.0), "contradicted"),
        ((70.0, 3.0), (50.0, 0.0), (67.0, 1.0), (40.0, 0.0), "contradicted"),  # within the larger deviation
        ((70.0, 1.0), (50.0, 0.0), (67.0, 3.0), (40.0, 0.0), "contradicted"),
        ((70.0, 2.0), (50.0, 0.0), (67.0, 2.0), (40.0, 0.0), "trend only"),
        ((70.0, 0.0), (50.0, 2.0), (60.0, 0.0), (48.0, 1.0), "contradicted"),  # the printed one within its noise
        ((70.0, 0.0), (50.0, 0.0), None, (40.0, 0.0), "contradicted"),
        ((70.0, 0.0), (50.0, 0.0), (60.0, 0.0), None, "contradicted"),
    ],
)
def test_rule(ours: Pair, printed: Pair, reference: Pair | None, printed_reference: Pair | None, expected: str) -> None:
    beside = Value(*reference) if reference else None
    printed_beside = Value(*printed_reference) if printed_reference else None
    assert verdict(Value(*ours), Printed(*printed), beside, printed_beside) == expected


TABLE_1 = """
SGD          -0.32 0.11  -31.79 0.12  62.37 1.29
SGD-F       -17.9  0.67  -13.20 0.53  84.47 1.85
Fine-tuning  -0.27 0.13  -13.20 0.53  84.47 1.85
EWC          -4.89 0.65   -6.27 0.49  88.90 1.01
SI           -5.62 0.51   -3.55 0.61  90.89 0.79
MAS          -4.30 0.42   -2.49 0.19  94.42 0.33
LwF          -4.45 0.10   -2.13 0.07  94.01 0.21
HAT          -1.39 0.12   -0.43 0.11  98.65 0.17
Joint         /    /       /    /     99.80 0.19
ANPyC        -0.45 0.10   -0.78 0.33  98.14 1.03
"""


def test_anpyc_table_1_is_as_printed() -> None:
    found = printed_table("anpyc-table-1")
    expected = {}
    for row, *numbers in (line.split() for line in TABLE_1.strip().splitlines()):
        for place, metric in enumerate(("fwt_joint", "bwt", "acc")):
            if numbers[2 * place] != "/":
                expected[row, metric] = (float(numbers[2 * place]), float(numbers[2 * place + 1]))
    assert {key: (cell.mean, cell.deviation) for key, cell in found.items()} == expected


def test_the_cells_of_reading_n12_are_doubted() -> None:
    doubted = {key for key, cell in printed_table("anpyc-table-1").items() if cell.doubt}
    rows = ("SGD-F", "Fine-tuning")
    assert doubted == {("SGD", "fwt_joint"), *((row, metric) for row in rows for metric in ("fwt_joint", "bwt", "acc"))}


@pytest.mark.parametrize("path", sorted(PRINTED.glob("*.csv")), ids=lambda path: path.stem)
def test_no_printed_cell_is_given_twice(path: object) -> None:
    with open(str(path), newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len({(row["row"], row.get("metric")) for row in rows}) > 0
