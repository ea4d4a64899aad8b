"""SKILL's reports: numbers are those of the files, verdicts need seeds, figures have their numbers beside them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.collectives import (
    LEARNERS,
    NAME,
    SEEDS,
    TASK_NAMES,
    TASKS,
    VARIANTS,
    collective_settings,
    told_and_free,
    write_collective,
)
from support.reports import draw_report

from lifelong.methods.skill.measures import measures
from lifelong.reports import skill_costs
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_json, read_result, write_result
from lifelong.runtime.errors import UserError

PNG = b"\x89PNG"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_DATA", str(tmp_path))
    write_collective()
    return tmp_path


def text(name: str) -> str:
    return paths.report(f"tiny/{name}", "md").read_text()


def cells(name: str, first: str) -> list[str]:
    """The cells of the first row of a report that begins with this cell."""
    for line in text(name).splitlines():
        found = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and found[0] == first:
            return found
    raise AssertionError(f"{name} has no row {first!r}")


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def rows_of(name: str) -> list[dict[str, str]]:
    with open(paths.report(f"tiny/{name}", "csv"), newline="") as handle:
        return list(csv.DictReader(handle))


# A collective


def test_measures_of_a_variant_by_hand() -> None:
    variant = {"mapper": [[1.0], [0.5, 0.9]], "final": [[0.8], [0.4, 0.6]], "oracle": [0.9, 0.7]}
    found = measures(variant)
    assert found["final"] == pytest.approx(50)
    assert found["oracle"] == pytest.approx(80)
    assert found["mapper"] == pytest.approx(70)
    assert found["normalised"] == pytest.approx(100 * (0.4 / 0.8 + 1) / 2)
    assert found["first"] == pytest.approx(40)
    assert found["final_curve"].tolist() == pytest.approx([0.8, 0.5])
    assert found["first_curve"].tolist() == pytest.approx([0.8, 0.4])


def test_a_collective_is_shown_as_its_files_say(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/all")
    scores = [read_result(paths.collective_scores(NAME, seed))["variants"] for seed in range(SEEDS)]
    told = read_json(paths.report("tiny/all", "json"))
    for variant in VARIANTS:
        final = [100 * float(np.mean(one[variant]["final"][-1])) for one in scores]
        oracle = [100 * float(np.mean(one[variant]["oracle"])) for one in scores]
        assert cells("all", variant)[1:3] == [spread(final), spread(oracle)]
        assert told["variants"][variant]["final"] == pytest.approx(final)
        assert told["variants"][variant]["oracle"] == pytest.approx(oracle)
    assert "Banks of N = 1, 3 agents: 24 compared, all the same for a seed and variant; 0 packets refused." in text("all")
    table = rows_of("all")
    assert len(table) == len(VARIANTS) * TASKS
    expected = np.mean([one["MAHA"]["final"][1] for one in scores])
    assert float(table[TASKS + 1]["final"]) == pytest.approx(expected, abs=1e-6)
    assert paths.report("tiny/all", "png").read_bytes().startswith(PNG)
    # Each task: 2, 3, 4 s of a linear head and its anchor and 4 s of biases; three agents have one task each.
    assert cells("all", "3") == ["3", "8.0", f"{21 / 8:.2f}", f"{21 / 24:.3f}"]


def test_banks_that_differ_are_told(place: Path) -> None:
    bank = read_result(paths.bank(NAME, 0, 3, 1))
    bank["variants"]["GMMC"] |= {"sha256": "other", "refused": ["x: is empty"]}
    write_result(paths.bank(NAME, 0, 3, 1), bank)
    settings = collective_settings(seeds=1)
    draw_report(settings, "tiny/all")
    assert "NOT all the same" in text("all")
    assert "1 packets refused" in text("all")
    assert " ± " not in " ".join(cells("all", "GMMC"))


def test_a_report_is_the_same_bytes_again(place: Path) -> None:
    settings = collective_settings()
    kinds = ("all", "learners", "again")
    found = []
    for _ in range(2):
        for name in kinds:
            draw_report(settings, f"tiny/{name}")
        found.append({path.name: path.read_bytes() for path in (place / "reports/tiny").iterdir() if path.is_file()})
    assert len(found[0]) == 4 * len(kinds) + 3
    assert found[0] == found[1]


# Learners of one network


def test_learners_stand_beside_the_variants_under_the_same_protocols(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/learners")
    scores = [read_result(paths.collective_scores(NAME, seed))["variants"] for seed in range(SEEDS)]
    for variant in VARIANTS:
        row = cells("learners", f"SKILL {variant}")
        assert row[2] == spread([100 * float(np.mean(one[variant]["oracle"])) for one in scores])
        assert row[3].startswith("100.00")
        assert row[5] == spread([100 * float(np.mean(one[variant]["final"][-1])) for one in scores])
    assert cells("learners", "SKILL BB-MAHA")[-1] == "72.10, not told"
    for label in LEARNERS:
        learnt = [told_and_free(label, seed) for seed in range(SEEDS)]
        row = cells("learners", label)
        assert row[2] == spread([100 * float(np.mean(told[-1])) for told, _ in learnt])
        assert row[4] == spread([100 * told[-1][0] for told, _ in learnt])
        assert row[5] == (spread([100 * float(np.mean(free[-1])) for _, free in learnt]) if label != "PSP" else "")
    assert cells("learners", "EWC")[-1] == "8.86, told"
    assert cells("learners", "One")[-1] == cells("learners", "Joint")[-1] == ""
    assert cells("learners", "Joint")[3] == ""  # nothing was learnt before the end
    r_of = [told_and_free("EWC", seed)[0] for seed in range(SEEDS)]
    ratios = [100 * float(np.mean([r[2][j] / r[j][j] for j in range(TASKS)])) for r in r_of]
    assert cells("learners", "EWC")[3] == spread(ratios)
    assert paths.report("tiny/learners", "png").read_bytes().startswith(PNG)
    table = [row for row in rows_of("learners") if (row["learner"], row["told"]) == ("EWC", "yes")]
    means = [float(np.mean([np.mean(r[i]) for r in r_of])) for i in range(TASKS)]
    assert [float(row["mean"]) for row in table] == pytest.approx(means, abs=1e-6)
    joint = [row["mean"] for row in rows_of("learners") if (row["learner"], row["told"]) == ("Joint", "yes")]
    assert joint[:2] == ["", ""]
    assert joint[2] != ""


def test_what_a_grid_chose_is_shown(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/learners")
    found = [line.strip("|").split("|") for line in text("learners").splitlines() if "strength" in line]
    assert [[cell.strip() for cell in row] for row in found] == [
        ["EWC", "strength 1.0", "50.00", "2", "chosen"],
        ["EWC", "strength 2.0", "diverged", "2", ""],
    ]


def test_what_the_learners_train_is_told(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/learners")
    told = "one perceptron (4 hidden units) on the frozen features, 2 epochs a task of adam at 0.01."
    assert told in " ".join(text("learners").split())


def test_learners_of_other_tasks_than_the_collectives_are_refused(place: Path) -> None:
    settings = collective_settings()
    other = replace(settings.experiments["on-features-one"], sequence_name="others")
    settings.experiments["on-features-one"] = other
    with pytest.raises(UserError, match=r"experiments\.One: 'on-features-one' learns 'others'; expected 'three'"):
        draw_report(settings, "tiny/learners")


# Heads used again


def test_reuse_is_shown_as_its_files_say(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/again")
    found: list[dict[str, Any]] = [read_result(paths.reused(NAME, seed)) for seed in range(SEEDS)]
    assert cells("again", "none")[1:] == [f"{100 * (0.5 + 0.5 + 0.25) / 3:.2f}", "+0.00"]
    assert cells("again", "cosine > 0.9")[2] == "+10.00"
    for kind in ("reused", "random"):
        mean = np.mean([[pair[kind] for pair in one["pairs"]] for one in found], (0, 1))
        assert cells("again", kind)[1:4] == [f"{100 * value:.2f}" for value in mean[:3]]
        assert [float(row[kind]) for row in rows_of("again")] == pytest.approx(mean.tolist(), abs=1e-6)
        last = np.mean([one["transfers"][0]["shots"]["5"][kind][-1] for one in found])
        rows = [line for line in text("again").splitlines() if line.startswith("| digits-01 | digits-23")]
        assert any(kind in row and f"{100 * last:.2f}" in row for row in rows)
        end = np.mean([one["harvests"][0][kind][-1] for one in found])
        rows = [line for line in text("again").splitlines() if line.startswith("| mixed")]
        assert any(kind in row and f"{100 * end:.2f}" in row for row in rows)
    assert "2 from 0" in text("again")
    assert "mixed: 2 from 0, 4 from 1." in text("again")
    assert paths.report("tiny/again", "png").read_bytes().startswith(PNG)


# Costs


def test_costs_are_counted_for_the_table_and_for_our_packets(place: Path) -> None:
    with open("table.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["num_classes", "train_size"])
        writer.writerows([[10, 1000]] * 102 + [[7, 7]] * 5)
    settings = collective_settings()
    draw_report(settings, "tiny/costs")
    assert text("costs").count("102 tasks, 1,020 classes, 102,000 training images") == 1
    row = [line for line in text("costs").splitlines() if line.startswith("| GMMC ")][-1]
    assert f"{3 * 1000 + 30:,}" in row  # the bytes that the banks hold
    accounts = {(row["row"], row["account"]): row for row in rows_of("costs")}
    # 102 equal tasks: each agent one of them, so the longest agent is as long as the mean one.
    assert accounts["GMMC", "corrected"]["teacher"] == accounts["GMMC", "uneven"]["teacher"]
    one = float(accounts["GMMC", "corrected"]["teacher"])
    assert one == pytest.approx(1000 * 8.36e9, rel=0.01)


def test_a_missing_table_of_tasks_is_named(place: Path) -> None:
    with pytest.raises(UserError, match=r"no table 'table\.csv'"):
        skill_costs.skill_102("table.csv")


def test_task_names_are_those_of_the_scores(place: Path) -> None:
    settings = collective_settings()
    draw_report(settings, "tiny/all")
    assert [row["task"] for row in rows_of("all")][:TASKS] == TASK_NAMES
