"""The files of parameters: `like`, `sweep`, what they refuse, and how the shipped ones are written."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support.project import ROOT, TINY, Project

from lifelong.cli import cli
from lifelong.params import Settings, load, settings
from lifelong.params.datasets import DenseFolder, Folder
from lifelong.params.files import Written
from lifelong.params.inheritance import merge_entries
from lifelong.params.sequences import Split
from lifelong.runtime.errors import UserError
from lifelong.runtime.timings import Timings

FILES = [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))]


def written(tmp_path: Path, experiments: str = "", rest: str = "") -> Path:
    """The tiny params with further experiments at the end of that section, and text behind everything."""
    path = tmp_path / "params.yaml"
    path.write_text(TINY.replace("\nreports:\n", f"\n{experiments}\nreports:\n", 1) + rest)
    return path


def loaded(tmp_path: Path, experiments: str = "", rest: str = "") -> Settings:
    return load(written(tmp_path, experiments, rest))


def line_of(text: str) -> int:
    """The line of the tiny params that this text stands in."""
    return TINY[: TINY.index(text)].count("\n") + 1


def refusal(tmp_path: Path, experiments: str = "", rest: str = "") -> str:
    with pytest.raises(UserError) as refused:
        loaded(tmp_path, experiments, rest)
    return str(refused.value).replace(f"{tmp_path}/", "")


LINE = line_of("\nreports:\n") + 1  # of the first further experiment


# Like


def test_mappings_are_merged_key_by_key_and_all_else_is_replaced(tmp_path: Path) -> None:
    more = "  again: {like: split-digits-split2meta, options: {dreams: {images: 7}, fast_epochs: 3}, seeds: [4]}\n"
    found = loaded(tmp_path, more)
    first, again = (found.experiment(name) for name in ("split-digits-split2meta", "again"))
    expected = first.options.model_dump()
    expected["dreams"]["images"] = 7
    expected["fast_epochs"] = 3
    assert expected["dreams"]["iterations"] == 2
    assert again.options.model_dump() == expected
    assert again.seeds == (4,)
    assert first.seeds == (0,)
    assert again.sequence_name == "split-digits"


@pytest.mark.parametrize(
    ("inherited", "own", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}}, {"b": {"d": 2}}),
        # Another kind, or the first that is written, inherits nothing; the same kind is merged.
        ({"f": {"kind": "meta", "steps": 9}}, {"f": {"kind": "linear"}}, {"f": {"kind": "linear"}}),
        (
            {"f": {"kind": "meta", "steps": 9}},
            {"f": {"kind": "meta", "per": 1}},
            {"f": {"kind": "meta", "steps": 9, "per": 1}},
        ),
        ({"s": {"threshold": 1}}, {"s": {"kind": "tpnsp"}}, {"s": {"kind": "tpnsp"}}),
        ({"f": {"kind": "meta", "steps": 9}}, {"f": {"steps": 8}}, {"f": {"kind": "meta", "steps": 8}}),
        # Another method has options and a grid of its own, and nothing else.
        (
            {"method": "si", "options": {"strength": 1}, "grid": {"seeds": 2}, "seeds": 3},
            {"method": "ewc", "options": {"fisher": "exact"}},
            {"method": "ewc", "options": {"fisher": "exact"}, "seeds": 3},
        ),
        (
            {"method": "si", "options": {"a": 1}},
            {"method": "si", "options": {"b": 2}},
            {"method": "si", "options": {"a": 1, "b": 2}},
        ),
        ({"method": "si", "options": {"a": 1}}, {"method": "ewc", "options": None}, {"method": "ewc"}),
    ],
)
def test_what_is_given_over_what_is_inherited(inherited: dict, own: dict, expected: dict) -> None:
    before = yaml.safe_dump(inherited)
    assert merge_entries(inherited, own) == expected
    assert yaml.safe_dump(inherited) == before


def test_entries_start_from_one_another_across_files_and_sections(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(
        "experiments:\n  c: {like: b, seeds: 3}\n  b: {like: split-digits-sgd, joint: ~, network: wide, training: slow}\n"
        "networks: {wide: {like: mlp-256-128, hidden: [32]}}\n"
        "training: {slow: {like: digits, epochs: 9}}\n"
        "sequences: {one: {like: split-digits, tasks: 1}}\n"
        "datasets: {x: {path: a.tar, image_size: 8}, y: {like: x, channels: grey},"
        " d: {path: d, layout: voc, classes: 4, height: 8, width: 8}, e: {like: d, width: 9}}\n"
        "backbones: {r: {kind: random, image_size: 8, widths: [4]}, q: {like: r, image_size: 9}}\n"
    )
    path = written(tmp_path)
    path.write_text(f"include: [more.yaml]\n{path.read_text()}")
    found = load(path)
    last = found.experiment("c")
    assert (last.seeds, last.joint, last.method_name) == ((0, 1, 2), None, "sgd")
    assert last.network.model_dump()["hidden"] == [32]
    assert last.network.model_dump()["dropout"] == 0.5
    assert (last.training.epochs, last.training.learning_rate) == (9, 0.05)
    one, grey, wide = found.sequence("one"), found.datasets["y"], found.datasets["e"]
    assert isinstance(one, Split) and (one.tasks, one.classes_per_task) == (1, 2)
    assert isinstance(grey, Folder) and (grey.path, grey.channels) == ("a.tar", "grey")
    assert isinstance(wide, DenseFolder) and (wide.width, wide.height) == (9, 8)
    assert found.skill.backbones["q"].image_size == 9


@pytest.mark.parametrize(
    ("experiments", "expected"),
    [
        (
            "  a: {like: split-digits-egc}\n",
            ["params.yaml, line {n}: experiments.a.like: 'split-digits-egc' is unknown", "Did you mean 'split-digits-ewc'?"],
        ),
        (
            "  a: {like: b}\n  b: {like: c}\n  c: {like: a}\n",
            ["experiments.a.like: a -> b -> c -> a is a circle; write one of them without 'like'"],
        ),
        ("  a: {like: a}\n", ["params.yaml, line {n}: experiments.a.like: a -> a is a circle"]),
        ("  a: {like: [b]}\n", ["experiments.a.like: found ['b']; expected the name of one other entry of 'experiments'"]),
        (
            "  a: {like: split-digits-sgd, jiont: ~}\n",
            ["experiments.a.jiont: found null, which takes an inherited key away", "Did you mean 'joint'?"],
        ),
        (
            "  a: {like: split-digits-split2meta, options: {fusion: {step: ~}}}\n",
            ["experiments.a.options.fusion.step: found null", "Did you mean 'steps'?"],
        ),
        (
            "  a: {like: split-digits-ewc, options: {strenth: 1}}\n",
            ["params.yaml, line {n}: experiments.a.options.strenth: unknown key; ", "Did you mean 'strength'?"],
        ),
        ("  a: {<<: {seeds: 1}}\n", ["params.yaml, line {n}: experiments.a.<<: '<<' is not used here; write 'like: NAME'"]),
    ],
)
def test_what_no_entry_can_start_from_is_refused(tmp_path: Path, experiments: str, expected: list[str]) -> None:
    said = refusal(tmp_path, experiments)
    for part in expected:
        assert part.replace("{n}", str(LINE)) in said


def test_an_entry_of_another_kind_cannot_be_like_one() -> None:
    params = yaml.safe_load(TINY)
    params["networks"]["a"] = {"like": "mlp-256-128", "kind": "lenet"}
    with pytest.raises(UserError, match=r"networks\.a\.kind: found 'lenet'; 'mlp-256-128' has 'mlp', .* without 'like'"):
        settings(params)


# Sweep

SWEPT = "  x: {like: split-digits-ewc, seeds: 2, sweep: {options.strength: [1e-4, 1e+2, 0.50]}}\n"


def test_a_sweep_makes_variants_named_as_their_values_are_written(tmp_path: Path) -> None:
    found = loaded(tmp_path, SWEPT)
    names = ["x@1e-4", "x@1e+2", "x@0.50"]
    assert [name for name in found.experiments if name.startswith("x")] == names
    options = [found.experiment(name).options.model_dump() for name in names]
    assert [o["strength"] for o in options] == [0.0001, 100.0, 0.5]
    assert {found.experiment(name).seeds for name in names} == {(0, 1)}
    with pytest.raises(UserError, match=r"'x' is swept and no experiment itself; its variants: x@1e-4, x@1e\+2, x@0\.50"):
        found.experiment("x")


def test_several_keys_make_every_combination(tmp_path: Path) -> None:
    sweep = "sweep: {seeds: {few: [3], 8: [5, 6]}, options.fisher_batch: [1, 2]}"
    found = loaded(tmp_path, f"  x: {{like: split-digits-ewc, {sweep}}}\n")
    names = ["x@few@1", "x@few@2", "x@8@1", "x@8@2"]
    assert [name for name in found.experiments if name.startswith("x")] == names
    assert [found.experiment(name).seeds for name in names] == [(3,), (3,), (5, 6), (5, 6)]
    assert [found.experiment(name).options.model_dump()["fisher_batch"] for name in names] == [1, 2, 1, 2]


def test_others_may_be_like_what_is_swept_or_like_a_variant(tmp_path: Path) -> None:
    more = SWEPT + "  y: {like: x, options: {strength: 7}}\n  z: {like: x@1e+2, seeds: 1}\n"
    found = loaded(tmp_path, more)
    assert found.experiment("y").options.model_dump()["strength"] == 7
    assert found.experiment("y").seeds == (0, 1)
    assert found.experiment("z").options.model_dump()["strength"] == 100
    assert not any(name.startswith(("y@", "z@")) for name in found.experiments)


def test_a_variant_has_a_grid_and_candidates_of_its_own(tmp_path: Path) -> None:
    grid = "options: ~, grid: {options: {strength: [1, 2]}}"
    found = loaded(tmp_path, f"  x: {{like: split-digits-ewc, {grid}, sweep: {{seeds: [1, 2]}}}}\n")
    assert found.experiment("x@2").candidates == ("x@2_grid-0", "x@2_grid-1")
    assert found.experiment("x@2_grid-1").options.model_dump()["strength"] == 2


def test_a_report_of_series_takes_a_sweep_for_all_its_variants(tmp_path: Path) -> None:
    options = "options: {parameter: options.strength, label: S}"
    report = f"  s: {{f: {{kind: sweep, title: t, experiments: {{X: x, Y: [split-digits-ewc, x]}}, {options}}}}}\n"
    found = loaded(tmp_path, SWEPT, report).report("s/f").experiments
    variants = ("x@1e-4", "x@1e+2", "x@0.50")
    assert found == {"X": variants, "Y": ("split-digits-ewc", *variants)}
    one = "  s: {f: {title: t, experiments: {X: x@1e+2}}}\n"
    assert loaded(tmp_path, SWEPT, one).report("s/f").experiments == {"X": ("x@1e+2",)}
    swept = "  s: {f: {title: t, experiments: {X: x}}}\n"
    said = refusal(tmp_path, SWEPT, swept)
    assert (
        "reports.s.f.experiments.X: 'x' is swept and no experiment itself; name one of its variants: x@1e-4, x@1e+2" in said
    )


@pytest.mark.parametrize(
    ("experiments", "expected"),
    [
        (SWEPT + "  x@1e-4: {like: split-digits-sgd}\n", "experiments.x.sweep: makes 'x@1e-4', as does experiments.x@1e-4;"),
        (
            "  x: {like: split-digits-ewc, sweep: {seeds: [1], options.strength: [2]}}\n"
            "  x@1: {like: split-digits-ewc, sweep: {options.strength: [2]}}\n",
            "experiments.x@1.sweep: makes 'x@1@2', as does experiments.x.sweep; rename one of the two",
        ),
        (
            "  x: {like: split-digits-ewc, options: ~, grid: {options: {strength: [1]}}}\n"
            "  x_grid-0: {like: split-digits-sgd}\n",
            "experiments.x.grid: makes 'x_grid-0', as does experiments.x_grid-0; rename one of the two",
        ),
        (
            "  x: {like: split-digits-ewc, options: ~, grid: {options: {strength: [1]}}, sweep: {seeds: [1]}}\n"
            "  x@1_grid-0: {like: split-digits-sgd}\n",
            "line {n}: experiments.x@1.grid: makes 'x@1_grid-0', as does experiments.x@1_grid-0;",
        ),
        ("  x: {like: split-digits-ewc, sweep: [1]}\n", "line {n}: experiments.x.sweep: found [1]; expected values by key"),
        ("  x: {like: split-digits-ewc, sweep: {}}\n", "experiments.x.sweep: found {}; expected values by key"),
        ("  x: {like: split-digits-ewc, sweep: {seeds: []}}\n", "experiments.x.sweep.seeds: found []; expected a list"),
        ("  x: {like: split-digits-ewc, sweep: {seeds: 3}}\n", "experiments.x.sweep.seeds: found 3; expected a list"),
        (
            "  x: {like: split-digits-ewc, sweep: {seeds: [[1], [2]]}}\n",
            "experiments.x.sweep.seeds: found a list or mapping as a value; name each of them: {LABEL: value, ...}",
        ),
        (
            "  x: {like: split-digits-ewc, sweep: {seeds: {a/b: 1}}}\n",
            "experiments.x.sweep.seeds: 'a/b' would be part of a name",
        ),
        (
            "  x: {like: split-digits-ewc, sweep: {seeds: [1, 1]}}\n",
            "line {n}: experiments.x.sweep.seeds.1: '1' is given twice",
        ),
        (
            "  x: {like: split-digits-ewc, sweep: {options.strength.a: [1]}}\n",
            "experiments.x.sweep.options.strength.a: 'strength' is 5 and has no keys",
        ),
        ("  x: {like: split-digits-ewc, sweep: {like: [a]}}\n", "experiments.x.sweep.like: 'like' cannot be swept"),
        (
            "  x: {like: split-digits-ewc, sweep: {options.strenth: [0.5]}}\n",
            "params.yaml, line {n}: experiments.x@0.5.options.strenth: unknown key",
        ),
        ("  y: {like: x@3}\n" + SWEPT, "experiments.y.like: 'x@3' is unknown; allowed: "),
        (SWEPT.replace("like: split-digits-ewc", "like: x@1e+2"), "experiments.x.like: x -> x@1e+2 -> x is a circle"),
    ],
)
def test_a_sweep_that_makes_no_experiments_is_refused(tmp_path: Path, experiments: str, expected: str) -> None:
    assert expected.replace("{n}", str(LINE)) in refusal(tmp_path, experiments)


def test_variants_are_targets_of_the_graph(tmp_path: Path) -> None:
    swept = TINY.replace("\nreports:\n", f"\n{SWEPT}\nreports:\n", 1)
    planned = Project(tmp_path, swept).planned("results/x@1e+2/summary.json", "results/.tracked/x@0.50.json")
    assert {"results/x@1e+2/seed-1/task-1/learn.safetensors", "results/x@0.50/summary.json"} <= {
        path for line in planned for path in line.split()
    }
    assert not any("x@1e-4" in line for line in planned)


# What no file may say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n  x: 1\n  y: 2\n  x: 3\n",
            "p.yaml, line 4: a.x: 'x' is given twice, first in line 2; keep one, or put what both say under one of them",
        ),
        (
            "experiments: {}\nb: 1\nexperiments: {}\n",
            "p.yaml, line 3: experiments: 'experiments' is given twice, first in line 1",
        ),
        ("a: {b: [1, .inf]}\n", "p.yaml, line 1: a.b.1: found .inf; expected a finite number"),
        ("a:\n  b: -.INF\n", "p.yaml, line 2: a.b: found -.INF; expected a finite number"),
        ("a: .nan\n", "p.yaml, line 1: a: found .nan; expected a finite number"),
        ("a: 1e999\n", "p.yaml, line 1: a: found 1e999; expected a finite number"),
        (
            "a:\n\tb: 1\n",
            "p.yaml, line 2: found a tab at the start of the line; expected spaces; put two spaces for each tab",
        ),
        ("a: [1\nb: 2\n", "p.yaml, line 2: not valid YAML: "),
        ("a: &x {b: *x}\n", "p.yaml, line 1: a.b: found an anchor that holds itself"),
        ("a: {[1]: 2}\n", "p.yaml, line 1: a: found a list or mapping as a key"),
        ("a: !!python/object:os.system x\n", "p.yaml, line 1: not valid YAML: could not determine a constructor"),
        ("", "p.yaml: found nothing; expected sections"),
        ("3\n", "p.yaml: found a value; expected sections"),
        ("a: 1\nb: \x01\n", "p.yaml, line 2: found the character '\\x01'; expected text"),
        (
            "# x\nexperiments:\n  - a\n",
            "p.yaml, line 2: experiments: found a list; expected entries by name; write 'NAME: ...' in its place",
        ),
        ("reports: {digits: [1]}\n", "p.yaml, line 1: reports.digits: found a list; expected entries by name"),
        ("collectives: 3\n", "p.yaml, line 1: collectives: found 3; expected entries by name"),
        ("training:\n", "p.yaml, line 1: training: found nothing; expected entries by name; write 'NAME: ...' for each"),
    ],
)
def test_what_yaml_lets_pass_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        Written(path)
    assert str(refused.value).replace(f"{tmp_path}/", "").startswith(expected)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes("a: 1\nb: Grün\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"p\.yaml, line 2: found the byte 0xfc; expected UTF-8; save the file as UTF-8"):
        Written(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        Written(tmp_path)


def test_a_byte_order_mark_and_other_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbftraining:\r\n  a: {x: 1e-3, y: 1E5}\r\n")
    assert Written(path).values == {"training": {"a": {"x": 0.001, "y": 100000.0}}}
    assert Written(path).place_of("training.a.x") == f"{path}, line 2"


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("0", ["found 0; expected a number greater than or equal to 1; write one in its place"]),
        ("true", ["found true; expected a whole number or a list; write one in its place"]),
        ("x", ["found 'x'; expected a whole number or a list; write one in its place"]),
        ("[1, true]", [".1: found true; expected a whole number; write one in its place"]),
    ],
)
def test_of_a_value_with_several_types_the_nearest_is_told(tmp_path: Path, seeds: str, expected: list[str]) -> None:
    said = refusal(tmp_path, f"  a: {{like: split-digits-ewc, seeds: {seeds}}}\n")
    assert said.startswith(f"params.yaml, line {LINE}: experiments.a.seeds")
    assert said.endswith(expected[0])
    assert "\n" not in said


def test_sections_are_put_together_and_entries_are_not(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("tiers: {b: {}}\nexperiments: {split-digits-sgd: {seeds: 1}}\n")
    path = written(tmp_path, rest="tiers: {a: {}}\n")
    path.write_text(f"include: [more.yaml]\n{path.read_text()}")
    with pytest.raises(UserError, match=r"more\.yaml, line 2: experiments\.split-digits-sgd: .*params\.yaml, line 12 has"):
        load(path)
    (tmp_path / "more.yaml").write_text("tiers: {b: {}}\n")
    assert set(load(path).tiers) == {"a", "all", "b"}


# lifelong check


def checked(path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["--params", str(path), "check", *arguments], catch_exceptions=False)
    return result.output.replace(f"{path.parent}/", "")


def test_check_ends_in_a_verdict(tmp_path: Path) -> None:
    (line,) = checked(written(tmp_path, SWEPT)).splitlines()
    assert line.startswith("params.yaml is well: ")


def test_list_names_experiments_by_section_and_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, SWEPT)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/split-digits-er").mkdir(parents=True)

    def listed(*arguments: str) -> list[str]:
        return CliRunner().invoke(cli, ["--params", str(path), "list", *arguments]).output.splitlines()

    assert listed() == ["All papers' methods", "  digits        1 begun, 11 absent", "Others", "  in no report  3 absent"]
    assert "  split-digits-er           begun" in listed("digits")
    with pytest.raises(UserError, match=r"section 'digit' is unknown; .*Did you mean 'digits'"):
        CliRunner().invoke(cli, ["--params", str(path), "list", "digit"], catch_exceptions=False)


def test_the_nearest_command_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'chek' is no command; .*Did you mean 'check'"):
        CliRunner().invoke(cli, ["--params", str(written(tmp_path)), "chek"], catch_exceptions=False)


def test_check_says_what_an_experiment_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks of two stages, a seed's evaluation, a summary and a run of MLflow's: seven jobs."""
    path = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert checked(path, "split-digits-ewc").splitlines()[-1].startswith("# costs: 7 jobs; how long they take is not known")
    timings = Timings({"learn": {"split-digits-ewc": 2}, "consolidate": {"": 1}, "evaluate": {"": 1}})
    timings.write()
    last = checked(path, "split-digits-ewc").splitlines()[-1]
    assert last == "# costs: 7 jobs, about 10 s one after the other (by jobs that ran here)"  # 7 s for 5 jobs of 7
    experiment = load(path).experiment("split-digits-ewc")
    kept = {"seconds": 100, "seeds": [0, 1], "machine": "a machine", "parameters": experiment.parameters()}
    (tmp_path / "reports/digits").mkdir(parents=True)
    (tmp_path / "reports/digits/provenance.json").write_text(json.dumps({"split-digits-ewc": kept}))
    last = checked(path, "split-digits-ewc").splitlines()[-1]
    assert last == "# costs: 7 jobs, 50 s of processor time (measured on a machine)"


