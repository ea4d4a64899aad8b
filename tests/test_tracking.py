"""Runs in MLflow: written once from files, found again, replaced when they differ, whole under many writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong import layout
from lifelong.artifacts import file_digest, read_json, write_json, write_tensors, write_text
from lifelong.config import Experiment, Settings, settings
from lifelong.errors import UserError
from lifelong.stages import final_state, stages_of
from lifelong.summary import summarise
from lifelong.tracking import public_uri, track

TASKS = 3
WRITERS = [f"writer-{number}" for number in range(8)]

# Processes of their own; one import of MLflow serves all, so they meet at the database within milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lifelong.tracking", "mlflow.store.tracking.sqlalchemy_store"])


def make_settings(
    seeds: list[int] | int = 2, strength: float = 15, scenario: str = "digits-3", grid: list[float] | None = None
) -> Settings:
    """EWC, its strength given or chosen, and a joint learner on three tasks, and experiments for eight writers."""
    options = {"options": {"strength": strength}} if grid is None else {"grid": {"options": {"strength": grid}}}
    split = {"dataset": "digits", "kind": "split", "tasks": TASKS, "classes_per_task": 2, "validation": {"first": 9}}
    usual = {"scenario": scenario, "network": "small", "training": "short"}
    return settings(
        {
            "scenarios": {"digits-3": split, "moved": split},
            "networks": {"small": {"kind": "mlp", "hidden": [4], "initialisation": "truncated-normal"}},
            "training": {"short": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}},
            "experiments": {
                "ewc": {**usual, "method": "ewc", **options, "seeds": seeds, "joint": "joint"},
                "joint": {**usual, "method": "joint", "seeds": [0, 1, 2]},
                **{name: {**usual, "method": "finetune", "seeds": 1} for name in WRITERS},
            },
            "reports": {},
        }
    )


def make_files(experiment: Experiment) -> None:
    """What the pipeline leaves of an experiment, with made-up numbers."""
    for seed in experiment.seeds:
        write_seed(experiment, seed)
    summarise(experiment)


def write_seed(experiment: Experiment, seed: int) -> None:
    random = np.random.default_rng(seed)
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            path = layout.state(experiment.name, seed, task, stage)
            info = {"fingerprint": "f" * 64, "versions": {"torch": "2.0"}, "groups": ["network"]}
            write_tensors(path, "state", {"network/w": random.random(4, dtype=np.float32)}, info)
            if stage == "learn":
                rows = [{"fit": "learn", "epoch": e, "loss": 1.0 - e / 2, "validation_accuracy": 0.5} for e in (0, 1)]
                write_text(layout.curve(path), "".join(json.dumps(row) + "\n" for row in rows))
    write_scores(experiment, seed, random)
    write_tensors(layout.predictions(experiment.name, seed), "predictions", {"a": np.zeros(2, np.int16)}, {"seed": seed})


def write_scores(experiment: Experiment, seed: int, random: np.random.Generator) -> None:
    def rows(square: bool) -> list[list[float | None]]:
        known = [[i in experiment.tasks and (square or j <= i) for j in range(TASKS)] for i in range(TASKS)]
        return [[round(float(random.random()), 3) if there else None for there in row] for row in known]

    protocols = {"task_incremental": True, "class_incremental": False}
    accuracies = {split: {name: rows(square) for name, square in protocols.items()} for split in ("test", "validation")}
    write_json(layout.scores(experiment.name, seed), {**accuracies, "initial": [0.5] * TASKS, "tasks": TASKS})


def client(database: str = "mlflow.db") -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path(database).absolute()}")


def runs(scenario: str = "digits-3", every: bool = False) -> dict[str, Any]:
    """Runs by name in MLflow's experiment of a scenario; a name given twice fails. `every`: deleted ones too."""
    from mlflow.entities import ViewType

    store = client()
    home = store.get_experiment_by_name(f"lifelong/{scenario}")
    view = ViewType.ALL if every else ViewType.ACTIVE_ONLY
    found = store.search_runs([home.experiment_id], run_view_type=view)
    if every:
        return {run.info.run_id: run for run in found}
    named = {run.info.run_name: run for run in found}
    assert len(named) == len(found)
    return named


