"""Task and class of images from outside, by anything trained here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from lifelong.cli.options import device_option
from lifelong.params import Settings
from lifelong.pipeline.freshness import Freshness
from lifelong.pipeline.trained import Trained, choose_trained
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import RAW, search_directories

BATCH = 256
"""Images in memory at once."""

Told = dict[str, Any]
"""An answer as JSON values: image, task, task_confidence (null: not asked), classes; or image and error."""

Ask = Callable[[Sequence[Path]], Iterator[Told]]


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--experiment", help="Whose model; default: what has been trained last.")
@click.option("--collective", help="A collective of SKILL, whose packets answer.")
@click.option("--variant", help="Of a collective: which packets; default: its first.")
@click.option("--seed", type=int, help="Default: the first that is trained.")
@click.option("--task", help="The images' task, by number or name; default: it is guessed.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="How many classes to name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an image and line.")
@device_option
@click.pass_obj
def predict(
    settings: Settings,
    images: tuple[Path, ...],
    experiment: str | None,
    collective: str | None,
    variant: str | None,
    seed: int | None,
    task: str | None,
    top: int,
    as_json: bool,
    device: str,
) -> None:
    """Task and class of images, or of all images in folders, by anything trained here."""
    if experiment and collective:
        raise UserError("--experiment, --collective: found both; expected one of them")
    if collective:
        settings.skill.collective(collective)
    files = find_images(images)
    model = choose_trained(settings, experiment or collective, seed, task_known=task is not None)
    click.echo(f"{model}{'' if experiment or collective else ', trained last'}", err=True)
    if not model.collective and (problem := Freshness(settings).find_problem(model.file)):
        click.echo(f"{model.file} {problem}; it answers as it is", err=True)
    from lifelong.runtime.computing import computing

    failed = 0
    with computing(device):
        ask = (_ask_collective if model.collective else _ask_experiment)(settings, model, variant, task, top)
        for start in range(0, len(files), BATCH):
            for told in ask(files[start : start + BATCH]):
                failed += "error" in told
                click.echo(json.dumps(told) if as_json else _describe(told), err="error" in told and not as_json)
    if failed:
        sys.exit(2)


def find_images(given: Sequence[Path]) -> list[Path]:
    """Files as they are named, and the images in and below folders."""
    from lifelong.data.folder import SUFFIXES

    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not inside:
            raise UserError(f"{path}: holds no image ({' '.join(SUFFIXES)}); name another folder")
        found += inside
    return found


def _ask_experiment(settings: Settings, model: Trained, variant: str | None, task: str | None, top: int) -> Ask:
    import torch

    from lifelong.pipeline.outside import Outside
    from lifelong.pipeline.predict import Predictor

    if variant is not None:
        raise UserError(
            f"--variant: found {variant!r}, where {model.name} is an experiment; name a --collective or leave it away"
        )
    predictor = Predictor.of(settings.experiment(model.name), model)
    outside = Outside(predictor.inputs, settings.limits)
    given = None if task is None else predictor.find_task(task)

    def ask(files: Sequence[Path]) -> Iterator[Told]:
        pixels, faults = {}, {}
        for file in files:
            try:
                pixels[file] = outside.read(file)
            except FileNotFoundError:
                faults[file] = "no such image"
            except ValueError as error:
                faults[file] = f"not an image that can be read ({error})"
        answers = iter(predictor.answer(torch.cat(list(pixels.values())), given, top) if pixels else ())
        for file in files:
            if file in faults:
                yield {"image": str(file), "error": faults[file]}
                continue
            answer = next(answers)
            classes = [{"class": label, "confidence": round(share, 4)} for label, share in answer.classes]
            sure = None if answer.sure is None else round(answer.sure, 4)
            yield {"image": str(file), "task": answer.task, "task_confidence": sure, "classes": classes}

    return ask


def _ask_collective(settings: Settings, model: Trained, variant: str | None, task: str | None, top: int) -> Ask:
    from lifelong.methods.skill.predict import predict as predict_by_packets

    if task is not None or top > 1:
        raise UserError(f"{model.name}: a collective finds the task itself and names one class; leave --task and --top away")
    chosen = variant or next(iter(settings.skill.collective(model.name).variants))
    places = (RAW, search_directories())

    def ask(files: Sequence[Path]) -> Iterator[Told]:
        for answer in predict_by_packets(settings.skill, model.name, chosen, model.seed, files, places, settings.limits):
            classes = [{"class": answer.label, "confidence": round(answer.confidence, 4)}]
            yield {"image": str(answer.image), "task": answer.task, "task_confidence": None, "classes": classes}

    return ask


def _describe(told: Told) -> str:
    if "error" in told:
        return f"{told['image']}: {told['error']}"
    sure = "" if told["task_confidence"] is None else f" ({told['task_confidence']:.2f})"
    classes = ", ".join(f"{one['class']} ({one['confidence']:.2f})" for one in told["classes"])
    return f"{told['image']}: task {told['task']}{sure}, class {classes}"
