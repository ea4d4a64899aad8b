"""A project in a folder whose name means something to a URL, a shell, SQL, a glob or Snakemake."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.project import TINY, Project

pytestmark = pytest.mark.workflow

NAMES = ("it's 100% #1? & é [a-b]*;$(touch HIT) %41=", "日本/deep/" + "n" * 60 + "/o+p")
ONE = TINY.partition("reports:")[0].partition("  split-digits-finetune:")[0].replace(", joint: split-digits-joint", "")


@pytest.mark.parametrize("name", NAMES, ids=["special", "deep"])
@pytest.mark.parametrize("linked", [False, True], ids=["plain", "linked"])
def test_an_experiment_runs_and_is_tracked_in_a_folder_of_any_name(tmp_path: Path, name: str, linked: bool) -> None:
    folder = tmp_path / ("real" if linked else name)
    folder.mkdir(parents=True)
    if linked:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(folder, target_is_directory=True)
    project = Project(folder, ONE + "reports: {}\n")
    project.folder = tmp_path / name
    project.snakemake("--", "results/.tracked/split-digits-sgd.json")
    assert (folder / "results/split-digits-sgd/summary.json").is_file()
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchone()[0] > 0
    beside = {path.name for path in tmp_path.iterdir()} - {"real", Path(name).parts[0]}
    assert beside == set()
    assert not [path for path in tmp_path.rglob("HIT") if path.name == "HIT"]
    assert "Nothing to be done" in project.snakemake("--", "results/.tracked/split-digits-sgd.json")