def test_help_lists_what_people_use_before_the_stages() -> None:
    result = CliRunner().invoke(cli, ["--help"], catch_exceptions=False).output
    titles = [line for line in result.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options:", "Commands:", "Exchange between agents:", "Stages:"]
    assert result.index("\n  verify ") < result.index("Stages:") < result.index("\n  learn ")


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "tracking_uri: sqlite:///mlflow.db\n")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        port = server.getsockname()[1]
        patch.chdir(tmp_path)
        (tmp_path / "mlflow.db").touch()
        with pytest.raises(UserError, match=rf"--port: found {port}, where another program answers; `lifelong ui --port"):
            CliRunner().invoke(cli, ["--params", str(path), "ui", "--port", str(port)], catch_exceptions=False)


def test_check_explains_one_experiment(tmp_path: Path) -> None:
    said = checked(written(tmp_path, SWEPT + "  y: {like: x@1e+2, joint: split-digits-joint, seeds: 1}\n"), "y")
    head = [line for line in said.splitlines() if line.startswith("#") and "costs:" not in line]
    line = LINE + SWEPT.count("\n")
    assert head == [
        f"# y (params.yaml, line {line})",
        f"# like x, sweep options.strength = 1e+2 (params.yaml, line {LINE})",
        f"# like split-digits-ewc (params.yaml, line {line_of('  split-digits-ewc:')})",
    ]
    values = yaml.safe_load(said)["y"]
    found = loaded(tmp_path, SWEPT + "  y: {like: x@1e+2, joint: split-digits-joint, seeds: 1}\n").experiment("y")
    assert values["options"] == found.options.model_dump()
    assert values["options"]["strength"] == 100
    assert values["network"] == {"name": "mlp-256-128", **found.network.model_dump()}
    assert values["training"] == {"name": "digits", **found.training.model_dump()}
    assert values["sequence"] == {"name": "split-digits", **found.sequence_parameters()}
    assert (values["method"], values["seeds"], values["joint"]) == ("ewc", [0], "split-digits-joint")


