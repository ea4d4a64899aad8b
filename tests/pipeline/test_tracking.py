"""An experiment's runs in MLflow: they hold what its files say, and nothing older than those is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.tracked_files import TASKS, history, make_files, make_settings, runs, track

from lifelong.params import Settings
from lifelong.pipeline.graph import final_state
from lifelong.pipeline.summarise import summarise
from lifelong.runtime import paths
from lifelong.runtime.artifacts import file_digest, read_result, write_result
from lifelong.runtime.errors import UserError


def test_the_runs_hold_what_the_files_say(tracked: Settings) -> None:
    experiment = tracked.experiment("ewc")
    found = runs()
    assert set(found) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert all(run.info.status == "FINISHED" for run in found.values())
    summary = read_result(paths.summary("ewc"))
    for seed in experiment.seeds:
        run = found[f"ewc seed {seed}"]
        scores = read_result(paths.scores("ewc", seed))
        assert run.data.tags["mlflow.parentRunId"] == found["ewc"].info.run_id
        assert run.data.params["options.strength"] == "15.0"
        assert run.data.params["seed"] == str(seed)
        assert run.data.tags["sha256/scores.json"] == file_digest(paths.scores("ewc", seed))
        last = final_state(experiment, seed, 2)
        assert run.data.tags["sha256/task-2/consolidate.safetensors"] == file_digest(last)
        assert run.data.tags["lifelong.version.torch"]
        for protocol, rows in scores["test"].items():
            for j in range(TASKS):
                column = [(i, rows[i][j]) for i in range(TASKS) if rows[i][j] is not None]
                assert history(run, f"on_task/{j}_{protocol}") == column
            for name, values in summary["test"][protocol].items():
                assert run.data.metrics.get(f"{name}/{protocol}") == values["by_seed"][seed]
            for name, values in summary["validation"][protocol].items():
                assert run.data.metrics.get(f"validation/{name}_{protocol}") == values["by_seed"][seed]
        assert [step for step, _ in history(run, "learning/loss")] == list(range(2 * TASKS))
    parent = found["ewc"].data
    for protocol, metrics in summary["test"].items():
        for name, values in metrics.items():
            assert parent.metrics.get(f"{name}/{protocol}") == values["mean"]
            assert parent.metrics.get(f"std/{name}_{protocol}") == values["deviation"]
    for protocol, metrics in summary["validation"].items():
        for name, values in metrics.items():
            assert parent.metrics.get(f"validation/{name}_{protocol}") == values["mean"]
            assert parent.metrics.get(f"std/validation_{name}_{protocol}") == values["deviation"]
    assert parent.metrics["std/n"] == 2
    assert not Path("mlruns").exists()


def read_artifacts(run: Any) -> dict[str, Path]:
    return {path.name: path for path in Path("mlartifacts", run.info.run_id, "artifacts").iterdir()}


def test_artifacts_are_the_matrix_the_parameters_and_where_the_model_is(tracked: Settings) -> None:
    experiment, found = tracked.experiment("ewc"), runs()
    own, seed = read_artifacts(found["ewc"]), read_artifacts(found["ewc seed 1"])
    assert set(own) == {"accuracy-matrix.json", "accuracy-matrix.png", "experiment.json"}
    assert set(seed) == {"accuracy-matrix.json", "model.json"}
    assert json.loads(own["experiment.json"].read_text()) == json.loads(json.dumps(experiment.parameters()))
    assert json.loads(seed["accuracy-matrix.json"].read_text()) == read_result(paths.scores("ewc", 1))["test"]
    by_seed = [np.array(read_result(paths.scores("ewc", k))["test"]["task_incremental"], dtype=float) for k in (0, 1)]
    mean = np.array(json.loads(own["accuracy-matrix.json"].read_text())["task_incremental"], dtype=float)
    np.testing.assert_allclose(mean, sum(by_seed) / 2)
    with Image.open(own["accuracy-matrix.png"]) as picture:
        assert picture.size[0] > 400
    model = json.loads(seed["model.json"].read_text())
    assert model["sha256"] == file_digest(Path(model["path"]))
    assert model["path"] == str(final_state(experiment, 1, TASKS - 1))


def test_the_artifacts_of_a_run_that_was_replaced_go_with_it(tracked: Settings) -> None:
    before = runs()["ewc"].info.run_id
    changed = make_settings(strength=30)
    make_files(changed.experiment("ewc"))
    track(changed, changed.experiment("ewc"))
    assert {path.name for path in Path("mlartifacts").iterdir()} == {run.info.run_id for run in runs().values()}
    assert before not in {run.info.run_id for run in runs().values()}


def test_options_chosen_from_a_grid_are_the_runs_parameters(tracked: Settings) -> None:
    gridded = make_settings(grid=[1, 30])
    write_result(paths.chosen("ewc"), {"options": {"strength": 30.0}, "varied": ["strength"], "candidates": []})
    make_files(gridded.experiment("ewc"))
    track(gridded, gridded.experiment("ewc"))
    assert {run.data.params["options.strength"] for run in runs().values()} == {"30.0"}


def test_acc_of_a_seed_is_a_curve_that_ends_in_the_result(tracked: Settings) -> None:
    scores = read_result(paths.scores("ewc", 0))["test"]["task_incremental"]
    expected = [(i, float(np.mean(scores[i][: i + 1]))) for i in range(TASKS)]
    assert history(runs()["ewc seed 0"], "acc/task_incremental") == expected


def test_the_description_says_the_results_first(tracked: Settings) -> None:
    accuracy = read_result(paths.summary("ewc"))["test"]["task_incremental"]["acc"]["mean"]
    note = runs()["ewc"].data.tags["mlflow.note.content"]
    assert note.startswith(f"- Task-incremental, in percent: acc {100 * accuracy:.1f}, bwt ")
    assert "| after | on task 0 | on task 1 | on task 2 |" in note


def test_a_joint_learner_has_one_row(tracked: Settings) -> None:
    track(tracked, tracked.experiment("joint"))
    run = runs()["joint seed 0"]
    scores = read_result(paths.scores("joint", 0))["test"]["task_incremental"]
    assert history(run, "on_task/1_task_incremental") == [(TASKS - 1, scores[-1][1])]
    assert [step for step, _ in history(run, "acc/task_incremental")] == [TASKS - 1]
    assert "bwt/task_incremental" not in run.data.metrics


def test_changed_parameters_replace_all_runs(tracked: Settings) -> None:
    before = runs()
    changed = make_settings(strength=40)
    summarise(changed.experiment("ewc"))
    track(changed, changed.experiment("ewc"))
    after = runs()
    assert {run.data.params["options.strength"] for run in after.values()} == {"40.0"}
    assert not {run.info.run_id for run in after.values()} & {run.info.run_id for run in before.values()}


def test_a_seed_that_is_gone_goes(tracked: Settings) -> None:
    before = runs()
    fewer = make_settings(seeds=[1])
    summarise(fewer.experiment("ewc"))
    track(fewer, fewer.experiment("ewc"))
    after = runs()
    assert set(after) == {"ewc", "ewc seed 1"}
    assert after["ewc seed 1"].info.run_id == before["ewc seed 1"].info.run_id
    assert after["ewc"].data.params["seeds"] == "[1]"


def test_an_experiment_that_moves_to_another_scenario_leaves_nothing_behind(tracked: Settings) -> None:
    moved = make_settings(sequence="moved")
    track(moved, moved.experiment("ewc"))
    assert runs() == {}
    assert set(runs("moved")) == {"ewc", "ewc seed 0", "ewc seed 1"}


def test_a_summary_older_than_the_params_is_refused(tracked: Settings) -> None:
    changed = make_settings(strength=40)
    with pytest.raises(UserError, match=r"results/ewc/summary.json.*parameters"):
        track(changed, changed.experiment("ewc"))


@pytest.mark.parametrize(
    "path", [paths.summary("ewc"), paths.scores("ewc", 1), paths.predictions("ewc", 1)], ids=lambda path: path.name
)
def test_a_missing_file_is_named(tracked: Settings, path: Path) -> None:
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: no such file; `snakemake"):
        track(tracked, tracked.experiment("ewc"))