def history(run: Any, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client().get_metric_history(run.info.run_id, key)]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs; its making takes seconds, so most tests copy it."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        client(str(database))
    return database


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no address in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path


@pytest.fixture
def tracked(place: Path, empty_database: Path) -> Settings:
    """EWC with two seeds, tracked once."""
    shutil.copy(empty_database, place / "mlflow.db")
    chosen = make_settings()
    make_files(chosen.experiment("joint"))
    make_files(chosen.experiment("ewc"))
    track(chosen, chosen.experiment("ewc"))
    return chosen


def test_the_runs_hold_what_the_files_say(tracked: Settings) -> None:
    experiment = tracked.experiment("ewc")
    found = runs()
    assert set(found) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert all(run.info.status == "FINISHED" for run in found.values())
    summary = read_json(layout.summary("ewc"))
    for seed in experiment.seeds:
        run = found[f"ewc seed {seed}"]
        scores = read_json(layout.scores("ewc", seed))
        assert run.data.tags["mlflow.parentRunId"] == found["ewc"].info.run_id
        assert run.data.params["options.strength"] == "15.0"
        assert run.data.params["seed"] == str(seed)
        assert run.data.tags["sha256/scores.json"] == file_digest(layout.scores("ewc", seed))
        last = final_state(experiment, seed, 2)
        assert run.data.tags["sha256/task-2/consolidate.safetensors"] == file_digest(last)
        assert run.data.tags["lifelong.fingerprint"] == "f" * 64
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
    assert not Path("mlartifacts").exists()
    assert not Path("mlruns").exists()


def test_options_chosen_from_a_grid_are_the_runs_parameters(tracked: Settings) -> None:
    gridded = make_settings(grid=[1, 30])
    write_json(layout.chosen("ewc"), {"options": {"strength": 30.0}, "varied": ["strength"], "candidates": []})
    make_files(gridded.experiment("ewc"))
    track(gridded, gridded.experiment("ewc"))
    assert {run.data.params["options.strength"] for run in runs().values()} == {"30.0"}


def test_acc_of_a_seed_is_a_curve_that_ends_in_the_result(tracked: Settings) -> None:
    scores = read_json(layout.scores("ewc", 0))["test"]["task_incremental"]
    expected = [(i, float(np.mean(scores[i][: i + 1]))) for i in range(TASKS)]
    assert history(runs()["ewc seed 0"], "acc/task_incremental") == expected


def test_the_description_says_the_results_first(tracked: Settings) -> None:
    accuracy = read_json(layout.summary("ewc"))["test"]["task_incremental"]["acc"]["mean"]
    note = runs()["ewc"].data.tags["mlflow.note.content"]
    assert note.startswith(f"- Task-incremental, in percent: acc {100 * accuracy:.1f}, bwt ")
    assert "| after | on task 0 | on task 1 | on task 2 |" in note


def test_a_joint_learner_has_one_row(tracked: Settings) -> None:
    track(tracked, tracked.experiment("joint"))
    run = runs()["joint seed 0"]
    scores = read_json(layout.scores("joint", 0))["test"]["task_incremental"]
    assert history(run, "on_task/1_task_incremental") == [(TASKS - 1, scores[-1][1])]
    assert [step for step, _ in history(run, "acc/task_incremental")] == [TASKS - 1]
    assert "bwt/task_incremental" not in run.data.metrics


def test_the_same_again_writes_nothing(tracked: Settings) -> None:
    before, receipt = runs(every=True), layout.tracked("ewc").read_bytes()
    lengths = {key: len(history(run, key)) for run in runs().values() for key in run.data.metrics}
    track(tracked, tracked.experiment("ewc"))
    after = runs(every=True)
    assert after.keys() == before.keys()
    assert {i: run.data.tags for i, run in after.items()} == {i: run.data.tags for i, run in before.items()}
    assert {key: len(history(run, key)) for run in runs().values() for key in run.data.metrics} == lengths
    assert layout.tracked("ewc").read_bytes() == receipt


