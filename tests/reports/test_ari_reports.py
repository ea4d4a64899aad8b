"""ARI's evaluation and reports on a tiny experiment, beside the written models and scores."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reports import draw_report
from support.runs import SPLIT, made

from lifelong import params
from lifelong.data.classes import Classes
from lifelong.data.tensors import load_test
from lifelong.networks.create import new_network
from lifelong.params import Settings
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import DIVERGED
from lifelong.pipeline.states import read_state, write_state
from lifelong.pipeline.summarise import summarise
from lifelong.reports.ari import attention, costs, distances, protocols, steps
from lifelong.reports.figures import style
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import generator

SEEDS = [4, 5]


def settings(fewer: Sequence[int] = SEEDS[1:]) -> Settings:
    entry: dict[str, Any] = {"sequence": "three", "network": "net", "training": "short", "method": "ari"}
    entry |= {"options": {"memory": 12, "gamma": 0.9, "adapt_rate": 0.05}}
    rows = {"ARI": "tiny"}
    kinds: dict[str, dict[str, Any]] = {
        "protocols": {"kind": "ari-protocols", "options": {"printed": "ari-figure-4"}},
        "steps": {"kind": "ari-steps", "options": {"printed": "ari-table-1"}},
        "distances": {"kind": "ari-distances"},
        "seeds": {"kind": "ari-distances", "experiments": rows | {"Fewer": "fewer"}},
        "attention": {"kind": "ari-attention", "options": {"images": 3}},
        "costs": {"kind": "ari-costs", "options": {"rounds": 3}},
    }
    return params.settings(
        {
            "sequences": {"three": SPLIT},
            "networks": {"net": {"kind": "attention-mlp", "hidden": [6]}},
            "training": {"short": {"learning_rate": 0.2, "batch_size": 16, "epochs": 2}},
            "experiments": {"tiny": entry | {"seeds": SEEDS}, "fewer": entry | {"seeds": list(fewer)}},
            "reports": {"ari": {name: {"title": name, "experiments": rows} | kind for name, kind in kinds.items()}},
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ari")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        experiment = settings().experiment("tiny")
        made(experiment)
        for seed in SEEDS:
            evaluate(experiment, seed)
        summarise(experiment)
        shutil.copytree(paths.state("tiny", 5, 0, "learn").parents[1], paths.state("fewer", 5, 0, "learn").parents[1])
    return folder


def logits(task: int, adapted: int | None, on: int) -> np.ndarray:
    """Of the written models of seed 4: the base after `task`, or the one adapted to a task."""
    experiment = settings().experiment("tiny")
    state = read_state(paths.state("tiny", 4, task, "adapt"))
    weights = state["network"]
    if adapted is not None:
        weights = {k.partition("/")[2]: t for k, t in state["adapted"].items() if k.startswith(f"{adapted}/")}
    network = new_network(experiment, (1, 2, 3), Classes((2, 2, 2)), 4)
    network.load_state_dict(weights)
    split = load_test(paths.images("digits"), paths.tasks("three"), on)
    with torch.no_grad():
        found: np.ndarray = network.eval().all_logits(split.images / 255).numpy()
    return found


def test_the_base_is_asked_for_classes_and_tasks_and_the_adapted_model_within_them(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    scores, predictions = read_result(paths.scores("tiny", 4)), read_tensors(paths.predictions("tiny", 4), "predictions")[0]
    changed = 0
    for on in range(3):
        targets = load_test(paths.images("digits"), paths.tasks("three"), on).targets.numpy()
        base, told = logits(2, None, on), logits(2, on, on)[:, 2 * on : 2 * on + 2].argmax(1)
        changed += (told != base[:, 2 * on : 2 * on + 2].argmax(1)).sum()
        assert scores["test"]["class_incremental"][2][on] == pytest.approx((base.argmax(1) == targets + 2 * on).mean())
        assert scores["test"]["task_incremental"][2][on] == pytest.approx((told == targets).mean())
        order = torch.randperm(len(targets), generator=generator(4, "chunks", "test", on)).numpy()
        for p in (1, 5, 20, 100):
            guessed = np.full(len(targets), -1)
            for start in range(0, len(targets), p):
                members = order[start : start + p]
                guessed[members] = np.argmax([base[members, 2 * t : 2 * t + 2].max(1).mean() for t in range(3)])
            np.testing.assert_array_equal(predictions[f"after-02.on-{on:02d}.task_prediction_{p}"], guessed)
            assert scores["test"][f"task_prediction_{p}"][2][on] == pytest.approx((guessed == on).mean())
            right = (guessed == on) & (told == targets)
            assert scores["test"][f"chunk_{p}"][2][on] == pytest.approx(right.mean())
    assert changed, "the adapted models answer otherwise than the base somewhere"


def test_forward_transfer_is_known_where_the_task_is_told_or_guessed(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    summary, scores = read_result(paths.summary("tiny"))["test"], read_result(paths.scores("tiny", 4))
    for protocol in ("task_incremental", "chunk_20"):
        r = scores["test"][protocol]
        b = scores["initial"] if protocol == "task_incremental" else scores["initial_by_protocol"][protocol]
        expected = np.mean([r[0][1] - b[1], r[1][2] - b[2]])
        assert summary[protocol]["fwt_gem"]["by_seed"][0] == pytest.approx(expected)
    assert summary["class_incremental"]["fwt_gem"]["mean"] is None


def rows_of(name: str) -> list[dict[str, Any]]:
    with open(paths.report(f"ari/{name}", "csv"), newline="") as handle:
        return list(csv.DictReader(handle))


def test_reports_name_every_protocol(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    draw_report(settings(), "ari/protocols")
    text = paths.report("ari/protocols", "md").read_text()
    for name in (
        "class-incremental",
        "chunks of 1",
        "chunks of 5",
        "chunks of 20",
        "chunks of 100",
        "task told",
        "task guessed, chunks of 20",
    ):
        assert name in text
    summary = read_result(paths.summary("tiny"))["test"]
    for row in rows_of("protocols"):
        assert row["protocol"]
        key = {"class-incremental": "class_incremental", "task told": "task_incremental"}.get(row["protocol"])
        if key:
            assert float(row["mean"]) == pytest.approx(100 * summary[key][row["metric"]]["mean"], abs=1e-3)
            if row["metric"] == "acc":
                assert float(row["difference"]) == pytest.approx(float(row["mean"]) - 98.91, abs=1e-3)


def test_steps_are_means_over_the_tasks_seen(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    draw_report(settings(), "ari/steps")
    curves = []
    for seed in SEEDS:
        r = read_result(paths.scores("tiny", seed))["test"]["chunk_5"]
        curves.append([100 * np.mean(r[t][: t + 1]) for t in range(3)])
    found = [row for row in rows_of("steps") if row["protocol"] == "chunks of 5"]
    assert [row["metric"] for row in found] == ["accuracy"] * 3 + ["left"]
    kept = [100 * curve[2] / curve[0] for curve in curves]
    for row, values in zip(found, [*zip(*curves, strict=True), kept], strict=True):
        assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-3)
        assert float(row["deviation"]) == pytest.approx(np.std(values, ddof=1), abs=1e-3)
    printed = [float(row["printed_mean"]) for row in found]
    assert printed == pytest.approx([88.60, 86.90, 85.77, 100 * 85.77 / 88.60], abs=1e-3)
    assert "| ARI " in paths.report("ari/steps", "md").read_text().partition("## Printed")[2]


def test_a_seed_that_diverged_is_left_out_and_named(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    experiment = replace(settings().experiment("tiny"), may_diverge=True)
    write_state(paths.state("tiny", SEEDS[0], 2, "adapt"), {DIVERGED: {}}, {})
    evaluate(experiment, SEEDS[0])
    summarise(experiment)
    left = 100 * np.mean(read_result(paths.scores("tiny", SEEDS[1]))["test"]["chunk_5"][2])
    for module in (protocols, steps):
        name = module.__name__.rpartition(".")[2]
        draw_report(settings(), f"ari/{name}")
        found = [row for row in rows_of(name) if row["protocol"] == "chunks of 5" and row["metric"] in ("acc", "accuracy")]
        value = found[-1] if name == "protocols" else found[2]
        assert float(value["mean"]) == pytest.approx(left, abs=1e-3)
        assert value["n"] == "1"
        text = paths.report(f"ari/{name}", "md").read_text()
        assert "Diverged, and its values are of the other seeds: `tiny` (1 of 2 seeds)." in text


def test_distances_are_those_of_the_curves(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    draw_report(settings(), "ari/distances")
    curves = [
        [json.loads(line) for line in paths.curve(paths.state("tiny", s, 2, "learn")).read_text().splitlines()]
        for s in SEEDS
    ]
    for row in rows_of("distances"):
        expected = 1e6 * np.mean([c[int(row["epoch"])][f"distance_{int(row['task']) - 1}"] for c in curves])
        assert float(row["distance"]) == pytest.approx(expected, abs=1e-3)
    assert len(rows_of("distances")) == 6


def test_distances_are_of_the_seeds_that_all_runs_have(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    draw_report(settings(), "ari/seeds")
    values = {row: [line["distance"] for line in rows_of("seeds") if line["row"] == row] for row in ("ARI", "Fewer")}
    assert values["ARI"] == values["Fewer"]
    with pytest.raises(UserError, match=r"no seed in common: 'tiny' has \[4, 5\], 'fewer' has \[7\]"):
        settings(fewer=[7])


def test_attention_is_shared_out_over_all_pixels(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    draw_report(settings(), "ari/attention")
    found = rows_of("attention")
    for image in ("1", "2", "3"):
        shares = [float(row["percent"]) for row in found if row["image"] == image and row["part"] != "std"]
        assert len(shares) == 4
        assert sum(shares) == pytest.approx(100, abs=1e-2)


def test_shares_are_counted_over_half_open_parts() -> None:
    found = attention.shares(np.array([0.1, 0.3, 0.49, 0.5, 0.7, 0.9, 1.0, 0.2]))
    assert [found[part] for part in ("[0.0, 0.3)", "[0.3, 0.5)", "[0.5, 0.7)", "[0.7, 1.0]")] == [25, 25, 12.5, 37.5]


def test_mixing_all_models_brings_them_together_without_training() -> None:
    """The supplement's Eq. 11: rows sum to 1, and the largest distance shrinks each round (reading A15)."""
    found = distances._mixing("a/b")
    largest = [one.value or 0.0 for one in found if one.metric == "largest"]
    assert all(later < 0.5 * earlier for earlier, later in pairwise(largest))
    assert all((one.value or 0.0) < 1e-12 for one in found if one.metric == "error")


