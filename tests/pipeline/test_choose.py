"""Options chosen from a grid: candidates, and which of them is taken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.runs import SPLIT, made
from torch import Tensor

from lifelong.params import Settings, settings
from lifelong.pipeline.choose import apply_choice, choose
from lifelong.pipeline.graph import DIVERGED, final_state
from lifelong.reports.provenance import Made
from lifelong.reports.tables import choices
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info, read_result, write_result
from lifelong.runtime.errors import UserError
from lifelong.training.fit import Fit


def params(**entry: Any) -> dict[str, Any]:
    experiment = {"sequence": "s", "network": "n", "training": "t", "method": "si", "seeds": 3} | entry
    return {
        "sequences": {
            "s": {"dataset": "digits", "kind": "split", "tasks": 2, "classes_per_task": 2, "validation": {"first": 9}}
        },
        "networks": {"n": {"kind": "mlp", "hidden": [4], "initialisation": "truncated-normal"}},
        "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}},
        "experiments": {"x": experiment},
        "reports": {},
    }


def gridded(protocol: str = "task_incremental") -> Settings:
    grid = {"options": {"strength": [1.0, 2.0], "damping": [0.5, 0.1]}, "seeds": [7], "protocol": protocol}
    return settings(params(options={"path": "product"}, grid=grid))


def test_candidates_are_every_combination_with_the_grid_s_seeds() -> None:
    found = gridded()
    names = found.experiment("x").candidates
    assert names == ("x_grid-0", "x_grid-1", "x_grid-2", "x_grid-3")
    dumped = [found.experiment(name).options.model_dump() for name in names]
    assert [(o["strength"], o["damping"]) for o in dumped] == [(1, 0.5), (1, 0.1), (2, 0.5), (2, 0.1)]
    assert {o["path"] for o in dumped} == {"product"}
    assert {found.experiment(name).seeds for name in names} == {(7,)}
    assert list(found.experiments) == ["x"]
    assert not found.experiment(names[0]).candidates


@pytest.mark.parametrize(("protocol", "expected"), [("task_incremental", (2.0, 0.5)), ("class_incremental", (1.0, 0.1))])
def test_the_best_on_validation_is_taken_and_nothing_else_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, expected: tuple[float, float]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = gridded(protocol)
    accs = {"task_incremental": [0.5, 0.6, 0.7, 0.7], "class_incremental": [0.1, 0.9, 0.2, 0.3]}
    for i, name in enumerate(found.experiment("x").candidates):
        validation = {p: {"acc": {"mean": values[i], "deviation": None}} for p, values in accs.items()}
        write_result(paths.summary(name), {"validation": validation})
    choose(found, found.experiment("x"))
    options: Any = apply_choice(found.experiment("x")).options
    assert (options.strength, options.damping, options.path) == (*expected, "product")
    written = read_result(paths.chosen("x"))
    assert [row["acc"] for row in written["candidates"]] == accs[protocol]
    assert apply_choice(found.experiment("x")).seeds == (0, 1, 2)


def test_what_diverged_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = gridded()
    for name, acc in zip(found.experiment("x").candidates, [None, 0.2, 0.3, None], strict=True):
        write_result(paths.summary(name), {"validation": {"task_incremental": {"acc": {"mean": acc, "deviation": None}}}})
    choose(found, found.experiment("x"))
    options: Any = apply_choice(found.experiment("x")).options
    assert options.strength == 2.0
    for name in found.experiment("x").candidates:
        write_result(paths.summary(name), {"validation": {"task_incremental": {"acc": {"mean": None, "deviation": None}}}})
    with pytest.raises(UserError, match=r"experiments\.x\.grid: training diverged with every candidate"):
        choose(found, found.experiment("x"))


def test_a_choice_that_diverges_says_how_to_choose_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = params(grid={"options": {"strength": [1.0, 1e30]}})
    written["sequences"]["three"] = SPLIT
    written["experiments"]["x"] |= {"method": "ewc", "sequence": "three"}
    experiment = settings(written).experiment("x")
    write_result(paths.chosen("x"), {"options": {"strength": 1e30}, "varied": ["strength"], "candidates": []})
    with pytest.raises(UserError, match=r"training diverged.*let more seeds choose, experiments\.x\.grid\.seeds"):
        made(experiment)
    tried = settings(written).candidates["x_grid-1"]
    made(tried)  # what is only tried leaves a state that says so
    assert read_info(final_state(tried, 0, 2), "state")["groups"] == [DIVERGED]


def test_the_chosen_candidates_runs_are_the_experiments_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte what training again gives, and trained only where the candidate has no such seed."""
    monkeypatch.chdir(tmp_path)
    written = params(grid={"options": {"strength": [1.0, 30.0]}, "seeds": [0]}, seeds=2)
    written["sequences"]["three"] = SPLIT
    written["experiments"]["x"] |= {"method": "ewc", "sequence": "three"}
    found = settings(written)
    experiment = found.experiment("x")
    for candidate in experiment.candidates:
        made(found.candidates[candidate])
    for name, acc in zip(experiment.candidates, (0.5, 0.6), strict=True):
        write_result(paths.summary(name), {"validation": {"task_incremental": {"acc": {"mean": acc, "deviation": None}}}})
    choose(found, experiment)
    trained: list[int] = []
    order = Fit._order

    def counted(self: Fit, epoch: int) -> Tensor:
        trained.extend(part for part in self.seed[:1] if isinstance(part, int))
        return order(self, epoch)

    monkeypatch.setattr(Fit, "_order", counted)

    def files() -> dict[str, bytes]:
        made(experiment)
        return {str(path): path.read_bytes() for path in Path("results/x").rglob("*") if path.is_file()}

    adopted = files()
    assert trained == [1] * 6  # three tasks of two epochs
    trained.clear()
    shutil.rmtree("results/x_grid-1")
    anew = files()
    assert anew == adopted
    assert trained == [0] * 6 + [1] * 6


def test_a_report_tells_every_candidates_result() -> None:
    candidates = [
        {"options": {"strength": strength, "fisher": "exact"}, "acc": acc, "deviation": deviation}
        for strength, acc, deviation in ((0.1, 0.5, 0.0125), (10.0, 0.62, None), (1000.0, None, None))
    ]
    chosen = {"options": candidates[1]["options"], "varied": ["strength", "fisher"], "candidates": candidates}
    assert choices(Made(choice=chosen)) == (
        "strength 0.1, fisher exact: 50.00 ± 1.25; strength 10, fisher exact*: 62.00; strength 1000, fisher exact: diverged"
    )


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ({"grid": {"options": {"strenght": [1]}}}, ["experiments.x.options.strenght: unknown key", "'strength'"]),
        ({"grid": {"options": {"strength": [1, -1]}}}, ["experiments.x.options.strength", "found -1"]),
        ({"grid": {"options": {}}}, ["experiments.x.grid.options"]),
        ({"grid": {"options": {"strength": [1]}}, "options": {"strength": 2}}, ["'strength' is also in 'options'"]),
        (
            {"method": "anpyc", "grid": {"options": {"pruning": ["none"]}}, "options": {"strength": 1}},
            ["experiments.x.grid.options: 'pruning' decides"],
        ),
    ],
)
def test_impossible_grids_are_refused(entry: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        settings(params(**entry))
    for part in parts:
        assert part in str(caught.value)
