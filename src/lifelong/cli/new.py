"""`lifelong new`: parameters for what is one's own, in files of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import click

from lifelong.params import Settings, load
from lifelong.params.files import OWN
from lifelong.runtime.artifacts import write_bytes
from lifelong.runtime.errors import UserError

MOST_TASKS = 10
TEST_FRACTION = 0.2
METHODS = {
    "Fine-tuning": ("finetune", ""),
    "EWC": ("ewc", ", options: {strength: 100}"),
    "LwF": ("lwf", ", options: {strength: 1}"),
    "ER": ("er", ", options: {memory: 200}"),
    "Joint": ("joint", ""),
}
"""By label: a method, and what its experiment says beside it; the others are like the first."""


@click.group()
def new() -> None:
    """Parameters for your own data: a look at them, and lines to start from."""


@new.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Of the data set; default: the folder's or file's.")
@click.pass_obj
def dataset(settings: Settings, path: Path, name: str | None) -> None:
    """Look at a folder or tar of images by class, and write params/own/NAME.yaml: five methods and a report."""
    from lifelong.data.inspection import describe_inspection, inspect_folder, list_faults

    if not path.exists():
        raise UserError(f"{path}: no such folder or file; expected images by class, in a folder or a tar")
    name = name or re.sub(r"[^\w.+-]", "-", path.resolve().name.partition(".")[0])
    file = OWN / f"{name}.yaml"
    if file.exists() or name in settings.datasets:
        raise UserError(f"{file if file.exists() else f'datasets.{name}'}: is there already; choose another with --name")
    found = inspect_folder(path, settings.limits)
    for line in describe_inspection(found):
        click.echo(line)
    if faults := list_faults(found):
        raise UserError("\n".join([f"{path}: {len(faults)} things to mend first", *(f"  {fault}" for fault in faults)]))
    split = "" if "test" in found.counts else f", test_fraction: {TEST_FRACTION}"
    folder = f"{{path: {path}, image_size: {found.image_size}, channels: {found.channels}{split}}}"
    text = propose(name, folder, len(found.classes))
    write_bytes(file, text.encode())
    try:
        load()
    except UserError:
        file.unlink()
        raise
    click.echo(f"\n{file}:\n\n{text}")
    click.echo(f"Next: edit it as you like; `snakemake own` trains and reports; `lifelong compare '{name}-*'` sums it up")


def propose(name: str, folder: str, classes: int) -> str:
    """YAML of a sequence of two or more tasks of near-equal size, five experiments and their report."""
    tasks = min(MOST_TASKS, classes // 2)
    sizes = [classes // tasks + (task < classes % tasks) for task in range(tasks)]
    cut = f"tasks: {tasks}, classes_per_task: {sizes[0]}" if len(set(sizes)) == 1 else f"sizes: {sizes}"
    first, *others = METHODS.values()
    experiments = "".join(f"  {name}-{m}: {{like: {name}-{first[0]}, method: {m}{options}}}\n" for m, options in others)
    shown = ", ".join(f"{label}: {name}-{method}" for label, (method, _) in METHODS.items())
    return f"""\
datasets:
  {name}: {folder}
sequences:
  {name}: {{dataset: {name}, kind: split, {cut}, validation: {{fraction: 0.15, seed: 0}}}}
networks:
  {name}: {{kind: mlp, hidden: [256, 128], dropout: 0.0, initialisation: truncated-normal}}
training:
  {name}: {{learning_rate: 0.05, batch_size: 32, epochs: 10}}
experiments:
  {name}-finetune: {{sequence: {name}, network: {name}, training: {name}, method: finetune, seeds: 3}}
{experiments}reports:
  own:
    {name}:
      title: {name}, {tasks} tasks
      experiments: {{{shown}}}
"""