def test_check_shows_what_a_grid_chooses_from(tmp_path: Path) -> None:
    path = written(tmp_path, "  x: {like: split-digits-ewc, options: ~, grid: {options: {strength: [1, 2]}}}\n")
    values = yaml.safe_load(checked(path, "x"))["x"]
    assert values["candidates"] == {"x_grid-0": {"strength": 1}, "x_grid-1": {"strength": 2}}
    assert values["options"]["strength"] == "chosen from the grid"
    said = checked(path, "x_grid-1")
    assert said.startswith("# candidate 1 of the grid of x\n# x (params.yaml")
    assert yaml.safe_load(said)["x_grid-1"]["options"]["strength"] == 2


def test_check_suggests_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no experiment 'split-digits-ewk'; .*Did you mean 'split-digits-ewc'\?"):
        checked(written(tmp_path), "split-digits-ewk")


# The shipped files


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_lines_are_short_enough_to_read(path: Path) -> None:
    text = path.read_text()
    assert [number for number, line in enumerate(text.splitlines(), 1) if len(line) > 120] == []


def test_every_shipped_experiment_explains_itself() -> None:
    from lifelong.params.explanation import explain_experiment

    found = load(ROOT / "params.yaml")
    for name in found.experiments:
        values = yaml.safe_load(explain_experiment(found, name))[name]
        assert values["seeds"] == list(found.experiment(name).seeds)
