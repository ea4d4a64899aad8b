"""What a GPU computes against the processor, and how fast: PART is one of agree, speed, chains, each under ten minutes.

    python benchmarks/gpu.py PART [--device cpu] [--quick] [--output FILE]

Says so and exits with 2 where there is no GPU; `--device cpu` tries the script itself, the processor in the card's place.
Figures of a card belong into reports/gpu/PART.md; seeds side by side: benchmarks/together.py --device cuda.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
import yaml
from common import (
    BATCH,
    INPUTS,
    LARGE,
    OUTPUTS,
    PARAMS,
    Cell,
    Times,
    first,
    machine,
    new_network,
    one_epoch,
    output_option,
    quick_option,
    report,
    run_of,
    timed,
    training_images,
)
from products import product_flops
from safetensors.torch import load_file

sys.path.insert(0, str(PARAMS.parent / "tests"))

from support.project import TINY, Project

from lifelong.data import catalog
from lifelong.data.sequences import build
from lifelong.data.tensors import Split
from lifelong.params import Settings, load
from lifelong.params.files import Written
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import stages_of
from lifelong.pipeline.run import run_stage
from lifelong.runtime import paths
from lifelong.runtime.computing import computing
from lifelong.runtime.device import computing_on
from lifelong.runtime.places import RAW, search_directories

CHAINS = {"cifar100-full-ari": 10, "cifar100-5-split2meta-meta": 5}
"""Experiments, and their tasks."""

SECONDS = 540  # for all chains of a call
PRECISIONS = {
    "fp32": (torch.float32, False),
    "TF32": (torch.float32, True),
    "bf16": (torch.bfloat16, False),
}


def compare(folder: Path, device: str, quick: bool) -> Iterator[dict[str, Cell]]:
    """Every method on digits, an epoch a task: on the processor, on the device, and on the device again."""
    values = yaml.safe_load(TINY) if quick else Written(PARAMS).values
    for budget in values["training"].values():
        budget["epochs"] = 1
    shown = [one["experiments"].values() for one in values["reports"]["digits"].values() if "experiments" in one]
    names = list(dict.fromkeys(name for some in shown for name in some))
    places = {"processor": "cpu", "device": device, "again": device}
    for place, name_of_device in places.items():
        (folder / place).mkdir()
        with contextlib.chdir(folder / place):
            Path("params.yaml").write_text(yaml.safe_dump(values))
            settings = load(Path("params.yaml"))
            for name in names:
                run_chain(settings, name, name_of_device)
    for name in names:
        results = {place: folder / place / "results" / name / "seed-0" for place in places}
        trained = [file for stage in ("learn", "slow") for file in results["processor"].glob(f"task-*/{stage}.safetensors")]
        learnt = min(trained, key=_task).relative_to(results["processor"])
        scores = [
            list(numbers(json.loads((results[place] / "scores.json").read_text()))) for place in ("processor", "device")
        ]
        own = [file.relative_to(results["device"]) for file in results["device"].rglob("*.*")]
        same = sum((results["device"] / file).read_bytes() == (results["again"] / file).read_bytes() for file in own)
        yield {
            "experiment": name,
            "largest difference of a weight after an epoch": largest_difference(
                results["processor"] / learnt, results["device"] / learnt
            ),
            "largest difference of an accuracy": max(abs(one - two) for one, two in zip(*scores, strict=True)),
            "files of a second run with the same bytes": f"{same} of {len(own)}",
        }


def run_chain(settings: Settings, name: str, device: str) -> None:
    """All stages of an experiment's first seed, on digits, in this process: it keeps its place on the card."""
    experiment = settings.experiment(name)
    images, tasks = paths.images("digits"), paths.tasks(experiment.sequence_name)
    if not images.exists():
        catalog.prepare("digits", None, images, RAW, search_directories())
    if not tasks.exists():
        build(settings.sequence(experiment.sequence_name), {"digits": images}, tasks)
    with computing(device):
        for task in experiment.tasks:
            for stage in stages_of(experiment, task):
                run_stage(experiment, 0, task, stage)
        evaluate(experiment, 0)


def _task(learnt: Path) -> int:
    return int(learnt.parent.name.removeprefix("task-"))


def largest_difference(one: Path, two: Path) -> float:
    first_tensors, second = load_file(one), load_file(two)
    differences = [
        float((tensor.double() - second[name].double()).abs().max())
        for name, tensor in first_tensors.items()
        if tensor.is_floating_point() and tensor.numel()
    ]
    return max(differences)


