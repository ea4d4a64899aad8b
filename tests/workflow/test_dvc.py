"""DVC over the graph: exact reproduction, agreement with Snakemake in both directions, a fresh clone from a remote."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.project import Project, kill_group

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A git and DVC repository in which `dvc repro` has run from nothing."""
    project = Project(tmp_path_factory.mktemp("dvc") / "project")
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.invalid")
    project.run("dvc", "init", "--quiet")
    project.run("dvc", "config", "cache.type", "copy")
    project.run("dvc", "remote", "add", "--default", "local", str(tmp_path_factory.mktemp("remote")))
    for _ in ("data and training", "reports, once there are tables"):
        (project.folder / "dvc.yaml").write_text(project.run("lifelong", "dvc"))
        project.run("dvc", "repro")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "Reproduce the digits experiments")
    return project


def test_a_second_reproduction_is_up_to_date(reproduced: Project) -> None:
    assert "up to date" in reproduced.run("dvc", "repro")
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_snakemake_has_nothing_to_do_after_dvc(reproduced: Project) -> None:
    assert reproduced.planned("digits") == []


def test_a_killed_reproduction_goes_on_and_ends_the_same(reproduced: Project) -> None:
    before = reproduced.digests()
    for made in ("data/images", "data/tasks", "results"):
        shutil.rmtree(reproduced.folder / made)
    for seconds in (12, 18):
        process = reproduced.start("dvc", "repro", "--force")
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
    reproduced.run("dvc", "repro")
    assert reproduced.digests() == before


def test_dvc_is_up_to_date_after_snakemake(reproduced: Project) -> None:
    """Results made by Snakemake alone are the ones DVC has on record: from nothing, to the byte."""
    before = reproduced.digests()
    for made in ("data/images", "data/tasks", "results"):
        shutil.rmtree(reproduced.folder / made)
    reproduced.snakemake("digits")
    assert reproduced.digests() == before
    assert "up to date" in reproduced.run("dvc", "status")


def test_a_checkout_makes_snakemake_run_nothing(reproduced: Project) -> None:
    for name in reproduced.digests():
        (reproduced.folder / name).unlink()
    reproduced.run("dvc", "checkout")
    assert reproduced.planned("digits") == []


def test_reports_are_drawn_without_training(reproduced: Project, tmp_path: Path) -> None:
    """In a clone without models or remote: what is kept suffices."""
    clone = reproduced.clone(tmp_path / "clone")
    (clone.folder / "reports/digits/comparison.md").unlink()
    clone.run("dvc", "repro", "report-digits")
    assert clone.run("git", "status", "--porcelain") == ""
    assert not (clone.folder / "results").exists()


def test_metrics_are_shown_and_compared(reproduced: Project) -> None:
    shown = json.loads(reproduced.run("dvc", "metrics", "show", "--json"))
    accuracy = shown[""]["data"]["reports/digits/comparison.json"]["data"]["ANPyC"]["task_incremental"]["acc"]
    assert 0 < accuracy <= 100
    assert reproduced.run("dvc", "metrics", "diff").strip() == ""


def test_a_fresh_clone_gets_everything_from_the_remote(reproduced: Project, tmp_path: Path) -> None:
    reproduced.run("dvc", "push")
    clone = reproduced.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert clone.digests() == reproduced.digests()
    planned = clone.planned("digits")  # drawn and tracked here, but neither decoded nor learnt
    assert planned and all(path.startswith(("reports/", "results/.tracked/")) for path in planned)
    clone.snakemake("digits")
    assert clone.planned("digits") == []
    assert "up to date" in clone.run("dvc", "status")
