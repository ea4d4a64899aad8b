"""The reports on Split2MetaFusion: their arithmetic, and every kind written from a tiny chain of real files."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.reports import draw_report

from lifelong import params
from lifelong.data import catalog, sequences
from lifelong.data.classes import Classes
from lifelong.data.tensors import load_task
from lifelong.methods.split2meta.fusion import fuse_weights
from lifelong.networks.create import new_network
from lifelong.params import Settings
from lifelong.params.split2meta_reports import MatchedPart
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import stages_of
from lifelong.pipeline.run import run_stage
from lifelong.pipeline.states import read_state
from lifelong.reports.quantities import format_value
from lifelong.reports.split2meta import fusion_gap, landscape, matched
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import RAW

SPACE = {"kind": "tpnsp", "threshold": 0.01}
DREAMS = {"images": 4, "iterations": 3}
META = {"null_space": SPACE, "fast_epochs": 1, "dreams": DREAMS, "fusion": {"kind": "meta", "steps": 3}}
NSP = {"null_space": {"threshold": 0.01}}


def tiny_settings(reports: dict[str, Any]) -> Settings:
    base = {"sequence": "s", "network": "n", "training": "t", "seeds": 2}
    three = {"dataset": "digits", "kind": "split", "tasks": 3, "classes_per_task": 2, "validation": {"fraction": 0.15}}
    return params.settings(
        {
            "sequences": {"s": three},
            "networks": {"n": {"kind": "mlp", "hidden": [6, 5], "initialisation": "uniform-fan-in"}},
            "training": {"t": {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 32, "epochs": 1}},
            "experiments": {
                "nsp": {**base, "method": "nsp", "options": NSP},
                "linear": {**base, "method": "split2meta", "options": META | {"fusion": {"kind": "linear"}}},
                "meta": {**base, "method": "split2meta", "options": META},
            },
            "reports": {"r": reports},
        }
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all states and scores of both experiments."""
    folder = tmp_path_factory.mktemp("split2meta")
    found = tiny_settings({})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        catalog.prepare("digits", None, paths.images("digits"), RAW, [])
        sequences.build(found.sequence("s"), {"digits": paths.images("digits")}, paths.tasks("s"))
        for experiment in (found.experiment(name) for name in ("nsp", "meta")):
            for seed in experiment.seeds:
                for task in experiment.tasks:
                    for stage in stages_of(experiment, task):
                        run_stage(experiment, seed, task, stage)
                evaluate(experiment, seed)
    return folder


def rows_of(name: str) -> list[dict[str, str]]:
    with open(paths.report(name, "csv")) as handle:
        return list(csv.DictReader(handle))


def test_accuracy_at_equal_forgetting_by_hand() -> None:
    curve = [(-4.0, 90.0), (-1.0, 80.0), (-2.0, 86.0)]
    assert matched.at_equal_forgetting(curve, -3.0) == pytest.approx(88)
    assert matched.at_equal_forgetting(curve, -1.0) == pytest.approx(80)
    assert matched.at_equal_forgetting(curve, -1.25) == pytest.approx(81.5)
    assert matched.at_equal_forgetting(curve, -0.5) is None
    assert matched.at_equal_forgetting(curve, -4.5) is None


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([2.0, 3.0, 2.5], "ahead"),
        ([-2.0, -3.0, -2.5], "behind"),
        ([2.0, -1.0, 1.5], "undecided"),
        ([5.0, 5.1], "not judged"),
    ],
)
def test_verdicts(differences: list[float], verdict: str) -> None:
    assert matched.judged(differences) == verdict


def test_meta_path_meets_the_learnt_fusion_at_the_mean_of_its_weights() -> None:
    """And is the linear path where all weights are equal (reading M22)."""
    slow, fast, share = torch.randn(5), torch.randn(5), torch.rand(5)
    mean = share.mean().item()
    learnt = fuse_weights({"w": slow}, {"w": fast}, {"w": share})["w"]
    torch.testing.assert_close(fusion_gap.on_meta_path(slow, fast, share, mean, mean), learnt)
    flat = torch.full((5,), 0.3)
    torch.testing.assert_close(fusion_gap.on_meta_path(slow, fast, flat, 0.3, 0.8), 0.8 * slow + 0.2 * fast)


