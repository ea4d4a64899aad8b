"""What a result depends on: its parameters and the code that its entry reaches, and nothing else."""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.collectives import NAME, TASKS, collective_settings
from support.tiny import OF_IMAGES, tiny_experiment, write_images

from lifelong.params import Experiment
from lifelong.pipeline import fingerprints
from lifelong.pipeline.fingerprints import fingerprint
from lifelong.pipeline.stages import JOBS, scores_parts, stage_fingerprint, summary_parts
from lifelong.runtime import paths

TEACH = "lifelong.methods.skill.teach"
SKILL = {name: f"{TEACH}:{name}" for name in ("teach", "teach_biased", "judge_biased")}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package's sources to edit."""
    copy = tmp_path / "lifelong"
    shutil.copytree(fingerprints.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprints, "PACKAGE", copy)
    fingerprints.forget()
    yield copy
    fingerprints.forget()


def digests() -> dict[str, str]:
    """Fingerprint of every stage of a few methods, of their scores, of SKILL's teaching."""
    fingerprints.forget()
    options: dict[str, dict[str, Any]] = {"ewc": {"strength": 1.0}, "anpyc": {"strength": 1.0}}
    found: dict[str, str] = {}
    for name in ("finetune", "joint", "ewc", "anpyc"):
        experiment = tiny_experiment(name, options=options.get(name))
        found |= {f"{name} {stage.name}": stage_fingerprint(experiment, stage.name) for stage in experiment.method.stages}
    found["scores"] = fingerprint(*scores_parts(tiny_experiment("finetune")))
    return found | {name: fingerprints.code_digest((entry,)) for name, entry in SKILL.items()}


def changed_by(package: Path, path: str, edit: Callable[[str], str]) -> set[str]:
    """What an edit of a source invalidates."""
    before = digests()
    source = (package / path).read_text()
    assert edit(source) != source
    (package / path).write_text(edit(source))
    after = digests()
    return {name for name in before if before[name] != after[name]}


def swapped(old: str, new: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        assert old in source, old
        return source.replace(old, new, 1)

    return edit


ANPYC = {"anpyc learn", "anpyc prune", "anpyc consolidate"}
EWC = {"ewc learn", "ewc consolidate"}
STAGES = {"finetune learn", "joint learn", *EWC, *ANPYC}


@pytest.mark.parametrize(
    ("path", "old", "new", "changed"),
    [
        ("training/penalties.py", "2 * strength * tensor", "3 * strength * tensor", STAGES),
        ("networks/mlp.py", "F.relu(layer(x))", "F.gelu(layer(x))", {*STAGES, "scores"}),
        ("data/tensors.py", "div_(255)", "div_(256)", {*STAGES, "scores"}),
        ("evaluation/protocols.py", "CHUNKS = (1, 5, 20, 100)", "CHUNKS = (1, 5)", {"scores"}),
        ("methods/anpyc/pruning.py", "SHRINK = 0.8", "SHRINK = 0.7", {"anpyc learn", "anpyc prune"}),
        ("methods/anpyc/importance.py", "div_(2)", "div_(3)", {"anpyc prune", "anpyc consolidate"}),
        ("methods/anpyc/__init__.py", 'in ("released", "constant")', 'in ("released",)', ANPYC),
        ("methods/ewc/stages.py", "options.strength / 2", "options.strength", {"ewc learn"}),
        ("methods/ewc/stages.py", "options.fisher_batch", "2", {"ewc consolidate"}),
        ("methods/joint/stages.py", "classes.offset(task.index)", "classes.offset(0)", {"joint learn"}),
        ("training/importance.py", "p.sqrt()", "p", {"ewc consolidate", "anpyc prune", "anpyc consolidate"}),
        ("methods/skill/teach.py", "judged, head, derived_seed(seed, label)", "judged, head, derived_seed(1)", {"teach"}),
        ("methods/skill/teach.py", "logits.argmax(1)", "logits.argmin(1)", {"judge_biased"}),
        ("methods/skill/teach.py", "return data.at(train), data", "return data, data", {"teach", "teach_biased"}),
        ("pipeline/choose.py", 'key=lambda row: row["acc"])', 'key=lambda row: -row["acc"])', set()),
        ("runtime/artifacts.py", "os.fsync", "os.fdatasync", set()),
        ("reports/tables.py", "import", "import os\nimport", set()),
        ("pipeline/tracking/experiments.py", 'level: str', 'level_: str', set()),
        ("methods/si/stages.py", "value=rate", "value=2 * rate", set()),
    ],
)  # fmt: skip
def test_an_edit_changes_what_it_reaches(package: Path, path: str, old: str, new: str, changed: set[str]) -> None:
    assert changed_by(package, path, swapped(old, new)) == changed


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("training/fit.py", "training diverged", "it went wrong"),
        ("training/exemplars.py", "give at least one image a class", "too few"),
        ("training/fit.py", '"""The training loop', '"""A training loop'),
        ("networks/create.py", '"""Named tensors in named groups', '"""Tensors in groups'),
        ("training/fit.py", "initial: float\n", "initial: int\n"),
        ("training/fit.py", "def epoch_seed(self, epoch: int) -> int:", "def epoch_seed(self, epoch) -> object:  # a note"),
        ("networks/mlp.py", "        x = images.flatten", "\n        # a comment\n        x = images.flatten"),
        ("params/schema.py", "decays = self", "falls = decays = self"),
        ("training/fit.py", "class Update:", "class Update:  # a comment"),
    ],
)
def test_words_change_nothing(package: Path, path: str, old: str, new: str) -> None:
    assert changed_by(package, path, swapped(old, new)) == set()


