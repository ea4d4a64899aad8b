"""What is made anew is held against what is kept: every verdict, on tables of known differences."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifelong.evaluation.results import Quantity, Row, write_table
from lifelong.reports.provenance import Made
from lifelong.reports.verify import NOISE, compare_sections, verify_section
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json
from lifelong.runtime.errors import UserError


def row(experiment: str, seed: int, value: float, on_task: int = 1) -> Row:
    return Row(experiment, "ewc", "s", "n", seed, 2, on_task, "test", "task_incremental", "accuracy", value, 100)


KEPT = [*(row("three", seed, value) for seed, value in enumerate((0.90, 0.92, 0.94))), row("one", 0, 0.5)]
"""A deviation of 0.02 over three seeds; none is known of one seed."""
COUNTED = [Quantity("s/r", "a", "three", None, 1.0, None, metric, 100.0, n=0) for metric in ("bytes", "seconds")]


def keep(folder: Path, rows: list[Row], quantities: list[Quantity] = COUNTED, machine: str = "one") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "results.csv", rows, Row)
    write_table(folder / "quantities.csv", quantities, Quantity)
    write_json(folder / "provenance.json", {"three": Made(machine=machine, versions={"torch": "2"}).model_dump()})
    return folder


def verdicts(tmp_path: Path, rows: list[Row], quantities: list[Quantity] = COUNTED) -> Counter[tuple[str, str]]:
    compared = compare_sections(keep(tmp_path / "found", rows, quantities), keep(tmp_path / "kept", KEPT))
    return Counter((one.name, one.verdict) for one in compared)


@pytest.mark.parametrize(
    ("experiment", "by", "verdict"),
    [
        ("three", 0.0, "same"),
        ("three", 4e-5, "rounding"),
        ("three", -0.99 * NOISE * 0.02, "noise"),
        ("three", -1.01 * NOISE * 0.02, "different"),
        ("one", 4e-5, "rounding"),
        ("one", 6e-5, "different"),
    ],
)
def test_an_accuracy_that_moves(tmp_path: Path, experiment: str, by: float, verdict: str) -> None:
    moved = [replace(one, value=one.value + by) if (one.experiment, one.seed) == (experiment, 0) else one for one in KEPT]
    found = verdicts(tmp_path, moved)
    assert found[experiment, verdict] == 1 + (verdict == "same") * 2
    assert sum(count for (_, one), count in found.items() if one != "same") == (verdict != "same")


def test_noise_is_pooled_over_places(tmp_path: Path) -> None:
    """The root of the mean variance, each place by its degrees of freedom."""
    places = [[0.1, 0.2, 0.3], [0.5, 0.5]]
    rows = [row("e", seed, v, on_task=task + 1) for task, values in enumerate(places) for seed, v in enumerate(values)]
    folder = keep(tmp_path, rows)
    (pooled,) = {one.noise for one in compare_sections(folder, folder) if one.name == "e"}
    variances, freedom = [np.var(values, ddof=1) for values in places], [len(values) - 1 for values in places]
    assert pooled == pytest.approx(np.sqrt(np.average(variances, weights=freedom)))


def test_what_is_missing_or_new_is_said_and_times_are_not_compared(tmp_path: Path) -> None:
    slower = [replace(one, value=900.0) if one.metric == "seconds" else replace(one, value=100.004) for one in COUNTED]
    found = verdicts(tmp_path, [*KEPT[1:], row("new", 0, 0.1)], slower)
    assert found == {
        ("three", "missing"): 1,
        ("three", "same"): 2,
        ("one", "same"): 1,
        ("new", "new"): 1,
        ("s/r: a", "rounding"): 1,
    }


def test_a_section_is_verified_against_a_folder_or_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keep(Path("reports/s"), KEPT)

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *arguments], check=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Keep")
    keep(tmp_path / "anew/s", [row("three", 0, 0.1), *KEPT[1:]], machine="another")
    assert verify_section("s", "HEAD")[1]
    monkeypatch.setattr(paths, "REPORTS", Path("anew"))
    for against in ("HEAD", "reports"):
        text, reproduced = verify_section("s", against, tmp_path / "rows.csv")
        assert not reproduced
        assert "s: not reproduced; of 5 numbers 4 same, 1 different.\n" in text
        assert "Kept: one; torch 2\nFound: another; torch 2\n" in text
        assert "| three  | 3       | 2    |          |            | 1         |" in text
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(lines) == 6 and sum(line.endswith(",different") for line in lines) == 1
    with pytest.raises(UserError, match=r"--against v9: found no provenance\.json of 's' there; expected a folder"):
        verify_section("s", "v9")
    with pytest.raises(UserError, match="nothing is made of 't'; `snakemake t` makes it"):
        verify_section("t", "HEAD")
