"""The papers' pages as they are shipped, over made-up values of every report."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT

from lifelong.params import Experiment, Report, Settings, load
from lifelong.params.reports import PAPER, CollectiveOptions, SweepOptions, parameter
from lifelong.params.split2meta_reports import MatchedOptions
from lifelong.reports import page
from lifelong.reports.ari.words import PROTOCOLS
from lifelong.reports.cells import write_csv
from lifelong.reports.collective import METRICS as SKILL_METRICS
from lifelong.reports.quantities import METRICS
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json


def made_up(found: Settings, report: Report, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The same values for every row, metric and protocol that a report of its kind and the row's method have."""
    guessed = [p for p in PROTOCOLS.values() if not p.startswith("task_pred")]
    protocols = list(PROTOCOLS.values()) if report.kind_name in ("ari-protocols", "ari-steps") else ["task_incremental"]
    metrics = [*METRICS, "accuracy", "left", "milliseconds", "time_ratio", "models"]
    metrics += ["lead", "acc_difference", "bwt_difference", "gap_old", "gap_new"]
    # A report on rounds of compression has the network's accuracy after each.
    places: list[tuple[str, float | None]] = (
        [("network", x) for x in range(6)] if report.kind_name == "compression" else [(r, 1) for r in report.experiments]
    )
    if report.kind_name == "paired":
        places = [(f"{label}, {p}", 1) for label in report.experiments for p in guessed]
    if isinstance(report.options, SweepOptions):
        swept = report.options.parameter
        places += [
            (label, parameter(found.experiment(name).parameters(), swept))
            for label, names in report.experiments.items()
            if len(names) > 1
            for name in names
        ]
    if isinstance(report.options, MatchedOptions):
        places += [(claim, 1) for part in report.options.parts.values() for claim in part.pairs]
    return [
        {"row": row, "protocol": p, "metric": m, "x": x, **values}
        for row, x in places
        for p in protocols
        for m in metrics
        if all(can_give(found.experiment(name), m) for name in report.experiments.get(row, ()))
    ]


def can_give(experiment: Experiment, metric: str) -> bool:
    """A joint learner learns once, and so neither forgets nor transfers; some transfer is against one."""
    if metric == "fwt_joint":
        return experiment.joint is not None
    return metric not in ("bwt", "fwt_gem") or not experiment.method.joint


def made_up_json(found: Settings, report: Report) -> dict[str, Any]:
    """A claim, and for SKILL's reports values by seed."""
    values = [0.5, 1.0, 1.5]
    told: dict[str, Any] = {}
    if isinstance(report.options, CollectiveOptions):
        collective = found.skill.collective(report.options.collective)
        told["variants"] = {variant: dict.fromkeys(SKILL_METRICS, values) for variant in collective.variants}
        both = {"task_incremental": values, "class_incremental": values}
        told["learners"] = dict.fromkeys(
            [*report.experiments, *(f"SKILL {variant}" for variant in collective.variants)], both
        )
        told["pairs"] = {"reused": values, "random": values}
        told["names"] = dict.fromkeys(["none", "same name", "cosine > 0.9", "cosine > 0.95"], values)
    return told


@pytest.fixture(scope="module")
def shipped() -> Settings:
    return load(ROOT / "params.yaml")


def rendered_pages(found: Settings, sections: Collection[str], values: dict[str, Any]) -> dict[str, str]:
    """The text of the sections' pages over made-up values for every label of their reports."""
    usual: dict[str, Any] = {
        "mean": 1.0,
        "deviation": 0.5,
        "n": 3,
        "printed_mean": 2.0,
        "printed": 2.0,
        "printed_deviation": 0.1,
    }
    usual |= {"difference": -1.0, "verdict": "different", "doubt": ""} | values
    wanted = {name: report for name, report in found.reports.items() if report.section in sections}
    for name, report in wanted.items():
        columns = ["row", "protocol", "metric", "x", *usual]
        write_csv(paths.report(name, "csv"), columns, made_up(found, report, usual), ".4f")
        write_json(paths.report(name, "json"), made_up_json(found, report))
    pages = {name: report for name, report in wanted.items() if report.kind_name == "page"}
    for report in pages.values():
        page.write(found, report, Results(found, report.section))
    return {name: paths.report(name, "md").read_text() for name in pages}


def test_shipped_pages_ask_for_what_their_reports_have(
    shipped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in rendered_pages(shipped, shipped.sections(), {}).items():
        assert "1.00 ± 0.50" in text
        template = (PAPER / "pages" / f"{shipped.report(name).options.model_dump()['template']}.md").read_text()
        assert ("different" in text) == ("counts(" in template or "verdict(" in template)


def test_a_part_is_told_of_protocol_by_protocol(shipped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = shipped.report("ari/parts-mnist")
    means = {"class-incremental": 9.0, "chunks of 1": -9.0, "chunks of 5": 0.1, "chunks of 20": 9.0, "task told": 9.0}
    lines = [
        {"row": f"ARI against ER, {p}", "metric": "acc_difference", "mean": mean, "deviation": 1.0, "n": 5}
        for p, mean in means.items()
    ]
    write_csv(paths.report(report.name, "csv"), ["row", "metric", "mean", "deviation", "n"], lines, ".4f")
    found = page.Numbers({"parts-mnist": report}, Results(shipped, "ari")).tally("parts-mnist", "ARI against ER")
    assert found == (
        "more under class-incremental, chunks of 20 and task told; less under chunks of 1; undecided under chunks of 5"
    )


def test_rows_that_lost_seeds_are_named(shipped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = shipped.report("ari/figure-4")
    for seeds, expected in (
        ({"SGD": 5, "ARI": 5}, ""),
        ({"SGD": 5, "ARI": 3, "ER": 4}, "ARI (2 of 5 seeds) and ER (1 of 5 seeds)"),
    ):
        lines = [{"row": row, "metric": "acc", "n": n} for row, n in seeds.items()]
        write_csv(paths.report(report.name, "csv"), ["row", "metric", "n"], lines, ".4f")
        assert page.Numbers({"figure-4": report}, Results(shipped, "ari")).lost("figure-4") == expected


@pytest.mark.parametrize(
    ("values", "expected", "absent"),
    [
        (
            {},
            [
                "undecided under every protocol",
                "no protocol; the nearest is class-incremental (1.00 ± 0.50), 1.00 points below it",
            ],
            "more under",
        ),
        ({"mean": 9.0}, ["more under every protocol", "+9.00 ± 0.50 [7.76, 10.24], more"], "undecided under"),
        ({"mean": -9.0}, ["less under every protocol", "-9.00 ± 0.50 [-10.24, -7.76], less"], "undecided under"),
        ({"n": 1, "deviation": ""}, ["not judged under every protocol", "+1.00 (n = 1), not judged"], "more under"),
        ({"verdict": "same"}, ["describes it: class-incremental (1.00 ± 0.50), chunks of 1 (1.00 ± 0.50)"], "no protocol"),
        ({"difference": 1.5}, ["1.50 points above it", "98.91 lies 1.50 points below ours"], "points above ours"),
    ],
)
def test_aris_page_tells_of_whatever_the_numbers_are(
    shipped: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    expected: list[str],
    absent: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    linked = rendered_pages(shipped, ["ari"], values)["ari/README"]
    text = " ".join(re.sub(r"\[([^]]+)\]\(\.\./\.\./docs/[^)]+\)", r"\1", linked).split())
    for words in expected:
        assert words in text
    assert absent not in text
