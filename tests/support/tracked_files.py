"""Experiments of made-up numbers, as the pipeline leaves their files, and what MLflow then holds of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from lifelong.params import Experiment, Settings, settings
from lifelong.pipeline.graph import stages_of
from lifelong.pipeline.summarise import summarise
from lifelong.pipeline.tracking import experiments
from lifelong.reports.figures.matrices import draw_matrices
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_result, write_tensors, write_text

TASKS = 3
WRITERS = [f"writer-{number}" for number in range(32)]


def make_settings(
    seeds: list[int] | int = 2, strength: float = 15, sequence: str = "digits-3", grid: list[float] | None = None
) -> Settings:
    """EWC, its strength given or chosen, and a joint learner on three tasks, and experiments for many writers."""
    options = {"options": {"strength": strength}} if grid is None else {"grid": {"options": {"strength": grid}}}
    split = {"dataset": "digits", "kind": "split", "tasks": TASKS, "classes_per_task": 2, "validation": {"first": 9}}
    usual = {"sequence": sequence, "network": "small", "training": "short"}
    return settings(
        {
            "sequences": {"digits-3": split, "moved": split},
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
            path = paths.state(experiment.name, seed, task, stage)
            info = {"groups": ["network"]}
            write_tensors(path, "state", {"network/w": random.random(4, dtype=np.float32)}, info)
            if stage == "learn":
                rows = [{"fit": "learn", "epoch": e, "loss": 1.0 - e / 2, "validation_accuracy": 0.5} for e in (0, 1)]
                write_text(paths.curve(path), "".join(json.dumps(row) + "\n" for row in rows))
    write_scores(experiment, seed, random)
    write_tensors(paths.predictions(experiment.name, seed), "predictions", {"a": np.zeros(2, np.int16)}, {"seed": seed})


def write_scores(experiment: Experiment, seed: int, random: np.random.Generator) -> None:
    def rows(square: bool) -> list[list[float | None]]:
        known = [[i in experiment.tasks and (square or j <= i) for j in range(TASKS)] for i in range(TASKS)]
        return [[round(float(random.random()), 3) if there else None for there in row] for row in known]

    protocols = {"task_incremental": True, "class_incremental": False}
    accuracies = {split: {name: rows(square) for name, square in protocols.items()} for split in ("test", "validation")}
    write_result(paths.scores(experiment.name, seed), {**accuracies, "initial": [0.5] * TASKS, "tasks": TASKS})


def client(database: str = "mlflow.db") -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path(database).absolute()}")


def runs(sequence: str = "digits-3", every: bool = False) -> dict[str, Any]:
    """Runs by name in MLflow's experiment of a sequence; a name given twice fails. `every`: deleted ones too."""
    from mlflow.entities import ViewType

    store = client()
    home = store.get_experiment_by_name(f"lifelong/{sequence}")
    view = ViewType.ALL if every else ViewType.ACTIVE_ONLY
    found = store.search_runs([home.experiment_id], run_view_type=view)
    if every:
        return {run.info.run_id: run for run in found}
    named = {run.info.run_name: run for run in found}
    assert len(named) == len(found)
    return named


def history(run: Any, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client().get_metric_history(run.info.run_id, key)]


def track(settings: Settings, experiment: Experiment) -> None:
    experiments.track(settings, experiment, draw_matrices)


def track_in(folder: str, name: str, strength: float = 15) -> None:
    os.chdir(folder)
    chosen = make_settings(strength=strength)
    track(chosen, chosen.experiment(name))


def make_database_and_die(folder: str) -> None:
    """Killed when a new database has its tables, and before a run is written."""
    from mlflow import MlflowClient

    look = MlflowClient.search_experiments

    def die(self: Any, *args: Any, **kwargs: Any) -> None:
        look(self, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, "search_experiments", die)  # noqa: B010  # mypy lets no method be assigned
    track_in(folder, "ewc")


def track_and_die(folder: str, strength: float) -> None:
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
    track_in(folder, "ewc", strength)
