"""The graph as a user runs it, in a small copy of the project."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import psutil
import pytest
from support.fire import TARGET, differences, disturb
from support.project import ROOT, Project, eventually, kill_group

from lifelong.params import load
from lifelong.pipeline.stages import needed_memory

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose report and results are complete."""
    project = Project(tmp_path_factory.mktemp("finished"))
    project.snakemake("reports/digits/comparison.md", TARGET)
    return project


def chain(method: str, *states: str) -> list[str]:
    """The outputs of a method's stages and evaluation in the tiny project, of what is kept and of the table above them."""
    base = f"results/split-digits-{method}"
    outputs = []
    for state in states:
        outputs.append(f"{base}/seed-0/{state}.safetensors")
        if not state.endswith("consolidate"):
            outputs.append(f"{base}/seed-0/{state}.curve.jsonl")
    outputs += [f"{base}/seed-0/scores.json", f"{base}/seed-0/predictions.safetensors"]
    outputs += [f"reports/digits/{file}" for file in ("results.csv", "quantities.csv", "provenance.json")]
    return sorted(outputs + [f"reports/digits/comparison.{suffix}" for suffix in ("md", "csv", "json", "png")])


ANPYC = chain("anpyc", "task-0/learn", "task-0/prune", "task-0/consolidate", "task-1/learn", "task-1/consolidate")
EWC = chain("ewc", "task-0/learn", "task-0/consolidate", "task-1/learn", "task-1/consolidate")


def test_a_finished_tree_has_nothing_to_do(finished: Project) -> None:
    assert finished.planned("reports/digits/comparison.md") == []
    assert "ANPyC" in (finished.folder / "reports/digits/comparison.md").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("src/lifelong/methods/anpyc/pruning.py", "RELEASED_START = 50", "RELEASED_START = 40", ANPYC),
        ("src/lifelong/methods/ewc/stages.py", ".strength / 2", ".strength / 3", EWC),
        ("params.yaml", "{strength: 5}", "{strength: 6}", EWC),
        ("src/lifelong/methods/anpyc/pruning.py", "# percent pruned", "# share pruned", []),
        ("params.yaml", "\nreports:", "\n# a remark\nreports:", []),
        ("src/lifelong/reports/quantities.py", '"FWT (GEM)"', '"GEM"', chain("x")[:4]),
    ],
)
def test_an_edit_runs_again_what_depends_on_it_and_nothing_else(
    finished: Project, file: str, old: str, new: str, expected: list[str]
) -> None:
    finished.edit(file, old, new)
    try:
        assert finished.planned("reports/digits/comparison.md") == expected
    finally:
        finished.edit(file, new, old)


def test_a_touched_input_runs_nothing(finished: Project) -> None:
    (finished.folder / "data/images/digits.safetensors").touch()
    assert finished.planned("reports/digits/comparison.md") == []


def test_no_job_needs_more_memory_than_its_rule_states(finished: Project) -> None:
    settings = load(finished.folder / "params.yaml")
    logs = finished.folder / "logs"
    peaks: dict[str, int] = {}
    for log in logs.rglob("*.log"):
        first, *_, last = (*log.relative_to(logs).parts[:-1], log.stem)
        kinds = {"images": "images", "tasks": "tasks", "reports": "report", "collected": "collect", "measured": "measure"}
        kind = kinds.get(first) or (last if last in ("evaluate", "summarise", "track") else "stage")
        peak = int(re.findall(r"peak memory (\d+) MiB", log.read_text())[-1])
        about = first if kind in ("stage", "evaluate") else None
        assert peak < needed_memory(settings, kind, about), f"{log}: {peak} MiB"
        peaks[kind] = max(peak, peaks.get(kind, 0))
    assert {"images", "tasks", "stage", "evaluate", "collect", "report"} <= peaks.keys()


@pytest.mark.parametrize(
    ("experiment", "kind", "measured"),
    [  # measured peaks of large jobs, in MiB
        ("cifar100-full-ari", "stage", 3690),
        ("permuted-mnist-joint-released", "stage", 1586),
        ("permuted-mnist-wide-anpyc", "evaluate", 686),
    ],
)
def test_what_large_jobs_needed_is_stated(experiment: str, kind: str, measured: int) -> None:
    assert measured < needed_memory(load(ROOT / "params.yaml"), kind, experiment) < 2 * measured + 1000


def test_one_core_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.snakemake(TARGET, cores=1)
    assert differences(project, finished.digests()) == []


def test_killed_ten_times_it_ends_with_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path)
    hit = disturb(project, kills=10, seed=7, longest=8)
    # That no process stays is asserted there; how soon it goes is measured elsewhere.
    assert hit.total() - hit["orphans"] >= 8
    assert differences(project, finished.digests()) == []
    assert not list((project.folder / "results/.checkpoints").iterdir())
    assert not list(project.folder.rglob("*.part"))


def test_an_edit_during_a_run_is_refused_and_mixes_nothing(finished: Project, tmp_path: Path) -> None:
    """Parameters edited while tasks are learnt, and put back: the chain is what it would have been without."""
    project = Project(tmp_path)
    first = project.folder / Path(TARGET).parent / "seed-0/task-0/learn.safetensors"
    process = project.start("snakemake", "--cores", "1", TARGET)
    try:
        eventually(lambda: process.poll() is not None or first.exists())
        project.edit("params.yaml", "strength: 0.01", "strength: 3")
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            kill_group(process)
    assert process.returncode == 1
    assert "have changed since Snakemake planned this job" in output
    project.edit("params.yaml", "strength: 3", "strength: 0.01")
    project.snakemake(TARGET)
    assert differences(project, finished.digests()) == []