def test_the_receipt_depends_on_the_content_alone(tracked: Settings) -> None:
    receipt = layout.tracked("ewc").read_bytes()
    found = json.loads(receipt)
    assert found["uri"] == "sqlite:///mlflow.db"
    assert found["mlflow_experiment"] == "lifelong/digits-3"
    assert found["runs"] == {run.data.tags["lifelong.key"]: run.data.tags["lifelong.content"] for run in runs().values()}
    for run in runs().values():
        client().delete_run(run.info.run_id)
    track(tracked, tracked.experiment("ewc"))
    assert len(runs()) == 3
    assert layout.tracked("ewc").read_bytes() == receipt


def test_a_changed_seed_is_replaced_and_the_other_kept(tracked: Settings) -> None:
    experiment, before = tracked.experiment("ewc"), runs()
    write_scores(experiment, 1, np.random.default_rng(99))
    summarise(experiment)
    track(tracked, experiment)
    after = runs()
    assert set(after) == set(before)
    assert after["ewc seed 0"].info.run_id == before["ewc seed 0"].info.run_id
    assert after["ewc seed 1"].info.run_id != before["ewc seed 1"].info.run_id
    assert after["ewc"].info.run_id != before["ewc"].info.run_id
    assert {after[f"ewc seed {s}"].data.tags["mlflow.parentRunId"] for s in (0, 1)} == {after["ewc"].info.run_id}
    scores = read_json(layout.scores("ewc", 1))["test"]["task_incremental"]
    assert history(after["ewc seed 1"], "on_task/0_task_incremental") == [(i, scores[i][0]) for i in range(TASKS)]


def test_changed_parameters_replace_all_runs(tracked: Settings) -> None:
    before = runs()
    changed = make_settings(strength=40)
    summarise(changed.experiment("ewc"))
    track(changed, changed.experiment("ewc"))
    after = runs()
    assert {run.data.params["options.strength"] for run in after.values()} == {"40.0"}
    assert not {run.info.run_id for run in after.values()} & {run.info.run_id for run in before.values()}


def test_what_a_killed_job_left_is_cleared(tracked: Settings) -> None:
    before = runs()
    changed = make_settings(strength=40)
    summarise(changed.experiment("ewc"))
    job = PROCESSES.Process(target=_track_and_die, args=(str(Path.cwd()), 40.0))
    job.start()
    job.join(60)
    assert job.exitcode == -signal.SIGKILL
    left = [run for run in runs(every=True).values() if run.info.status == "RUNNING"]
    assert len(left) == 1
    receipt = layout.tracked("ewc").read_bytes()
    track(changed, changed.experiment("ewc"))
    found = runs()
    assert set(found) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert all(run.info.status == "FINISHED" for run in found.values())
    gone = {left[0].info.run_id, *(run.info.run_id for run in before.values())}
    assert not gone & {run.info.run_id for run in found.values()}
    assert layout.tracked("ewc").read_bytes() != receipt


