"""What a result depends on: its parameters and the code that its roots reach, and nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_experiment

from lifelong import fingerprint as module
from lifelong.config import Experiment
from lifelong.stages import scores_fingerprint, stage_fingerprint, summary_fingerprint


def forget() -> None:
    for cached in (module.code_digest, module._tree, module._imports, module._meaning):
        cached.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package's sources to edit."""
    copy = tmp_path / "lifelong"
    shutil.copytree(module.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE", copy)
    forget()
    yield copy
    forget()


def experiments() -> dict[str, Experiment]:
    options: dict[str, dict[str, Any]] = {"ewc": {"strength": 1.0}, "anpyc": {"strength": 1.0}}
    return {name: tiny_experiment(name, options=options.get(name)) for name in ("finetune", "joint", "ewc", "anpyc")}


def changed_by(package: Path, path: str, edit: Callable[[str], str]) -> set[str]:
    """The methods whose stages an edit of a source invalidates, and `scores`."""

    def digests() -> dict[str, str]:
        forget()
        chosen = experiments()
        found = {name: stage_fingerprint(experiment) for name, experiment in chosen.items()}
        return found | {"scores": scores_fingerprint(chosen["ewc"])}

    before = digests()
    source = (package / path).read_text()
    assert edit(source) != source
    (package / path).write_text(edit(source))
    after = digests()
    return {name for name in before if before[name] != after[name]}


LEARNERS = {"finetune", "joint", "ewc", "anpyc"}
ALL = {*LEARNERS, "scores"}


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("learning/penalties.py", LEARNERS),
        ("learning/fit.py", LEARNERS),
        ("learning/run.py", LEARNERS),
        ("networks/mlp.py", ALL),
        ("data/tensors.py", ALL),
        ("randomness.py", ALL),
        ("learning/scores.py", {"scores"}),
        ("methods/anpyc/pruning.py", {"anpyc"}),
        ("methods/anpyc/stages.py", {"anpyc"}),
        ("methods/baselines/ewc.py", {"ewc"}),
        ("methods/baselines/joint.py", {"joint"}),
        ("learning/importance.py", {"ewc", "anpyc"}),
        ("artifacts.py", set()),
        ("progress.py", set()),
        ("tracking.py", set()),
        ("mlflow_runs.py", set()),
    ],
)
def test_an_edit_changes_what_it_reaches(package: Path, path: str, changed: set[str]) -> None:
    assert changed_by(package, path, lambda source: f"{source}\nx = 1\n") == changed


EXTRA = '''"""Of the module."""


class Thing:
    """Of the class."""

    def double(self, number: int) -> int:
        """Of the method."""
        return 2 * number
'''
FIRST = "from __future__ import annotations\n"


IMPORTS = ["import lifelong.extra\n", "from lifelong import extra\n", "from lifelong.extra import Thing\n"]


@pytest.mark.parametrize(
    ("addition", "old", "new", "changed"),
    [
        *[(addition, "2 * number", "3 * number", {"ewc"}) for addition in IMPORTS],
        ("", "2 * number", "3 * number", set()),
        (IMPORTS[0], "Of the module.", "Other words.", set()),
        (IMPORTS[0], "Of the class.", "Other words.", set()),
        (IMPORTS[0], "Of the method.", "Other words.", set()),
        (IMPORTS[0], "class Thing", "# a comment\nclass Thing", set()),
        (IMPORTS[0], "2 * number", "(\n            2 * number  # twice\n        )", set()),
    ],
)
def test_code_of_an_imported_module_counts_and_its_words_do_not(
    package: Path, addition: str, old: str, new: str, changed: set[str]
) -> None:
    (package / "extra.py").write_text(EXTRA)
    importer = package / "methods" / "baselines" / "ewc.py"
    importer.write_text(importer.read_text().replace(FIRST, FIRST + addition))
    assert changed_by(package, "extra.py", lambda source: source.replace(old, new)) == changed


def test_no_module_of_the_package_is_out_of_sight() -> None:
    """Absolute imports only: a relative one would be missed."""
    for path in module.PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level], path


def test_parameters_count_and_names_and_seeds_do_not() -> None:
    base = tiny_experiment("ewc", options={"strength": 1.0})
    first = stage_fingerprint(base)
    others = [
        tiny_experiment("ewc", options={"strength": 2.0}),
        tiny_experiment("ewc", options={"strength": 1.0}, epochs=3),
        tiny_experiment("ewc", options={"strength": 1.0}, dropout=0.5),
        tiny_experiment("ewc", options={"strength": 1.0}, heads="shared"),
        replace(base, scenario=base.scenario.model_copy(update={"tasks": 2})),
    ]
    assert len({first, *(stage_fingerprint(other) for other in others)}) == 6
    same = replace(base, name="other", scenario_name="other", seeds=(3, 4), joint="other")
    assert stage_fingerprint(same) == first
    assert summary_fingerprint(same) != summary_fingerprint(base)
    assert scores_fingerprint(others[0]) == scores_fingerprint(base) != scores_fingerprint(others[3])