EXTRA = '''"""Of the module."""

FACTOR = 2


class Thing:
    """Of the class."""

    def double(self, number: int) -> int:
        """Of the method."""
        return FACTOR * number


def unused() -> int:
    return 1
'''
FIRST = "from __future__ import annotations\n"
USES = "    network = job.network(state)\n"


@pytest.mark.parametrize(
    ("imported", "used"),
    [
        ("import lifelong.extra\n", "lifelong.extra.Thing().double(1)"),
        ("from lifelong import extra\n", "extra.Thing().double(1)"),
        ("from lifelong.extra import Thing as Other\n", "Other().double(1)"),
        ("", "__import__('os')\n    from lifelong.extra import Thing\n    Thing()"),
        ("from lifelong import extra\n", "getattr(extra, 'Th' + 'ing')"),
    ],
)
def test_code_that_is_used_counts_however_it_is_imported(package: Path, imported: str, used: str) -> None:
    (package / "extra.py").write_text(EXTRA)
    stages = package / "methods/finetune/stages.py"
    text = stages.read_text().replace(FIRST, FIRST + imported, 1).replace(USES, f"{USES}    {used}\n", 1)
    stages.write_text(text)
    assert changed_by(package, "extra.py", swapped("FACTOR = 2", "FACTOR = 3")) == {"finetune learn"}
    whole = "getattr" in used
    expected = {"finetune learn"} if whole else set()
    assert changed_by(package, "extra.py", swapped("return 1", "return 2")) == expected
    assert changed_by(package, "extra.py", swapped("Of the method.", "Other words.")) == set()
    assert changed_by(package, "extra.py", swapped("\nFACTOR", "\nprint(1)\nFACTOR")) == {"finetune learn"}


def test_an_annotation_leads_to_the_methods_of_its_class(package: Path) -> None:
    """A stage asks its options, which it never names but in its signature."""
    before = digests()
    path = package / "methods/ewc/__init__.py"
    source = path.read_text()
    grown = source.replace(
        "class EwcOnlineOptions",
        "    @property\n    def half(self) -> float:\n        return 2\n\n\nclass EwcOnlineOptions",
        1,
    )
    path.write_text(grown)
    first = digests()
    assert {name for name in before if before[name] != first[name]} == EWC
    path.write_text(grown.replace("return 2", "return 3"))
    assert {name for name in before if first[name] != digests()[name]} == EWC


def test_no_module_of_the_package_is_out_of_sight() -> None:
    """Absolute imports only: a relative one, or one of all names, would be missed."""
    for path in fingerprints.PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not node.level and all(alias.name != "*" for alias in node.names), path


def test_neutral_modules_exist_and_say_why() -> None:
    for module, why in fingerprints.NEUTRAL.items():
        assert fingerprints._file(module) is not None and len(why) > 20


def test_parameters_count_and_names_and_seeds_do_not() -> None:
    base = tiny_experiment("ewc", options={"strength": 1.0})
    first = stage_fingerprint(base, "learn")
    others = [
        tiny_experiment("ewc", options={"strength": 2.0}),
        tiny_experiment("ewc", options={"strength": 1.0}, epochs=3),
        tiny_experiment("ewc", options={"strength": 1.0}, dropout=0.5),
        tiny_experiment("ewc", options={"strength": 1.0}, heads="shared"),
        replace(base, sequence=base.sequence.model_copy(update={"tasks": 2})),
    ]
    assert len({first, *(stage_fingerprint(other, "learn") for other in others)}) == 6
    same = replace(base, name="other", sequence_name="other", seeds=(3, 4), joint="other")
    assert stage_fingerprint(same, "learn") == first
    assert fingerprint(*summary_parts(same)) != fingerprint(*summary_parts(base))
    assert fingerprint(*scores_parts(others[0])) == fingerprint(*scores_parts(base)) != fingerprint(*scores_parts(others[3]))


