"""The page on a method of one's own, run as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.project import ROOT, Project

pytestmark = pytest.mark.workflow

PAGE = ROOT / "docs/how-to/new-method.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("own"), blocks("yaml")[0])
    files = re.findall(r"^`(pull/[\w.]+)`:$", PAGE.read_text(), flags=re.MULTILINE)
    assert files == ["pull/__init__.py", "pull/stages.py"]
    (project.folder / "pull").mkdir()
    for file, text in zip(files, blocks("python"), strict=True):
        project.write(file, text)
    return project


def run_in(project: Project, commands: str) -> str:
    """The commands in a shell in the project's folder; its sources come first."""
    return project.run("bash", "-ec", commands.replace("PYTHONPATH=$PWD", "PYTHONPATH=$PWD:$PWD/src"))


def test_the_page_runs_as_written(own: Project) -> None:
    (commands,) = blocks("bash")
    output = run_in(own, commands)
    assert "digits-pull (params.yaml, line" in output
    assert "| Pull" in output
    summary = own.folder / "results/digits-pull/summary.json"
    assert summary.is_file()
    assert (own.folder / "reports/own/pull.csv").is_file()


def test_an_edit_of_the_package_runs_its_stages_again(own: Project) -> None:
    (commands,) = blocks("bash")
    run_in(own, commands)
    again = "export PYTHONPATH=$PWD; snakemake --dry-run own"
    assert "Nothing to be done" in run_in(own, again)
    own.edit("pull/stages.py", "torch.ones_like(w)", "2 * torch.ones_like(w)")
    assert "results/digits-pull/seed-0/task-0/learn.safetensors" in run_in(own, again)
    own.edit("pull/stages.py", "2 * torch.ones_like(w)", "torch.ones_like(w)")
    own.edit("pull/stages.py", "The algorithm.", "Other words.")
    assert "Nothing to be done" in run_in(own, again)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("methods: [pull]", "methods: [push]", "methods: 'push' cannot be imported"),
        ("methods: [pull]", "methods: [json]", "methods: module 'json' has no METHODS"),
        ("method: pull", "method: pul", "Did you mean 'pull'?"),
        ("strength: 0.01", "strenght: 0.01", "Did you mean 'strength'?"),
    ],
)
def test_what_is_wrong_is_said(own: Project, old: str, new: str, expected: str) -> None:
    own.edit("params.yaml", old, new)
    try:
        output = own.run("bash", "-c", "PYTHONPATH=$PWD:$PWD/src lifelong check", expect=2)
    finally:
        own.edit("params.yaml", new, old)
    assert expected in output


def test_the_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wider than the page's own equation: without strength it is fine-tuning, with much the shared weights stay."""
    import sys

    import torch
    from support.tiny import identical, shared_of, tiny_job

    from lifelong.params import settings
    from lifelong.training.job import weights

    for file, text in zip(("__init__.py", "stages.py"), blocks("python"), strict=True):
        (tmp_path / "pull").mkdir(exist_ok=True)
        (tmp_path / "pull" / file).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("pull", "pull.stages"):
        sys.modules.pop(name, None)

    def learnt(method: str, options: dict[str, float]) -> dict[str, torch.Tensor]:
        entry = {"sequence": "s", "network": "n", "training": "t", "method": method, "options": options, "seeds": 1}
        split = {"dataset": "digits", "kind": "split", "tasks": 3, "classes_per_task": 2, "validation": {"first": 9}}
        chosen = settings(
            {
                "methods": ["pull"],
                "sequences": {"s": split},
                "networks": {"n": {"kind": "mlp", "hidden": [5], "initialisation": "truncated-normal"}},
                "training": {"t": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}},
                "experiments": {"e": entry},
                "reports": {},
            }
        ).experiment("e")
        job = tiny_job(chosen, 1)
        before = {"network": weights(job.network(None))}
        state = chosen.method.stage("learn").function(job, chosen.options, {**before, "importance": {}})
        moved = {n: (state["network"][n] - before["network"][n]).abs() for n in shared_of(before["network"])}
        return state["network"] | {"moved": torch.cat([m.flatten() for m in moved.values()]).sum()}

    free, held = learnt("finetune", {}), learnt("pull", {"strength": 4.0})
    assert identical(free, learnt("pull", {"strength": 0.0}))
    assert held["moved"] < free["moved"] / 2
