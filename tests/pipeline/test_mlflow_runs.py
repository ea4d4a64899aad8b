"""Runs in MLflow: written once, found again, replaced when they differ, whole under kills and many writers."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path

import numpy as np
import pytest
from support.tracked_files import (
    TASKS,
    WRITERS,
    client,
    history,
    make_database_and_die,
    make_files,
    make_settings,
    runs,
    track,
    track_and_die,
    track_in,
    write_scores,
)

from lifelong.params import Settings
from lifelong.pipeline.summarise import summarise
from lifelong.pipeline.tracking.mlflow_runs import list_homes, public_uri
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_text
from lifelong.runtime.errors import UserError

# Processes of their own; one import of MLflow serves all, so they meet at the database within milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lifelong.pipeline.tracking.experiments", "mlflow.store.tracking.sqlalchemy_store"])


def test_homes_are_none_before_the_first_run_and_then_by_name(untracked: Path) -> None:
    assert list_homes("sqlite:///mlflow.db") == []
    chosen = make_settings()
    make_files(chosen.experiment("joint"))
    track(chosen, chosen.experiment("joint"))
    [(name, number)] = list_homes("sqlite:///mlflow.db")
    assert name == "lifelong/digits-3" and number.isdigit()
    assert list_homes("http://127.0.0.1:9") == []


def test_the_same_again_writes_nothing(tracked: Settings) -> None:
    before, receipt = runs(every=True), paths.tracked("ewc").read_bytes()
    lengths = {key: len(history(run, key)) for run in runs().values() for key in run.data.metrics}
    track(tracked, tracked.experiment("ewc"))
    after = runs(every=True)
    assert after.keys() == before.keys()
    assert {i: run.data.tags for i, run in after.items()} == {i: run.data.tags for i, run in before.items()}
    assert {key: len(history(run, key)) for run in runs().values() for key in run.data.metrics} == lengths
    assert paths.tracked("ewc").read_bytes() == receipt


def test_the_receipt_depends_on_the_content_alone(tracked: Settings) -> None:
    receipt = paths.tracked("ewc").read_bytes()
    found = json.loads(receipt)
    assert found["uri"] == "sqlite:///mlflow.db"
    assert found["mlflow_experiment"] == "lifelong/digits-3"
    assert found["runs"] == {run.data.tags["lifelong.key"]: run.data.tags["lifelong.content"] for run in runs().values()}
    for run in runs().values():
        client().delete_run(run.info.run_id)
    track(tracked, tracked.experiment("ewc"))
    assert len(runs()) == 3
    assert paths.tracked("ewc").read_bytes() == receipt


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
    scores = read_result(paths.scores("ewc", 1))["test"]["task_incremental"]
    assert history(after["ewc seed 1"], "on_task/0_task_incremental") == [(i, scores[i][0]) for i in range(TASKS)]


def test_what_a_killed_job_left_is_cleared(tracked: Settings) -> None:
    before = runs()
    changed = make_settings(strength=40)
    summarise(changed.experiment("ewc"))
    job = PROCESSES.Process(target=track_and_die, args=(str(Path.cwd()), 40.0))
    job.start()
    job.join(60)
    assert job.exitcode == -signal.SIGKILL
    left = [run for run in runs(every=True).values() if run.info.status == "RUNNING"]
    assert len(left) == 1
    receipt = paths.tracked("ewc").read_bytes()
    track(changed, changed.experiment("ewc"))
    found = runs()
    assert set(found) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert all(run.info.status == "FINISHED" for run in found.values())
    gone = {left[0].info.run_id, *(run.info.run_id for run in before.values())}
    assert not gone & {run.info.run_id for run in found.values()}
    assert paths.tracked("ewc").read_bytes() != receipt


def test_what_is_left_of_a_database_half_made_is_in_nobodys_way(untracked: Path) -> None:
    for name in ("joint", "ewc"):
        make_files(make_settings().experiment(name))
    job = PROCESSES.Process(target=make_database_and_die, args=(str(untracked),))
    job.start()
    job.join(60)
    assert job.exitcode == -signal.SIGKILL
    assert list(untracked.glob(".mlflow.db.*.part")) and not (untracked / "mlflow.db").exists()
    track_in(str(untracked), "ewc")
    assert set(runs()) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert not list(untracked.glob(".mlflow.db.*.part"))


def test_working_copies_leave_each_others_runs_on_a_shared_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared/mlflow.db")
    (tmp_path / "shared").mkdir()
    for name, strength in (("one", 15.0), ("other", 16.0), ("one", 15.0)):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        for experiment in ("joint", "ewc"):
            make_files(make_settings(strength=strength).experiment(experiment))
        track_in(str(tmp_path / name), "ewc", strength)
    store = client(f"{tmp_path}/shared/mlflow.db")
    found = store.search_runs([store.get_experiment_by_name("lifelong/digits-3").experiment_id])
    assert sorted(run.data.params["options.strength"] for run in found) == ["15.0"] * 3 + ["16.0"] * 3


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
    path = paths.curve(paths.state("ewc", 0, 0, "learn"))
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    track(tracked, tracked.experiment("ewc"))
    assert [step for step, _ in history(runs()["ewc seed 0"], "learning/loss")] == list(range(1500 + 2 * (TASKS - 1)))


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
    untracked: Path, monkeypatch: pytest.MonkeyPatch, uri: str
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
    assert not paths.tracked("joint").exists()


def test_many_writers_share_a_new_database(untracked: Path) -> None:
    chosen = make_settings()
    for name in WRITERS:
        make_files(chosen.experiment(name))
    jobs = [PROCESSES.Process(target=track_in, args=(str(untracked), name)) for name in WRITERS]
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
    jobs = [PROCESSES.Process(target=track_in, args=(str(Path.cwd()), "ewc", 40.0)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0] * len(jobs)
    assert set(runs()) == {"ewc", "ewc seed 0", "ewc seed 1"}
    assert len(runs(every=True)) == 6