# What runs is in the fingerprint


class Recorder:
    """Which definitions of the package run: (module, name at its top level)."""

    def __init__(self) -> None:
        self.codes: set[Any] = set()

    def __enter__(self) -> Recorder:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame: Any, event: str, _: object) -> None:
        if event == "call":
            self.codes.add(frame.f_code)

    def definitions(self) -> set[tuple[str, str]]:
        found = set()
        for code in self.codes:
            path = Path(code.co_filename)
            if fingerprints.PACKAGE not in path.parents or not code.co_flags & inspect.CO_OPTIMIZED:  # bodies at import
                continue
            parts = path.relative_to(fingerprints.PACKAGE.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.add((module, top_level(module, code.co_firstlineno)))
        return found


def top_level(module: str, line: int) -> str:
    for name, statements in fingerprints._source(module).definitions.items():
        for statement in statements:
            first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
            if first <= line <= (statement.end_lineno or 0):
                return name
    return ""


def missing_from(entries: tuple[str, ...], recorded: Recorder) -> set[tuple[str, str]]:
    """What ran and is neither in the fingerprint of the entries nor neutral."""
    covered = fingerprints.reachable(entries)
    return {
        (module, name)
        for module, name in recorded.definitions()
        if (module, name) not in covered and module not in fingerprints.NEUTRAL
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 1.0},
    "ewc-online": {"strength": 1.0, "gamma": 0.9},
    "mas": {"strength": 1.0},
    "lwf": {"strength": 1.0},
    "xdg": {"fraction_off": 0.5},
    "anpyc": {"strength": 1.0},
    "der++": {"memory": 12},
    "er": {"memory": 12},
    "rwalk": {"strength": 1.0},
    "gem": {"memory": 12},
    "agem": {"memory": 12},
    "icarl": {"memory": 12},
    "ari": {"memory": 12, "meta_epochs": 1},
    "itaml": {"memory": 12},
    "nsp": {"null_space": {"threshold": 0.01}},
    "tpnsp": {"null_space": {"threshold": 0.01}},
    "connector": {"null_space": {"threshold": 0.01}},
    "split2meta": {
        "null_space": {"kind": "tpnsp", "threshold": 0.01},
        "fast_epochs": 1,
        "dreams": {"images": 4, "iterations": 2},
        "fusion": {"kind": "meta", "steps": 2},
    },
    "anpyc-compression": {"thresholds": [0.5]},
    "anpyc-removal": {"weights_per_layer": 3},
}


def small_experiment(method: str) -> Experiment:
    network: dict[str, Any] | None = {"kind": "attention-mlp", "hidden": [4, 4]} if method in ("ari", "itaml") else None
    sequence = None
    if method == "anpyc-compression":
        sequence = {"dataset": "digits", "kind": "repeated", "tasks": 2, "validation": {"first": 20}}
    return tiny_experiment(method, options=OPTIONS.get(method), network=network, sequence=sequence, batch_size=8, epochs=1)


def test_every_method_of_images_is_recorded_below() -> None:
    assert set(OF_IMAGES) == {
        *OPTIONS, "sgd", "finetune", "sgd-f", "joint", "si", "hat", "psp", "supsup"
    }  # fmt: skip


@pytest.mark.parametrize("method", OF_IMAGES)
def test_what_stages_run_is_in_their_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    from lifelong.data import sequences
    from lifelong.params.networks import network_module
    from lifelong.pipeline.evaluate import evaluate
    from lifelong.pipeline.run import run_stage
    from lifelong.runtime import paths

    monkeypatch.chdir(tmp_path)
    experiment = small_experiment(method)
    write_images("digits")
    sequences.build(experiment.sequence, {"digits": paths.images("digits")}, paths.tasks("three"))
    build = f"{network_module(experiment.network)}:build"
    skipped = experiment.method.skipped  # says which stages there are, as the graph's own code does
    graph = {(skipped.__module__, name) for name in (skipped.__name__, "_skip_unwanted")}
    graph.add(("lifelong.params.methods", "Method"))
    for task in experiment.tasks:
        for stage in experiment.stages(task):
            with Recorder() as recorder:
                run_stage(experiment, 0, task, stage.name)
            entries = ("lifelong.pipeline.run:run_seeds", stage.entry, build)
            assert missing_from(entries, recorder) - graph == {("lifelong.pipeline.run", "run_stage")}
    with Recorder() as recorder:
        evaluate(experiment, 0)
    own = (type(experiment.options).__module__, type(experiment.options).__name__)  # what the graph asks them
    asked = [experiment.method.network_of] if experiment.method.network_of else []
    assert missing_from(("lifelong.pipeline.evaluate:evaluate", build, *asked), recorder) - graph - {own} == set()