def test_matched_report(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two settings of a reference with known scores, and one curve between them, seed by seed."""
    monkeypatch.chdir(written)
    parts = {"P": {"curves": {"NSP": ["a", "b"], "TPNSP": ["c"]}, "pairs": {"claim": ["c", "a"]}}}
    entry = {"kind": "matched-forgetting", "title": "T", "options": {"parts": parts}}
    found = tiny_settings({"m": entry | {"experiments": {"a": "nsp", "b": "nsp", "c": "meta"}}})
    draw_report(found, "r/m")
    rows = rows_of("r/m")
    of_seeds = {(r["row"], r["metric"], r["seed"]): float(r["mean"]) for r in rows if r["seed"]}
    for label, seed in [(x, s) for x in "abc" for s in "01"]:
        last = read_result(paths.scores({"c": "meta"}.get(label, "nsp"), int(seed)))["test"]["task_incremental"]
        assert of_seeds[label, "acc", seed] == pytest.approx(100 * sum(last[2]) / 3, abs=1e-3)
        bwt = 50 * sum(last[2][j] - last[j][j] for j in range(2))
        assert of_seeds[label, "bwt", seed] == pytest.approx(bwt, abs=1e-3)
    for row in rows:
        if not row["seed"] and row["metric"] in ("acc", "bwt"):
            both = [of_seeds[row["row"], row["metric"], seed] for seed in "01"]
            assert float(row["mean"]) == pytest.approx(sum(both) / 2, abs=1e-3)
            assert float(row["deviation"]) == pytest.approx(abs(both[0] - both[1]) / math.sqrt(2), abs=1e-3)
    (claim,) = (r for r in rows if r["row"] == "claim" and r["metric"] == "acc_difference")
    differences = [of_seeds["c", "acc", seed] - of_seeds["a", "acc", seed] for seed in "01"]
    assert float(claim["mean"]) == pytest.approx(sum(differences) / 2, abs=1e-3)
    assert claim["verdict"] == matched.judged(differences)
    assert paths.report("r/m", "png").stat().st_size > 1000
    text = paths.report("r/m", "md").read_text()
    assert "claim: c against a" in text
    wrong = tiny_settings({"m": entry | {"experiments": {"a": "nsp", "b": "nsp"}}})
    with pytest.raises(UserError, match=r"reports\.r\.m: no experiment is labelled 'c'"):
        draw_report(wrong, "r/m")


def test_matched_differences_are_of_the_same_seed() -> None:
    """Reference of seed 0 at (-4, 90) and (0, 80), of seed 1 ten points lower; the other at BWT -2 with 87 and 78."""
    points = {
        "a": {0: (-4.0, 90.0), 1: (-4.0, 80.0)},
        "b": {0: (0.0, 80.0), 1: (0.0, 70.0)},
        "c": {0: (-2.0, 87.0), 1: (-2.0, 78.0)},
    }
    part = MatchedPart.model_validate({"curves": {"NSP": ["a", "b"], "TPNSP": ["c"]}})
    text, _, of_seeds = matched._part("P", part, points)
    leads = [(row["row"], row["seed"], row["mean"]) for row in of_seeds if row["metric"] == "lead"]
    assert leads == [("c", 0, pytest.approx(2)), ("c", 1, pytest.approx(3))]
    assert "+2.50 ± 0.71 (n = 2)" in text
    assert "not judged" in text


def test_fusion_gap_report(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At alpha 1 and 0 the losses are the slow and the fast model's; meta is there where there are weights."""
    monkeypatch.chdir(written)
    entry = {"kind": "fusion-gap", "title": "T", "experiments": {"Meta": "meta"}, "options": {"points": 3}}
    found = tiny_settings({"g": entry})
    draw_report(found, "r/g")
    gaps, rows = ([row for row in rows_of("r/g") if bool(row["metric"]) == told] for told in (True, False))
    assert [(row["row"], row["metric"], row["n"]) for row in gaps] == [("Meta", "gap_old", "2"), ("Meta", "gap_new", "2")]
    at = {(r["seed"], r["task"], float(r["alpha"])): float(r["old_loss"]) for r in rows if r["path"] == "linear"}
    by_seed = [
        sum(at[seed, task, middle] - at[seed, task, 1.0] for task, middle in (("2", 0.5), ("3", 0.6667))) / 2
        for seed in "01"
    ]
    assert float(gaps[0]["mean"]) == pytest.approx(sum(by_seed) / 2, abs=3e-4)
    assert format_value("gap_old", 0.5, 0.25, 3) == "+0.500 ± 0.250"
    assert {row["path"] for row in rows} == {"linear", "meta"}
    # Three points and 1 - 1/t on the linear path (1/2 is one of them for the second task), three and the mean on the other.
    assert len(rows) == 2 * (3 + 4 + 4 + 4)
    for row in rows:
        assert math.isfinite(float(row["old_loss"]) + float(row["new_loss"]))
    first = paths.report("r/g", "png").read_bytes()
    draw_report(found, "r/g")
    assert paths.report("r/g", "png").read_bytes() == first
    with pytest.raises(UserError, match="nsp"):
        tiny_settings({"g": entry | {"experiments": {"NSP": "nsp"}}})


def test_landscape_plane_holds_its_three_models() -> None:
    """At their places the plane's weights are theirs, distances are filter-normalised and do not see a filter's scale."""
    random = torch.Generator().manual_seed(0)
    reference, old, slow, fast = (
        {"w": torch.randn(4, 3, 2, 2, generator=random), "v.running_var": torch.rand(4, generator=random)} for _ in range(4)
    )
    plane = landscape.Plane(old, slow, fast, reference)
    for model in (old, slow, fast):
        x, y, off = plane.place(model)
        assert off == pytest.approx(0, abs=1e-6)
        for name, tensor in plane.weights(x, y).items():
            torch.testing.assert_close(tensor, model[name], atol=1e-5, rtol=1e-5)
    by_filter = (slow["w"] - old["w"]).flatten(1).norm(dim=1) / reference["w"].flatten(1).norm(dim=1)
    assert plane.place(slow)[:2] == pytest.approx((by_filter.norm().item(), 0), abs=1e-5)
    scale = torch.tensor([0.1, 1, 10, 3]).view(4, 1, 1, 1)
    scaled = [one | {"w": one["w"] * scale} for one in (old, slow, fast, reference)]
    assert landscape.Plane(*scaled).place(scaled[2]) == pytest.approx(plane.place(fast), abs=1e-5)
    assert (plane.weights(9.0, -9.0)["v.running_var"] >= 0).all()


def test_landscape_report(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss at a model's place is its own, on the last two tasks' validation images."""
    monkeypatch.chdir(written)
    entry = {"kind": "loss-landscape", "title": "T", "experiments": {"Meta": "meta"}, "options": {"points": 2}}
    found = tiny_settings({"l": entry})
    draw_report(found, "r/l")
    rows = rows_of("r/l")
    assert [row["model"] for row in rows] == ["old", "slow", "fast", "fused", "", "", "", ""]
    experiment = found.experiment("meta")
    network = new_network(experiment, (1, 8, 8), Classes((2, 2, 2)), 0)
    network.load_state_dict(read_state(paths.state("meta", 0, 2, "fuse"))["network"])
    for task, key in ((1, "old_loss"), (2, "new_loss")):
        split = load_task(paths.images("digits"), paths.tasks("s"), task).validation
        images, targets = split.batch(torch.arange(len(split)))
        loss = torch.nn.functional.cross_entropy(network(images, task), targets).item()
        assert float(rows[3][key]) == pytest.approx(loss, rel=1e-4)
    assert paths.report("r/l", "png").stat().st_size > 1000


def test_dream_sheet(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)
    entry = {"kind": "dream-sheet", "title": "T", "experiments": {"Meta": "meta"}}
    found = tiny_settings({"d": entry})
    draw_report(found, "r/d")
    rows = rows_of("r/d")
    assert [row["task"] for row in rows] == ["1", "2", "3"]
    assert all(int(row["bytes"]) == 4 * 64 + 4 * 2 * 4 for row in rows)
    linear = tiny_settings({"d": entry | {"experiments": {"Linear": "linear"}}})
    with pytest.raises(UserError, match="linear makes no dreams"):
        draw_report(linear, "r/d")


def test_a_state_names_what_it_adds_to(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the task before left, `project` says which file is missing."""
    monkeypatch.chdir(written)
    experiment = tiny_settings({}).experiment("nsp")
    place = paths.state("nsp", 0, 0, "project")
    away = place.with_suffix(".away")
    place.rename(away)
    try:
        with pytest.raises(UserError, match="task-0/project"):
            run_stage(experiment, 0, 1, "project")
    finally:
        away.rename(place)
