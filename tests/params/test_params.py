"""params.yaml: what fits is resolved, what does not is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.project import ROOT, TINY

from lifelong.params import load, settings
from lifelong.params.methods import shipped_methods
from lifelong.params.networks import MlpNetwork
from lifelong.runtime.errors import UserError, did_you_mean


def with_change(path: str, value: Any) -> dict[str, Any]:
    """The tiny params with one key set; `path` is dotted."""
    written = yaml.safe_load(TINY)
    *parents, last = path.split(".")
    section = written
    for part in parents:
        section = section[part]
    section[last] = value
    return written


def sweep(*experiments: str) -> dict[str, Any]:
    """A report that sweeps the strength over one series."""
    options = {"parameter": "options.strength", "label": "Strength"}
    return {"kind": "sweep", "title": "x", "experiments": {"X": list(experiments)}, "options": options}


def test_a_label_stands_for_one_experiment_or_a_series() -> None:
    series = settings(with_change("reports.digits.f", sweep("split-digits-ewc", "split-digits-anpyc"))).report("digits/f")
    assert series.experiments == {"X": ("split-digits-ewc", "split-digits-anpyc")}
    single = settings(yaml.safe_load(TINY)).report("digits/comparison")
    assert single.experiments["EWC"] == ("split-digits-ewc",)
    assert single.single()["EWC"] == "split-digits-ewc"


def test_the_shipped_params_fit() -> None:
    found = load(ROOT / "params.yaml")
    assert {experiment.method_name for experiment in found.experiments.values()} == set(shipped_methods())
    anpyc = found.experiment("split-mnist-anpyc-released")
    assert isinstance(anpyc.network, MlpNetwork)
    assert anpyc.network.hidden == [512, 256]
    assert anpyc.seeds == tuple(range(10))
    assert anpyc.heads == "per-task"
    assert found.experiment("split-mnist-sgd-released").heads == "shared"


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("experiments.split-digits-ewc.methd", "ewc", ["experiments.split-digits-ewc.methd", "unknown key", "'method'"]),
        ("sequences.split-digits.task", 2, ["sequences.split-digits.task: unknown key", "Did you mean 'tasks'?"]),
        ("sequencess", {}, ["sequencess: unknown key", "Did you mean 'sequences'?"]),
        ("training.digits.epochs", "3", ["training.digits.epochs", "found '3'", "a whole number; write it without quotes"]),
        ("training.digits.epochs", 0, ["training.digits.epochs", "found 0", "greater than or equal to 1"]),
        ("training.digits.learning_rate", -1, ["training.digits.learning_rate", "-1", "greater than 0"]),
        ("networks.mlp-256-128.dropout", 1.0, ["networks.mlp-256-128.dropout", "less than 1"]),
        ("networks.mlp-256-128.kind", "mlpp", ["networks.mlp-256-128.kind", "'mlpp'", "Did you mean 'mlp'?"]),
        ("networks.mlp-256-128.hiden", [3], ["networks.mlp-256-128.hiden: unknown key", "Did you mean 'hidden'?"]),
        (
            "networks.mlp-256-128.dropout",
            [0.5],
            ["networks.mlp-256-128", "'dropout' has 1 shares; expected one"],
        ),
        ("reports.digits.comparison.kind", "comparisn", ["reports.digits.comparison.kind", "Did you mean 'comparison'?"]),
        ("training.digits.optimiser", "adm", ["training.digits.optimiser", "Did you mean 'adam'?"]),
        ("training.digits.decay_every", None, ["training.digits: a decay factor needs 'decay_every' or 'milestones'"]),
        ("networks.mlp-256-128.initialisation", "normal", ["found 'normal'", "Did you mean 'truncated-normal'?"]),
        ("sequences.split-digits.dataset", "minst", ["sequences.split-digits.dataset", "'minst'", "Did you mean 'mnist'?"]),
        ("sequences.split-digits.tasks", 6, ["sequences.split-digits", "6 tasks of 2 classes need 12"]),
        ("sequences.split-digits.permutation", "released", ["sequences.split-digits.permutation: unknown key"]),
        ("sequences.split-digits.validation", {}, ["exactly one of 'first'", "'fraction'"]),
        ("experiments.split-digits-ewc.method", "ewcc", ["experiments.split-digits-ewc.method", "Did you mean 'ewc'?"]),
        ("experiments.split-digits-ewc.sequence", "split-digit", ["Did you mean 'split-digits'?"]),
        ("experiments.split-digits-ewc.options", {}, ["experiments.split-digits-ewc.options.strength: this key is missing"]),
        ("experiments.split-digits-ewc.options", {"strength": -1}, ["options.strength", "greater than or equal to 0"]),
        ("experiments.split-digits-sgd.heads", "per-task", ["'per-task' does not fit method 'sgd'", "all-classes, shared"]),
        ("experiments.split-digits-sgd.seeds", [1, 1], ["experiments.split-digits-sgd.seeds", "[1, 1]"]),
        ("experiments.split-digits-sgd.seeds", [3], ["experiments.split-digits-sgd.joint", "lacks seeds [3]"]),
        ("experiments.split-digits-sgd.joint", "split-digits-ewc", ["method 'ewc'", "joint learner"]),
        ("experiments.a/b", {}, ["a/b", "a name is made of letters"]),
        (
            "experiments.split-digits-anpyc.options",
            {"strength": 1, "prune_percent": 15},
            ["experiments.split-digits-anpyc.options", "'prune_percent' goes with 'pruning: constant'"],
        ),
        ("reports.digits.comparison.experiments", {"X": "split-digit-ewc"}, ["reports.digits.comparison.experiments.X"]),
        (
            "reports.digits.comparison.experiments",
            {"X": ["split-digits-ewc", "split-digits-sgd"]},
            ["reports.digits.comparison.experiments.X: found 2 experiments", "'comparison' has one a label"],
        ),
        (
            "reports.digits.comparison.experiments",
            {"X": []},
            ["reports.digits.comparison.experiments.X: found 0 experiments"],
        ),
        ("reports.digits.comparison.experiments", {}, ["comparison.experiments: found 0", "some, by label"]),
        (
            "reports.digits.comparison.options",
            {"printed": "anpyc-table-9"},
            ["no printed 'anpyc-table-9'", "anpyc-table-1"],
        ),
        (
            "reports.digits.comparison.options",
            {"scale": "smaller", "full_scale": ["ANPYC"]},
            ["reports.digits.comparison.options.full_scale: 'ANPYC'", "Did you mean 'ANPyC'"],
        ),
        (
            "reports.digits.comparison.kind",
            "importance-density",
            ["experiments.SGD: 'split-digits-sgd' has method 'sgd'", "'importance-density' works with anpyc"],
        ),
        (
            "reports.digits.f",
            {"kind": "page", "title": "x", "experiments": {"X": "split-digits-ewc"}, "options": {"template": "anpyc"}},
            ["reports.digits.f.experiments: found 1", "none"],
        ),
        (
            "reports.digits.f",
            {
                "kind": "parameter-growth",
                "title": "x",
                "options": {"network": "mlp-256", "image_shape": [1, 8, 8], "classes_per_task": 2, "tasks": 3},
            },
            ["reports.digits.f.options.network: 'mlp-256' is unknown", "'mlp-256-128'"],
        ),
        (
            "reports.digits.f",
            sweep("split-digits-ewc", "split-digits-joint"),
            ["f.options.parameter", "'split-digits-joint'"],
        ),
        ("reports.digits.f", sweep("split-digits-ewc", "split-digits-ewc"), ["f.experiments.X", "strength = 5.0; keep one"]),
        ("datasets", {"mnist": {"path": "x", "image_size": 8}}, ["datasets.mnist", "built-in"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(path: str, value: Any, parts: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        settings(with_change(path, value))
    for part in parts:
        assert part in str(refused.value)


def test_a_method_that_does_not_know_the_network_is_refused() -> None:
    written = with_change("experiments.split-digits-sgd-f.method", "xdg")
    written["networks"]["mlp-256-128"] = {"kind": "lenet", "initialisation": "uniform-fan-in"}
    with pytest.raises(UserError, match=r"'mlp-256-128' is of kind 'lenet'; method 'xdg' works with mlp"):
        settings(written)


def test_all_faults_are_listed_at_once() -> None:
    written = with_change("training.digits.epochs", 0)
    written["networks"]["mlp-256-128"]["hiden"] = [1]
    with pytest.raises(UserError, match=r"(?s)training\.digits\.epochs.*networks|networks.*training\.digits\.epochs"):
        settings(written)


def test_of_many_names_the_nearest_are_shown() -> None:
    assert did_you_mean("b", ["a", "c"]) == "allowed: a, c."
    said = did_you_mean("split-mnst-7", [f"split-mnist-{number}" for number in range(300)])
    assert "split-mnist-7, " in said
    assert said.endswith(" and 294 more. Did you mean 'split-mnist-7'?")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TINY + "\nreports: {}\n")
    with pytest.raises(UserError, match=r"line 68: reports: 'reports' is given twice, first in line 46; keep one"):
        load(path)


def included(tmp_path: Path, text: str) -> Path:
    """A params.yaml that includes params/more.yaml with this text."""
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "more.yaml").write_text(text)
    path = tmp_path / "params.yaml"
    path.write_text("include: [params/more.yaml]\n" + TINY)
    return path


def test_included_files_add_to_the_sections(tmp_path: Path) -> None:
    slow = "training: {slow: {learning_rate: 0.01, batch_size: 32, epochs: 1}}"
    other = "reports: {digits: {other: {title: x, experiments: {A: split-digits-ewc}}}}"
    found = load(included(tmp_path, f"{slow}\n{other}"))
    assert set(found.reports) >= {"digits/other", "digits/comparison"}
    assert found.experiments == settings(yaml.safe_load(TINY)).experiments


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training: {digits: {}}", ["more.yaml, line 1: training.digits: ", "params.yaml, line 9 has this key already"]),
        (
            "reports: {digits: {comparison: {}}}",
            ["more.yaml, line 1: reports.digits.comparison: ", "params.yaml, line 58 has this key already"],
        ),
        ("training: {slow: {epochs: x}}", ["more.yaml, line 1: training.slow.epochs: found 'x'"]),
        ("reports: {digits: {other: {title: x, experiments: {A: ewc}}}}", ["more.yaml, line 1: reports.digits.other"]),
        ("trainings: {}", ["more.yaml, line 1: trainings: unknown key", "Did you mean 'training'?"]),
        ("include: [third.yaml]", ["more.yaml: include: an included file includes nothing"]),
        ("- training", ["more.yaml: found a list; expected sections"]),
    ],
)
def test_a_fault_names_the_file_it_is_in(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        load(included(tmp_path, text))
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("written", ["params/absent.yaml", "[params/absent.yaml]"])
def test_what_is_included_must_be_a_list_of_files(tmp_path: Path, written: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"include: {written}\n" + TINY)
    with pytest.raises(UserError, match=r"absent\.yaml"):
        load(path)


def test_a_number_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TINY.replace("learning_rate: 0.05", "learning_rate: 5e-2"))
    assert load(path).experiment("split-digits-ewc").training.learning_rate == 0.05


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: no such file"):
        load(tmp_path / "params.yaml")


def test_names_and_seeds_do_not_change_what_a_result_depends_on() -> None:
    one = settings(yaml.safe_load(TINY)).experiment("split-digits-ewc")
    other = settings(with_change("experiments.split-digits-ewc.seeds", [5])).experiment("split-digits-ewc")
    assert one.parameters() == other.parameters()
    changed = settings(with_change("experiments.split-digits-ewc.options", {"strength": 1})).experiment("split-digits-ewc")
    assert one.parameters() != changed.parameters()