def test_a_job_that_was_planned_otherwise_does_nothing(finished: Project, tmp_path: Path) -> None:
    state = finished.folder / "results/split-digits-ewc/seed-0/task-0/learn.safetensors"
    before = state.read_bytes()
    command = ("lifelong", "learn", "split-digits-ewc", "--seed", "0", "--task", "0")
    assert "nothing was done: run snakemake again" in finished.run(*command, "--planned", "0" * 64, expect=2)
    assert state.read_bytes() == before
    finished.run(*command)
    assert state.read_bytes() == before


def test_a_living_snakemake_keeps_its_lock(tmp_path: Path) -> None:
    project = Project(tmp_path)
    first = project.start("snakemake", "--cores", "1", TARGET)
    try:
        eventually(lambda: first.poll() is not None or list((project.folder / ".snakemake/locks").glob("*")))
        assert first.poll() is None
        refusal = project.snakemake(TARGET, expect=1)
        assert f"runs in this folder already (process {first.pid} on " in refusal and "--unlock" not in refusal
        assert "Job stats" in project.snakemake("--dry-run", TARGET)
        assert first.poll() is None
    finally:
        kill_group(first)


def test_a_job_ends_with_its_snakemake(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.edit("params.yaml", "epochs: 3", "epochs: 30000")
    process = project.start("snakemake", "--cores", "1", TARGET)

    def running() -> bool:
        """Is any process of the package at work in this project?"""
        for found in psutil.process_iter(["cmdline", "cwd"]):
            ours = any("lifelong" in part for part in found.info["cmdline"] or [])
            if found.info["cwd"] == str(project.folder) and ours:
                return True
        return False

    try:
        eventually(lambda: process.poll() is not None or running())
        assert process.poll() is None
        process.kill()
        process.wait()
        eventually(lambda: not running(), 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            kill_group(process)


def test_options_are_chosen_from_a_grid_on_validation(tmp_path: Path) -> None:
    """One of the candidates diverges and is passed over; the choice is in the summary; the parameters decide re-runs."""
    project = Project(tmp_path)
    project.edit("params.yaml", "options: {strength: 5}", "grid: {options: {strength: [5, 1e12, 50]}}")
    project.snakemake("results/split-digits-ewc/summary.json")
    chosen = json.loads((project.folder / "results/split-digits-ewc/chosen.json").read_text())
    accs = [row["acc"] for row in chosen["candidates"]]
    assert accs[1] is None
    assert chosen["options"]["strength"] == (5 if accs[0] >= accs[2] else 50)
    summary = json.loads((project.folder / "results/split-digits-ewc/summary.json").read_text())
    assert summary["parameters"]["options"] == chosen["options"]
    assert summary["chosen"] == ["strength"]
    assert project.planned("results/split-digits-ewc/summary.json") == []
    project.edit("params.yaml", "[5, 1e12, 50]", "[5, 1e12]")
    planned = project.planned("results/split-digits-ewc/summary.json")
    assert "results/split-digits-ewc/chosen.json" in planned
    assert not any("_grid-" in path for path in planned)


def test_a_section_may_not_be_called_like_a_rule(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.edit("params.yaml", "reports:\n  digits:", "reports:\n  learn:")
    assert "params.yaml: reports.learn: a rule has this name already" in project.snakemake("all", expect=1)


def test_wrong_params_are_refused_before_any_job(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.edit("params.yaml", "{strength: 5}", "{strenght: 5}")
    output = project.snakemake("digits", expect=1)
    assert "experiments.split-digits-ewc.options.strenght: unknown key" in output
    assert "Did you mean 'strength'?" in output
    assert not (project.folder / "results").exists()


def test_a_failed_jobs_log_is_shown_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.edit(
        "params.yaml", "digits: {learning_rate: 0.05, batch_size: 32", "digits: {learning_rate: 1.0e+30, batch_size: 32"
    )
    target = "results/split-digits-finetune/seed-0/task-0/learn.safetensors"
    output = project.snakemake("--quiet", "rules", "reason", "host", "--", target, expect=1)
    assert output.count("training diverged: lower the learning rate") == 1
    assert "logs/split-digits-finetune/seed-0/task-0/learn.log:" in output
    assert "logs/images/digits.log" not in output


def test_snakemake_lint_is_clean(tmp_path: Path) -> None:
    assert "Congratulations" in Project(tmp_path).run("snakemake", "--lint")


def test_by_hand_a_missing_input_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("lifelong", "images", "digits")
    project.run("lifelong", "tasks", "split-digits")
    output = project.run("lifelong", "learn", "split-digits-ewc", "--seed", "0", "--task", "1", expect=2)
    assert "results/split-digits-ewc/seed-0/task-0/consolidate.safetensors: no such file" in output
    assert "snakemake results/split-digits-ewc/seed-0/task-0/consolidate.safetensors" in output


def test_reports_go_elsewhere_and_are_verified_against_the_kept_ones(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = finished.folder / "reports/digits"
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    aside = "results/anew/digits/comparison.md"
    finished.snakemake(aside, "--config", "reports=results/anew")
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    assert finished.planned(aside, "--config", "reports=results/anew") == []
    assert finished.planned("reports/digits/comparison.md") == []
    monkeypatch.setenv("LIFELONG_REPORTS", "results/anew")
    assert "digits: reproduced; of " in finished.run("lifelong", "verify", "digits", "--against", "reports")
    table = finished.folder / "results/anew/digits/results.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], ""]))
    assert "1 missing" in finished.run("lifelong", "verify", "digits", "--against", "reports", expect=1)