def numbers(value: Any) -> Iterator[float]:
    """Accuracies of a file of scores, in its order; where the method has not learnt yet there is none."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)


def wait() -> None:
    """Until the device has done what it was given."""
    if torch.get_default_device().type != "cpu":
        torch.accelerator.synchronize()


def measure_speed(quick: bool) -> Iterator[dict[str, Cell]]:
    """Products of square matrices by precision, and an epoch of the training loop as a share of the first."""
    size, rounds = (512, 2) if quick else (8192 if torch.get_default_device().type != "cpu" else 1024, 6)
    peaks = {}
    for name, (dtype, tf32) in PRECISIONS.items():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)

        def multiply(a: torch.Tensor = a, b: torch.Tensor = b) -> None:
            for _ in range(10):
                a @ b
            wait()

        peaks[name] = 10 * 2 * size**3 / Times({"it": timed(multiply)}, rounds).seconds("it")
        yield {"what": f"product of {size} x {size}, {name}", "TFLOP/s": peaks[name] / 1e12, "images/s": None, "share": None}
    torch.backends.cuda.matmul.allow_tf32 = False
    every = training_images()
    place = torch.get_default_device()
    train = first(Split(every.images.to(place), every.targets.to(place)), (2 if quick else 100) * BATCH)
    run = run_of(one_epoch(new_network(LARGE, OUTPUTS).to(place), train))

    def epoch() -> None:
        run()
        wait()

    seconds = Times({"it": timed(epoch)}, rounds).seconds("it")
    flops = product_flops([INPUTS, *LARGE, OUTPUTS], BATCH) * len(train.images) / BATCH / seconds
    yield {
        "what": f"an epoch of 784-512-256, mini-batches of {BATCH}, fp32",
        "TFLOP/s": flops / 1e12,
        "images/s": len(train.images) / seconds,
        "share": flops / peaks["fp32"],
    }


def run_chains(folder: Path, device: str, quick: bool) -> Iterator[dict[str, Cell]]:
    """Whole chains of tasks of CIFAR-100 (`--quick`: of digits), one seed, up to the time of a call."""
    until = time.monotonic() + SECONDS
    for name, tasks in ({"split-digits-ari": 2, "split-digits-split2meta": 2} if quick else CHAINS).items():
        here = folder / name
        here.mkdir()
        if quick:
            project = Project(here, TINY)
        else:
            shutil.copytree(PARAMS.parent / "params", here / "params")
            project = Project(here, PARAMS.read_text())
        start = time.monotonic()
        config = ["--config", "gpu=1", f"device={device}"]
        process = project.start("snakemake", "--cores", "2", *config, "--", f"results/{name}/seed-0/scores.json")
        try:
            said, _ = process.communicate(timeout=max(1.0, until - start))
        except subprocess.TimeoutExpired:
            process.terminate()  # Snakemake ends its jobs
            said, _ = process.communicate()
        else:
            if process.returncode:
                raise click.ClickException(said)
        done = len({path.parent for path in (here / "results").glob(f"{name}/seed-0/task-*/*.safetensors")})
        ended = (here / f"results/{name}/seed-0/scores.json").exists()
        yield {
            "experiment": name,
            "tasks": float(tasks),
            "of which begun": float(done),
            "ended": "yes" if ended else "no",
            "seconds": time.monotonic() - start,
        }


@click.command()
@click.argument("part", type=click.Choice(["agree", "speed", "chains"]))
@click.option("--device", default="cuda", show_default=True)
@quick_option
@output_option
def main(part: str, device: str, quick: bool, output: Path | None) -> None:
    """Measure one part on this machine's GPU."""
    if device != "cpu" and not torch.accelerator.is_available():
        click.echo("no GPU here: PyTorch sees none; `--device cpu` tries the script on the processor", err=True)
        sys.exit(2)
    where = machine()
    where["device"] = "the processor, in a card's place" if device == "cpu" else torch.cuda.get_device_name(device)
    with tempfile.TemporaryDirectory() as path:
        if part == "speed":
            with computing_on(device):
                rows = list(measure_speed(quick))
        else:
            rows = list((compare if part == "agree" else run_chains)(Path(path), device, quick))
    report(output, quick, where, rows)


if __name__ == "__main__":
    main()
