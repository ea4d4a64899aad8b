"""Results without Snakemake's records, in disorder of times, of other parameters, in another's place, or damaged."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.damage import flip_bytes
from support.project import TINY, Project

from lifelong.params import load
from lifelong.pipeline.freshness import Freshness, settle_times

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

TARGET = "reports/digits/comparison.md"
SUMMARY = "results/split-digits-ewc/summary.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("finished"))
    project.snakemake(TARGET, SUMMARY)
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """Another working copy with the same results, in random order of times, of which Snakemake knows nothing."""
    project = Project(tmp_path)
    for name in ("data", "results", "reports"):
        shutil.copytree(finished.folder / name, tmp_path / name)
    draw = random.Random(0)
    for path in results(project):
        os.utime(path, (time := 1.5e9 + draw.random() * 4e8, time))
    return project


def results(project: Project) -> list[Path]:
    return [
        path
        for root in ("data", "results", "reports")
        for path in sorted((project.folder / root).rglob("*.*"))
        if path.is_file()
    ]


def test_copied_results_run_nothing(copied: Project) -> None:
    before = copied.digests()
    assert copied.planned(TARGET) == []
    copied.snakemake(TARGET)
    assert copied.digests() == before


def test_copied_results_of_other_parameters_are_made_again_and_no_others(copied: Project) -> None:
    copied.edit("params.yaml", "{strength: 5}", "{strength: 6}")
    planned = copied.planned(TARGET)
    assert planned and all("split-digits-ewc" in path or path.startswith("reports/digits/") for path in planned)
    chain = [path for path in planned if path.startswith("results/split-digits-ewc/seed-0/task-")]
    assert len(chain) == 6  # two tasks of two stages, and the curves of those that train
    output = copied.run("lifelong", "evaluate", "split-digits-ewc", "--seed", "0", expect=2)
    assert "was made with other parameters or other code; run snakemake again" in output
    copied.edit("params.yaml", "{strength: 6}", "{strength: 5}")
    assert copied.planned(TARGET) == []


def test_without_their_inputs_stale_results_are_made_again(copied: Project) -> None:
    shutil.rmtree(copied.folder / "data")
    assert copied.planned(TARGET) == []
    copied.edit("params.yaml", "{strength: 5}", "{strength: 6}")
    planned = copied.planned(TARGET)
    assert "data/images/digits.safetensors" in planned
    assert "results/split-digits-ewc/seed-0/task-0/learn.safetensors" in planned


@pytest.mark.parametrize(
    ("of", "place"),
    [
        ("split-digits-ewc/seed-0/task-0/consolidate", "split-digits-ewc/seed-0/task-1/consolidate"),
        ("split-digits-anpyc/seed-0/task-1/consolidate", "split-digits-ewc/seed-0/task-1/consolidate"),
        ("split-digits-ewc/seed-0/task-1/learn", "split-digits-ewc/seed-0/task-1/consolidate"),
    ],
    ids=["task", "experiment", "stage"],
)
def test_a_state_in_anothers_place_is_refused_and_made_again(copied: Project, of: str, place: str) -> None:
    folder = copied.folder / "results"
    shutil.copy(folder / f"{of}.safetensors", folder / f"{place}.safetensors")
    output = copied.run("lifelong", "evaluate", "split-digits-ewc", "--seed", "0", expect=2)
    assert f"was made as results/{of}.safetensors, not for this place" in output
    assert f"results/{place}.safetensors" in copied.planned(TARGET)


def test_an_edit_of_the_decoding_learns_nothing_again(copied: Project) -> None:
    copied.edit("src/lifelong/data/catalog.py", "    info = {", "    _ = name\n    info = {")
    before = copied.digests()
    copied.snakemake(TARGET)
    after = copied.digests()
    assert [path for path in after if after[path] != before[path]] == ["data/images/digits.safetensors"]
    assert copied.planned(TARGET) == []


def test_a_summary_that_says_nothing_is_made_again(copied: Project) -> None:
    (copied.folder / SUMMARY).write_text("{}")
    assert "its seal does not fit; `rm results/" in copied.run("lifelong", "track", "split-digits-ewc", expect=2)
    assert copied.planned(SUMMARY) == [SUMMARY]
    copied.snakemake(SUMMARY)
    assert copied.planned(SUMMARY) == []


def test_other_libraries_make_results_again(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from lifelong.runtime import provenance

    monkeypatch.chdir(copied.folder)
    assert settle_times(load(), Path("params.yaml")).stale == {}
    monkeypatch.setattr(provenance, "_versions", {**provenance.library_versions(), "torch": "99.0"})
    stale = settle_times(load(), Path("params.yaml")).stale
    assert all("torch" in problem or "was made from" in problem for problem in stale.values())
    assert len(stale) == sum(Freshness(load()).covers(path.relative_to(copied.folder)) for path in results(copied))


def test_another_device_computes_what_is_missing_alone_and_says_so(copied: Project) -> None:
    assert "kept" not in copied.snakemake("--dry-run", TARGET)
    output = copied.snakemake("--dry-run", "--config", "gpu=1", "--", TARGET)
    computed = len([path for path in copied.digests() if "/task-" in path and path.endswith(".safetensors")])
    said = re.search(r"kept: (\d+) results of the processor; what is missing is computed on a GPU", output)
    assert said and int(said[1]) >= computed
    assert "Nothing to be done" in output


def test_a_flipped_byte_is_refused_or_changes_nothing(copied: Project) -> None:
    counts = flip_bytes(copied.folder, 200, random.Random(1))
    assert counts["wrong"] == 0 and counts["refused"] > 150
    assert len({key.partition(" ")[2] for key in counts if " " in key}) >= 12


OWN = """
datasets: {shades: {path: shades, image_size: 8, channels: grey, test_fraction: 0.5}}
sequences:
  split-digits: {dataset: shades, kind: split, tasks: 2, classes_per_task: 2, validation: {fraction: 0.25, seed: 0}}
"""


def test_an_image_that_changes_in_a_folder_of_ones_own_is_learnt(tmp_path: Path) -> None:
    rest = TINY.partition("networks:")[2].partition("reports:")[0]
    project = Project(tmp_path, f"{OWN}networks:{rest}reports: {{}}\n")
    for number in range(32):
        path = tmp_path / f"shades/{'abcd'[number % 4]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 7 * number).save(path)
    target = "results/split-digits-sgd/summary.json"
    project.snakemake(target)
    assert project.planned(target) == []
    Image.new("L", (8, 8), 255).save(path)
    output = project.run("lifelong", "tasks", "split-digits", expect=2)
    assert "was made from shades before that changed" in output
    assert "data/images/shades.safetensors" in project.planned(target)
    project.snakemake(target)
    assert project.planned(target) == []
    times = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert project.planned(target) == []