def test_costs_are_of_a_step_that_learns(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    step, bytes_kept = costs.step_of(settings().experiment("tiny"))
    state = read_state(paths.state("tiny", 4, 2, "adapt"))
    assert bytes_kept == 3 * 4 * sum(tensor.numel() for tensor in state["network"].values())
    waits = iter([9.0, 0.0, 9.0, 1.0, 2.0, 0.5, 4.0, 2.0])  # a in turn with b, the first round not counted
    now = [0.0]
    monkeypatch.setattr(costs.time, "thread_time", lambda: now[0])

    def wait() -> None:
        now[0] += next(waits)

    assert costs.medians({"a": wait, "b": wait}, 3) == {"a": 4.0, "b": 1.0}
    step()


def test_task_axes_have_whole_numbers(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    figures: list[Any] = []
    monkeypatch.setattr(style, "write_figure", lambda path, figure: figures.append(figure))
    for name in ("steps", "distances"):
        draw_report(settings(), f"ari/{name}")
    for figure in figures:
        for axes in figure.axes:
            assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_every_report_leaves_its_figure(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    for report in settings().reports.values():
        draw_report(settings(), report.name)
        written = {path.suffix.removeprefix(".") for path in Path("reports/ari").glob(f"{report.name.partition('/')[2]}.*")}
        assert written == {"md", *report.kind.writes}
