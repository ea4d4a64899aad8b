"""An image from outside is answered as the evaluation answered for the same pixels; what cannot be answered is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.runs import SPLIT, made
from support.tiny import tiny_experiment

from lifelong import params
from lifelong.cli.predict import find_images, predict
from lifelong.params import Settings
from lifelong.params.experiment import Experiment
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import final_state
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError

PERMUTED = {"dataset": "digits", "kind": "permuted", "tasks": 3, "permutation": "released", "validation": {"first": 20}}
LEARNERS: dict[str, dict[str, Any]] = {
    "one head a task": {"method": "finetune"},
    "one head": {"method": "er", "options": {"memory": 12}},
    "a shared head": {"method": "sgd", "heads": "shared"},
    "gates": {"method": "xdg", "options": {"fraction_off": 0.5}},
    "a network a task": {"method": "psp"},
    "means of features": {"method": "icarl", "options": {"memory": 12}},
    "permuted pixels": {"method": "sgd", "sequence": PERMUTED},
}


def settings_of(experiment: Experiment) -> Settings:
    """The experiment alone, without checks that a whole file would have to pass."""
    empty = params.settings({"sequences": {}, "networks": {}, "training": {}, "experiments": {}, "reports": {}})
    return replace(empty, experiments={experiment.name: experiment})


def ask(settings: Settings, *arguments: object) -> list[dict[str, Any]]:
    result = CliRunner().invoke(predict, [*map(str, arguments), "--json"], obj=settings, catch_exceptions=False)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("kind", LEARNERS)
def test_it_answers_as_the_evaluation_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = tiny_experiment(**{"sequence": SPLIT} | LEARNERS[kind])
    arrays = made(experiment)
    evaluate(experiment, 0)
    answers, _ = read_tensors(paths.predictions("tiny", 0), "predictions")
    settings, last = settings_of(experiment), experiment.tasks[-1]
    order = np.concatenate([arrays[f"task-{task:02d}.classes"] for task in experiment.tasks])
    names = ["abcdef"[label] for label in order]
    for task in experiment.tasks:
        files = []
        for number in arrays[f"task-{task:02d}.test"][:6]:
            files.append(Path(f"{number}.png"))
            Image.fromarray(arrays["test_images"][number, 0]).save(files[-1])
        size = len(names) // experiment.count
        within = answers[f"after-{last:02d}.on-{task:02d}.task"]
        own = names[task * size : (task + 1) * size]
        for told, label in zip(ask(settings, *files, "--task", task), within[: len(files)], strict=True):
            assert (told["task"], told["task_confidence"]) == (str(task), None)
            assert told["classes"][0]["class"] == own[label]
        free = answers.get(f"after-{last:02d}.on-{task:02d}.class")
        if free is None or kind == "permuted pixels":
            continue
        for told, label in zip(ask(settings, *files, "--top", 6), free[: len(files)], strict=True):
            shares = [one["confidence"] for one in told["classes"]]
            assert told["classes"][0]["class"] == names[label]
            assert told["task"] == str(label // size)
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) == pytest.approx(1, abs=1e-3)
            inside = [one["confidence"] for one in told["classes"] if one["class"] in names[label // size * size :][:size]]
            assert told["task_confidence"] == pytest.approx(sum(inside), abs=1e-3)


def learnt(experiment: Experiment) -> Settings:
    made(experiment)
    Image.fromarray(np.zeros((4, 6), np.uint8)).save("black.png")
    return settings_of(experiment)


def refusal(settings: Settings, *arguments: str) -> str:
    with pytest.raises(UserError) as error:
        CliRunner().invoke(predict, arguments, obj=settings, catch_exceptions=False)
    return str(error.value)


def test_what_cannot_be_answered_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("black.png").touch()
    settings = settings_of(tiny_experiment("finetune", sequence=SPLIT))
    assert "nothing has been trained here; `snakemake demo`" in refusal(settings, "black.png")
    assert "not trained yet; `snakemake results/tiny/summary.json`" in refusal(settings, "black.png", "--experiment", "tiny")
    settings = learnt(tiny_experiment("finetune", sequence=SPLIT))
    assert "Did you mean 'tiny'?" in refusal(settings, "black.png", "--experiment", "tinny")
    assert "--seed: found 7; tiny has the seeds 0" in refusal(settings, "black.png", "--experiment", "tiny", "--seed", "7")
    assert "--task: found '3', which experiment tiny" in refusal(settings, "black.png", "--task", "3")
    assert "--variant: found 'GMMC', where tiny is an experiment" in refusal(settings, "black.png", "--variant", "GMMC")
    Path("empty").mkdir()
    assert "empty: holds no image" in refusal(settings, "empty")
    shared = settings_of(tiny_experiment("sgd", sequence=SPLIT, heads="shared"))
    final_state(shared.experiment("tiny"), 0, 2).unlink()
    learnt(shared.experiment("tiny"))
    assert "all its tasks share one head, which does not tell which task it is: give --task" in refusal(
        shared, "black.png", "--experiment", "tiny"
    )
    assert "nothing has been trained here" in refusal(shared, "black.png")


def test_what_was_trained_last_answers_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = learnt(tiny_experiment("finetune", sequence=SPLIT))
    final_state(settings.experiment("tiny"), 0, 2).unlink()
    result = CliRunner().invoke(predict, ["black.png"], obj=settings, catch_exceptions=False)
    assert "experiment tiny, seed 0, after task 1, trained last" in result.stderr
    assert result.stdout.startswith("black.png: task ")


def test_unreadable_images_are_named_and_the_others_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = learnt(tiny_experiment("finetune", sequence=SPLIT))
    Path("bad.png").write_bytes(b"no picture")
    result = CliRunner().invoke(predict, ["bad.png", "gone.png", "black.png", "--json"], obj=settings)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(one) >= {"error"} for one in told] == [True, True, False]
    assert result.exit_code == 2


def test_images_of_a_folder_are_those_in_and_below_it(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images([tmp_path, Path("x.png")]) == [tmp_path / "a.jpg", tmp_path / "b/2.PNG", Path("x.png")]