def test_a_failed_write_leaves_the_old_runs_and_no_half(tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    experiment, before = tracked.experiment("ewc"), runs()
    write_scores(experiment, 1, np.random.default_rng(99))
    summarise(experiment)

    def fail(*_: object, **__: object) -> None:
        raise MlflowException("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", fail)
        with pytest.raises(UserError, match="the disk is full"):
            track(tracked, experiment)
    assert {name: run.info.run_id for name, run in runs().items()} == {n: run.info.run_id for n, run in before.items()}


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
    moved = make_settings(scenario="moved")
    track(moved, moved.experiment("ewc"))
    assert runs() == {}
    assert set(runs("moved")) == {"ewc", "ewc seed 0", "ewc seed 1"}


def test_a_deleted_mlflow_experiment_comes_back(tracked: Settings) -> None:
    store = client()
    store.delete_experiment(store.get_experiment_by_name("lifelong/digits-3").experiment_id)
    track(tracked, tracked.experiment("ewc"))
    assert set(runs()) == {"ewc", "ewc seed 0", "ewc seed 1"}


def test_runs_of_others_are_left_alone(tracked: Settings) -> None:
    store = client()
    home = store.get_experiment_by_name("lifelong/digits-3").experiment_id
    store.create_run(home, run_name="mine")
    store.create_run(store.create_experiment("other"), run_name="ewc", tags={"lifelong.experiment": "ewc"})
    track(tracked, tracked.experiment("ewc"))
    assert "mine" in runs()
    assert len(store.search_runs([store.get_experiment_by_name("other").experiment_id])) == 1


def test_large_records_are_written_in_batches(tracked: Settings) -> None:
    rows = [{"fit": "learn", "epoch": e, "loss": e / 7, "validation_accuracy": 0.5} for e in range(1500)]
    path = layout.curve(layout.state("ewc", 0, 0, "learn"))
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    track(tracked, tracked.experiment("ewc"))
    assert [step for step, _ in history(runs()["ewc seed 0"], "learning/loss")] == list(range(1500 + 2 * (TASKS - 1)))


def test_a_summary_older_than_the_params_is_refused(tracked: Settings) -> None:
    changed = make_settings(strength=40)
    with pytest.raises(UserError, match=r"results/ewc/summary.json.*parameters"):
        track(changed, changed.experiment("ewc"))


@pytest.mark.parametrize(
    "path", [layout.summary("ewc"), layout.scores("ewc", 1), layout.predictions("ewc", 1)], ids=lambda path: path.name
)
def test_a_missing_file_is_named(tracked: Settings, path: Path) -> None:
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: no such file; `snakemake"):
        track(tracked, tracked.experiment("ewc"))


# The address


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://tracker:5000", "http://tracker:5000"),
        ("https://ann:secret@tracker/base", "https://tracker/base"),
        ("postgresql://ann:s/e#c?r@et@db/mlflow?password=secret", "postgresql://db/mlflow"),
    ],
)
def test_an_address_is_shown_without_credentials(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "http://ann:secret@127.0.0.1:9",  # no server
        "nowhere://ann:secret@host",  # no such kind
        "postgresql+nodriver://ann:secret@127.0.0.1:9/mlflow",
        "sqlite:////dev/null/mlflow.db",  # no such folder
        "sqlite:///params.yaml",  # no database
        "sqlite://",  # in memory
        "mlruns",  # MLflow's files, which it no longer writes
    ],
)
def test_an_address_that_does_not_answer_is_the_users_to_mend(
    place: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    chosen = make_settings()
    make_files(chosen.experiment("joint"))
    Path("params.yaml").write_text("not a database, but longer than the header of one would be" * 50)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as caught:
        track(chosen, chosen.experiment("joint"))
    message = str(caught.value)
    assert public_uri(uri) in message
    assert "sqlite:///mlflow.db" in message
    assert "secret" not in message
    assert not layout.tracked("joint").exists()


# Many at once


def test_eight_writers_share_a_new_database(place: Path) -> None:
    chosen = make_settings()
    for name in WRITERS:
        make_files(chosen.experiment(name))
    jobs = [PROCESSES.Process(target=_track, args=(str(place), name)) for name in WRITERS]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0] * len(jobs)
    found = runs()
    assert set(found) == {*WRITERS, *(f"{name} seed 0" for name in WRITERS)}
    for name in WRITERS:
        assert found[f"{name} seed 0"].data.tags["mlflow.parentRunId"] == found[name].info.run_id
        assert [step for step, _ in history(found[f"{name} seed 0"], "learning/loss")] == list(range(2 * TASKS))
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert [home.name for home in client().search_experiments()].count("lifelong/digits-3") == 1


def test_writers_of_the_same_experiment_write_it_once(tracked: Settings) -> None:
    changed = make_settings(strength=40)
    summarise(changed.experiment("ewc"))
    jobs = [PROCESSES.Process(target=_track, args=(str(Path.cwd()), "ewc", 40.0)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0] * len(jobs)
    assert set(runs()) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert len(runs(every=True)) == 6


def _track(folder: str, name: str, strength: float = 15) -> None:
    os.chdir(folder)
    chosen = make_settings(strength=strength)
    track(chosen, chosen.experiment(name))


def _track_and_die(folder: str, strength: float) -> None:
    """Killed when the experiment's run is whole and that of its first seed is about to be."""
    from mlflow import MlflowClient

    finish = MlflowClient.set_terminated
    calls: list[str] = []

    def die(self: Any, run_id: str, *args: Any, **kwargs: Any) -> None:
        calls.append(run_id)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        finish(self, run_id, *args, **kwargs)

    setattr(MlflowClient, "set_terminated", die)  # noqa: B010  # mypy lets no method be assigned
    _track(folder, "ewc", strength)