def test_what_the_other_jobs_run_is_in_their_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, features and the stages of a collective, each recorded, beside what the table of jobs says of it."""
    from lifelong.data import catalog, sequences
    from lifelong.methods.skill import evaluate, features, head2toe, packing, reuse, share, teach

    monkeypatch.chdir(tmp_path)
    biases = {"kind": "beneficial-biases", "epochs": 1}
    settings = collective_settings(
        seeds=1,
        heads={"linear": {"kind": "linear", "epochs": 1}, "biases": biases},
        head2toe={"head": "biases", "mapper": "gmmc", "width": 8, "epochs": 1},
    )
    skill, tasks = settings.skill, range(TASKS)
    sequence, entries = settings.sequence("three"), skill.tasks("three")

    def each(act: Callable[[int], None]) -> None:
        for task in tasks:
            act(task)

    nowhere: tuple[Path, list[Path]] = (tmp_path, [])
    outputs = {split: paths.features("random", "all", "digits", split) for split in features.SPLITS}
    backbone, tier = skill.backbones["random"], skill.tiers["all"]
    images = {"digits": paths.images("digits")}
    runs: list[tuple[str, tuple[str, ...], Callable[[], object]]] = [
        ("images", ("digits",), lambda: catalog.prepare("digits", None, paths.images("digits"), *nowhere)),
        ("tasks", ("three",), lambda: sequences.build(
            sequence, images, paths.tasks("three"), tier, entries)),
        ("features", ("random", "all"), lambda: features.extract(
            "random", backbone, tier, paths.images("digits"), outputs, tmp_path / "checkpoints", nowhere)),
        ("teach", (NAME,), lambda: each(lambda task: teach.teach(skill, NAME, 0, task))),
        ("teach-biased", (NAME, "biases"), lambda: each(
            lambda task: teach.teach_biased(skill, NAME, 0, task, "biases", nowhere))),
        ("judge-biased", (NAME, "biases"), lambda: teach.judge_biased(skill, NAME, 0, "biases", nowhere)),
        ("head2toe", (NAME,), lambda: head2toe.head2toe(skill, NAME, 0, 0, nowhere)),
        ("pack", (NAME,), lambda: each(lambda task: packing.pack(skill, NAME, 0, task))),
        ("receive", (NAME,), lambda: share.receive(skill, NAME, 0, 1, 0)),
        ("route", (NAME,), lambda: evaluate.evaluate(skill, NAME, 0)),
        ("reuse", (NAME,), lambda: reuse.reuse(skill, NAME, 0)),
    ]  # fmt: skip
    for kind, names, run in runs:
        with Recorder() as recorder:
            run()
        _, roots = JOBS[kind].parts(settings, *names)
        asked = {("lifelong.params.skill", "Skill")}  # finds what the names stand for
        here = {d for d in missing_from(tuple(roots), recorder) if not d[0].startswith("lifelong.params.sections")}
        assert here - asked == set(), kind


def test_the_table_of_jobs_names_functions_that_there_are() -> None:
    settings = collective_settings(head2toe={"head": "biases", "mapper": "gmmc"})
    of = {"images": ("digits",), "tasks": ("three",), "features": ("random", "all")}
    of |= {"report": ("tiny/all",), "measure": ("tiny/all",), "collect": ("tiny",)}
    of |= dict.fromkeys(("evaluate", "choose", "summarise", "track"), ("on-features-ewc",))
    of |= {"stage": ("on-features-ewc", "learn")} | dict.fromkeys(("teach-biased", "judge-biased"), (NAME, "biases"))
    for kind, job in JOBS.items():
        _, entries = job.parts(settings, *of.get(kind, (NAME,)))
        assert fingerprints.reachable(tuple(entries))


def test_a_gap_in_the_fingerprint_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check above finds a module that is taken out of the closure."""
    import torch

    from lifelong.training.losses import cross_entropy

    with Recorder() as recorder:
        cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    entry = ("lifelong.methods.finetune.stages:learn",)
    assert missing_from(entry, recorder) == set()
    real = fingerprints._leads_to
    monkeypatch.setattr(
        fingerprints, "_leads_to", lambda *one: tuple(d for d in real(*one) if d[0] != "lifelong.training.losses")
    )
    fingerprints.reachable.cache_clear()
    try:
        assert missing_from(entry, recorder) == {("lifelong.training.losses", "cross_entropy")}
    finally:
        fingerprints.reachable.cache_clear()
