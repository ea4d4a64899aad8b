"""Settings of all tests, and MLflow for those that track."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis
import pytest
import torch
from support import tracked_files
from support.tracked_files import track

from lifelong.params import Settings

torch.set_num_threads(1)
with torch.device("cpu"):
    torch.zeros(())  # the first such block notes torch's constructors; later some tests replace one
hypothesis.settings.register_profile(
    "tiny", deadline=None, max_examples=40, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tiny")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without runs; its making takes seconds, so most tests copy it."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        tracked_files.client(str(database))
    return database


@pytest.fixture
def untracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no address of MLflow in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path


@pytest.fixture
def tracked(untracked: Path, empty_database: Path) -> Settings:
    """EWC with two seeds, tracked once."""
    shutil.copy(empty_database, untracked / "mlflow.db")
    chosen = tracked_files.make_settings()
    tracked_files.make_files(chosen.experiment("joint"))
    tracked_files.make_files(chosen.experiment("ewc"))
    track(chosen, chosen.experiment("ewc"))
    return chosen
