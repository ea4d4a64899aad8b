"""What a result depends on: its parameters and the code that its roots reach, and nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
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


def changed_by(package: Path, path: str, old: str, new: str) -> set[str]:
    """The methods whose stages an edit of a source invalidates, and `scores`."""

    def digests() -> dict[str, str]:
        forget()
        chosen = experiments()
        found = {name: stage_fingerprint(experiment) for name, experiment in chosen.items()}
        return found | {"scores": scores_fingerprint(chosen["ewc"])}

    before = digests()
    source = (package / path).read_text()
    assert old in source
    (package / path).write_text(source.replace(old, new, 1))
    after = digests()
    return {name for name in before if before[name] != after[name]}


ALL = {"finetune", "joint", "ewc", "anpyc", "scores"}
LEARNERS = ALL - {"scores"}


@pytest.mark.parametrize(
    ("path", "old", "new", "changed"),
    [
        ("learning/penalties.py", "[2 * strength", "[3 * strength", LEARNERS),
        ("learning/fit.py", "epoch // self.every", "epoch / self.every", LEARNERS),
        ("networks/mlp.py", "F.relu", "F.elu", ALL),
        ("data/tensors.py", "div_(255)", "div_(256)", ALL),
        ("randomness.py", "[:8]", "[8:16]", ALL),
        ("learning/scores.py", "i + 1, per_task", "i, per_task", {"scores"}),
        ("methods/anpyc/pruning.py", "importance >= threshold", "importance > threshold", {"anpyc"}),
        ("methods/anpyc/stages.py", "torch.maximum", "torch.minimum", {"anpyc"}),
        ("methods/baselines/ewc.py", "strength / 2", "strength / 4", {"ewc"}),
        ("methods/baselines/joint.py", "targets % per_task", "targets // per_task", {"joint"}),
        ("learning/importance.py", "by_outputs.sum(0)", "by_outputs.sum(1)", {"ewc", "anpyc"}),
        ("artifacts.py", "FORMAT = 1", "FORMAT = 2", set()),
        ("progress.py", "LINE_SECONDS = 10.0", "LINE_SECONDS = 20.0", set()),
        ("tracking.py", "from __future__ import annotations", "from __future__ import annotations\nx = 1", set()),
    ],
)
def test_an_edit_changes_what_it_reaches(package: Path, path: str, old: str, new: str, changed: set[str]) -> None:
    assert changed_by(package, path, old, new) == changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Penalties that', '"""Some other penalties that'),
        ('"""The penalty itself', '"""Itself'),
        ('"""strength * sum', '"""Strength times sum'),
        ("class QuadraticPenalty", "# a comment\n\n\nclass QuadraticPenalty"),
        ("self.names = list(importance)", "self.names = list(\n            importance  # in order\n        )"),
    ],
    ids=["module", "method", "class", "comment", "format"],
)
def test_words_and_formatting_change_nothing(package: Path, old: str, new: str) -> None:
    assert changed_by(package, "learning/penalties.py", old, new) == set()


def test_a_newly_imported_module_counts(package: Path) -> None:
    (package / "extra.py").write_text("x = 1\n")
    first = "from __future__ import annotations\n"
    for addition in ("import lifelong.extra\n", "from lifelong import extra\n", "from lifelong.extra import x\n"):
        path = "methods/baselines/ewc.py"
        assert changed_by(package, path, first, first + addition) == {"ewc"}
        assert changed_by(package, "extra.py", "x = ", "x = 1 + ") == {"ewc"}
        assert changed_by(package, path, first + addition, first) == {"ewc"}
        assert changed_by(package, "extra.py", "x = ", "x = 1 + ") == set()


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
