"""The judge on made-up data whose truth is known, and the printed tables as data."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy import stats

from lifelong.reports.verdicts import (
    PRINTED,
    Estimate,
    Printed,
    Sample,
    Trial,
    contrast,
    correct_holm,
    judge,
    judge_cell,
    printed_table,
    tolerance,
    try_above,
)

SEEDS = (3, 5, 10)
ROUNDS = 1000


def sample(values: np.ndarray) -> Sample:
    return Sample.of_seeds(dict(enumerate(values.tolist())))


def difference(random: np.random.Generator, n: int, gap: float) -> Trial:
    """Whether a is above b, whose seeds vary together by far more than their difference does."""
    common = random.normal(90, 3, n)
    a, b = sample(common + random.normal(gap, 1, n)), sample(common)
    estimate = contrast([(1, a), (-1, b)])
    assert isinstance(estimate, Estimate)
    return try_above([estimate])


@pytest.mark.parametrize("n", SEEDS)
def test_where_there_is_no_difference_one_verdict_in_twenty_is_false(n: int) -> None:
    random = np.random.default_rng(n)
    outcomes = [judge([difference(random, n, 0.0)])[0].outcome for _ in range(ROUNDS)]
    assert 0.03 < np.mean([outcome != "undecided" for outcome in outcomes]) < 0.07


@pytest.mark.parametrize("n", SEEDS)
def test_of_pages_of_ten_claims_one_in_twenty_holds_a_false_verdict(n: int) -> None:
    random = np.random.default_rng(n)
    pages = [judge([difference(random, n, 0.0) for _ in range(10)]) for _ in range(ROUNDS // 4)]
    assert np.mean([any(verdict.outcome != "undecided" for verdict in page) for page in pages]) < 0.09


@pytest.mark.parametrize(("n", "least"), [(3, 0.4), (5, 0.85), (10, 0.99)])
def test_a_difference_of_two_deviations_is_found_more_often_with_more_seeds(n: int, least: float) -> None:
    random = np.random.default_rng(n)
    outcomes = [judge([difference(random, n, 2.0)])[0].outcome for _ in range(ROUNDS // 2)]
    assert outcomes.count("contradicted") == 0
    assert outcomes.count("supported") / len(outcomes) > least


def test_a_paired_contrast_is_students_t_and_one_of_means_is_welchs() -> None:
    a, b = np.array([3.0, 5.0, 9.0, 2.0]), np.array([2.0, 5.5, 6.0, 1.0])
    paired = contrast([(1, sample(a)), (-1, sample(b))])
    assert isinstance(paired, Estimate)
    expected = stats.ttest_rel(a, b)
    assert try_above([paired]).p == pytest.approx(expected.pvalue)
    assert paired.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    means = [Sample(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (a, b)]
    welch = contrast([(1, means[0]), (-1, means[1])])
    assert isinstance(welch, Estimate)
    assert try_above([welch]).p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_only_seeds_of_both_count_and_two_are_too_few() -> None:
    a, b = Sample.of_seeds({0: 1.0, 1: 2.0, 2: 4.0, 3: 5.0}), Sample.of_seeds({1: 1.0, 2: 2.0, 3: 3.5, 9: 0.0})
    estimate = contrast([(1, a), (-1, b)])
    assert isinstance(estimate, Estimate)
    assert estimate.n == 3
    assert estimate.mean == pytest.approx(np.mean([1.0, 2.0, 1.5]))
    assert contrast([(1, a), (-1, Sample.of_seeds({2: 1.0, 3: 2.0}))]) == "n = 2 seeds in common: shown, not judged"
    (verdict,) = judge([Trial(why="n = 2 seeds in common: shown, not judged")])
    assert (verdict.outcome, verdict.p) == ("not attempted", None)


def test_holm_by_hand() -> None:
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_holm([]) == []


def test_a_claim_is_judged_by_what_else_its_page_tests() -> None:
    strong, weak = Trial(support=0.001, against=0.999), Trial(support=0.02, against=0.98)
    assert judge([weak])[0].outcome == "supported"
    assert [one.outcome for one in judge([strong, weak, weak])] == ["supported", "undecided", "undecided"]


def test_cells_are_held_to_a_quarter_of_what_the_methods_differ_by() -> None:
    table = {(row, "acc"): Printed(mean, 0.0) for row, mean in {"a": 90.0, "b": 94.0, "c": 98.0, "d": 20.0}.items()}
    table["doubtful", "acc"] = Printed(500.0, 0.0, "cannot be")
    assert tolerance(table, "acc", ()) == pytest.approx(stats.iqr([90, 94, 98, 20]) / 4)
    assert tolerance(table, "acc", [97.0, 97.2, 97.4]) == pytest.approx(0.05)
    assert judge_cell(Sample(94.0, 0.01, 5), 94.1, 0.2) == "same"
    assert judge_cell(Sample(94.0, 0.01, 5), 95.0, 0.2) == "different"
    assert judge_cell(Sample(94.0, 1.0, 5), 94.1, 0.2) == "undecided"
    assert judge_cell(Sample(94.0, 1.0, 2), 94.1, 0.2) == "not judged"
    assert judge_cell(None, 94.1, 0.2) == "diverged"


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
