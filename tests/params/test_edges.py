"""What cannot be learnt is refused by its key before any image is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.tiny import run_chain, tiny_experiment

from lifelong.params import settings
from lifelong.params.sequences import TaskEntry
from lifelong.params.skill import _table
from lifelong.runtime.errors import UserError

SPLIT = {"dataset": "digits", "kind": "split", "validation": {"first": 9}}
NARROW = {"kind": "attention-resnet18", "shape": "narrow", "widths": [2, 2, 2, 2]}
GREY = {"mean": [0.5], "deviation": [0.5]}
COLOUR = {"mean": [0.5] * 3, "deviation": [0.5] * 3}


@pytest.mark.parametrize(
    ("method", "changes", "reason"),
    [
        ("finetune", {"sequence": SPLIT | {"sizes": [2, 1]}}, "sequence: task 1 has one class"),
        ("sgd", {"sequence": SPLIT | {"sizes": [1, 1]}, "heads": "shared"}, "sequence: task 0 has one class"),
        ("anpyc", {"sequence": SPLIT | {"sizes": [1]}, "options": {"strength": 1.0}}, "sequence: task 0 has one class"),
        ("er", {"options": {"memory": 5}}, "options.memory: found 5 for 6 classes"),
        ("gem", {"options": {"memory": 1}}, "options.memory: found 1 for 6 classes"),
        ("icarl", {"options": {"memory": 1}}, "options.memory: found 1 for 6 classes"),
        ("xdg", {"options": {"fraction_off": 0.95}}, "options.fraction_off: 0.95 closes all 6 units"),
        ("finetune", {"network": {"kind": "small-conv", "widths": [2] * 5}}, "too deep for images of 8x8 pixels"),
        ("finetune", {"network": NARROW | {"shrink": 4}}, "too deep for images of 8x8 pixels"),
        ("finetune", {"network": NARROW | {"normalise": COLOUR}}, "'normalise' is of 3 channels; the images have 1"),
        (
            "ari",
            {"network": {"kind": "attention-mlp", "hidden": [4], "normalise": COLOUR}, "options": {"memory": 9}},
            "'normalise' is of 3 channels; the images have 1",
        ),
    ],
)
def test_what_cannot_be_learnt_is_refused_by_its_key(method: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        tiny_experiment(method, **changes)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("params.yaml: experiments.tiny.")


def test_what_can_be_learnt_is_not_refused() -> None:
    tiny_experiment("er", options={"memory": 6})
    tiny_experiment("er", options={"memory": 1, "per_class": 1})
    tiny_experiment("er", sequence=SPLIT | {"sizes": [1, 1]}, heads="all-classes")
    tiny_experiment("xdg", options={"fraction_off": 0.8})
    tiny_experiment("finetune", network=NARROW | {"shrink": 2, "normalise": GREY})
    tiny_experiment("finetune", network={"kind": "small-conv", "widths": [2] * 4})


def test_a_mask_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"options.kept: 0.001 of 6x6 weights keeps none"):
        run_chain(tiny_experiment("supsup", options={"kept": 0.001}))


def test_a_class_is_listed_once() -> None:
    with pytest.raises(ValueError, match="class 1 is listed twice"):
        TaskEntry(name="a", dataset="digits", classes=[1, 2, 1])


def test_folders_of_a_table_that_become_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "data/raw/table-of-this-test.csv"
    table.write_text("task_name\na b\na/b\n")
    with pytest.raises(UserError, match="'a b' and 'a/b' both become 'a_b'; rename one"):
        _table(table.name)
    table.write_text("name\na b\n")
    with pytest.raises(UserError, match="has no column 'task_name'; found name"):
        _table(table.name)


def written(**changes: Any) -> dict[str, Any]:
    return {
        "sequences": {
            "tables": {
                "kind": "data-sets",
                "tier": "all",
                "table": "tables-of-names.csv",
                "rows": 1,
                "image_size": 8,
                "shape": [3, 8, 8],
            }
        },
        "networks": {"net": {"kind": "mlp", "hidden": [4], "initialisation": "truncated-normal"}},
        "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 1}},
        "experiments": {
            "x": {"sequence": "tables", "network": "net", "training": "short", "method": "finetune", "seeds": 1}
        },
        "reports": {},
    } | changes


@pytest.mark.parametrize("name", ["mine", "mnist"])
def test_a_tables_folder_named_as_another_data_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _table.cache_clear()
    (tmp_path / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/raw/tables-of-names.csv").write_text(f"task_name\n{name}\n")
    with pytest.raises(UserError, match=f"datasets.{name}: .*has a folder of this name"):
        settings(written(datasets={"mine": {"path": "x", "image_size": 16}}))


def test_a_tier_of_one_image_a_class_leaves_none_for_validation() -> None:
    own = {
        "kind": "data-sets",
        "tier": "one",
        "shape": [1, 8, 8],
        "tasks": [{"name": "a", "dataset": "digits"}],
    }
    with pytest.raises(UserError, match=r"tiers\.one\.train_per_class: found 1, which leaves"):
        settings(written(sequences={"tables": own}, tiers={"one": {"train_per_class": 1}}))
