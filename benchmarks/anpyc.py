"""EWC on split MNIST beside the same in Avalanche: seconds a task and test accuracy.

    python benchmarks/anpyc.py [--quick] [--output FILE]

784-512-256 with dropout and a head a task, the same images, epochs, batch size, learning rate and kind of initial weights.
Both sides keep one penalty with the sum of all importances. Ours are exact Fisher diagonals, Avalanche's the squares of
batches' mean gradients, about 1/batch of the exact ones, so no strength means the same to both: each side's is the best of
three by the first seed's validation accuracy, before anything is timed. A process each, one thread each, task by task in
turn. Avalanche lives in an environment of its own, `.benchmark-env`, made at the first run; it needs LIFELONG_DATA's MNIST.
`--quick` runs our side alone, on digits.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from common import (
    INPUTS,
    LARGE,
    PARAMS,
    Row,
    machine,
    mnist_at_hand,
    output_option,
    quick_option,
    report,
    use_one_thread,
    write_idx,
)

from lifelong.data import catalog, sequences
from lifelong.data.classes import Classes
from lifelong.data.tensors import load_task, load_test
from lifelong.evaluation.answers import logits, task_answers
from lifelong.methods.ewc import EwcOptions
from lifelong.methods.ewc import stages as ewc
from lifelong.params import Experiment, load
from lifelong.params.networks import MlpNetwork
from lifelong.params.schema import Training
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import Diverged
from lifelong.runtime.places import RAW, search_directories
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.job import Job, State

AVALANCHE = "avalanche-lib==0.6.0"
ENVIRONMENT = Path(__file__).parents[1] / ".benchmark-env"
WORKER = Path(__file__).with_name("avalanche_worker.py")
SEEDS, EPOCHS, BATCH, RATE = 3, 10, 256, 0.1
STRENGTHS = (100.0, 1000.0, 10000.0)  # lambda of lambda/2 * F * (W - W_old)^2
THEIR_STRENGTHS = tuple(strength / 2 * BATCH for strength in STRENGTHS)  # of their importance * (W - W_old)^2
BAND = 1.0  # percentage points between the mean accuracies of the two sides that still count as equal


@dataclass(frozen=True)
class Seconds:
    training: float
    importance: float

    @property
    def total(self) -> float:
        return self.training + self.importance


class Ours:
    """Our stages of EWC over prepared files, task by task, as jobs call them."""

    def __init__(self, folder: Path, sequence: str, seed: int, epochs: int, strength: float) -> None:
        settings = load(PARAMS)
        wanted = settings.sequence(sequence)
        (dataset,) = wanted.datasets
        self.images, self.tasks = folder / paths.images(dataset), folder / paths.tasks(sequence)
        if not self.tasks.exists():
            raw = folder / RAW
            catalog.prepare(dataset, None, self.images, raw, search_directories())
            sequences.build(wanted, {dataset: self.images}, self.tasks)
        network = MlpNetwork(kind="mlp", hidden=LARGE, dropout=0.5, initialisation="uniform-fan-in")
        training = Training(learning_rate=RATE, batch_size=BATCH, epochs=epochs)
        self.experiment: Experiment = replace(
            settings.experiment(f"{sequence}-ewc-fair" if sequence == "split-mnist" else f"{sequence}-ewc"),
            network=network,
            training=training,
            options=EwcOptions(strength=strength),
            grid=None,
        )
        self.seed, self.outline = seed, sequences.read_outline(self.tasks)
        self.classes = Classes(self.outline.sizes)
        self.data = [load_task(self.images, self.tasks, task) for task in range(len(self.classes))]
        self.state: State | None = None

    def job(self, task: int, stage: str) -> Job:
        return Job(
            experiment=self.experiment,
            seed=self.seed,
            stage=stage,
            data=[self.data[task]],
            classes=self.classes,
            image_shape=self.outline.image_shape or (),
            checkpoints=Checkpoints(Path("benchmark-has-no-checkpoints"), seconds=float("inf")),
        )

    def run(self, task: int) -> Seconds:
        start = time.perf_counter()
        options = self.experiment.options
        assert isinstance(options, EwcOptions)
        learnt = ewc.learn(self.job(task, "learn"), options, self.state or None)
        trained = time.perf_counter()
        self.state = ewc.consolidate(self.job(task, "consolidate"), options, learnt)
        return Seconds(trained - start, time.perf_counter() - trained)

    def accuracies(self, on_test: bool = True) -> list[float]:
        """Task-incremental accuracy on every task's test or validation images."""
        network = self.job(0, "learn").network(self.state)
        found = []
        for task in range(len(self.classes)):
            split = load_test(self.images, self.tasks, task) if on_test else self.data[task].validation
            answers = task_answers(logits(network, split), "per-task", task, self.classes)
            found.append(float((answers == split.targets).double().mean()))
        return found


class Avalanche:
    """The other side: a process that runs a task whenever it is told to."""

    def __init__(self, process: subprocess.Popen[str], images: list[int]) -> None:
        self.process, self.images, self._accuracies = process, images, list[float]()

    def run(self) -> Seconds:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = answer(self.process)
        self._accuracies = said.get("accuracies", [])
        return Seconds(said["training"], said["importance"])

    def accuracies(self) -> list[float]:
        return self._accuracies


def answer(process: subprocess.Popen[str]) -> dict:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise click.ClickException(f"Avalanche's process ended with {process.wait()}; its messages stand above")


@contextmanager
def avalanche(root: Path, seed: int, strength: float) -> Iterator[Avalanche]:
    arguments = map(str, (root, EPOCHS, BATCH, RATE, strength, seed))
    command = [str(ENVIRONMENT / "bin" / "python"), str(WORKER), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
    ) as process:
        try:
            yield Avalanche(process, answer(process)["images"])
        finally:
            process.kill()


def versions() -> str:
    """Makes Avalanche's environment where it is not there; says what is in it."""
    import torch

    if shutil.which("uv") is None:
        raise click.ClickException("uv: not found; Avalanche's environment is made with it: pip install uv")
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)], check=True)
    same_torch = f"torch=={torch.__version__.partition('+')[0]}"
    command = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), AVALANCHE, same_torch]
    subprocess.run(command, check=True)
    asked = (
        "import importlib.metadata as m; print(*(f'{p} {m.version(p)}' for p in ('avalanche-lib', 'torch', 'torchvision')))"
    )
    return subprocess.run([str(python), "-c", asked], check=True, text=True, capture_output=True).stdout.strip()


def write_mnist(ours: Ours, root: Path, on_test: bool) -> None:
    """MNIST as torchvision finds it below `root`: our training images, and our test or validation images as its test."""
    arrays, _ = read_tensors(ours.images, "images")
    train, held = (_indices(ours, part) for part in ("train", "validation"))
    asked = (arrays["test_images"], arrays["test_labels"])
    if not on_test:
        asked = (arrays["train_images"][held], arrays["train_labels"][held])
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, images, labels in (("train", arrays["train_images"][train], arrays["train_labels"][train]), ("t10k", *asked)):
        write_idx(raw / f"{part}-images-idx3-ubyte", images.reshape(-1, 28, 28))
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)


def _indices(ours: Ours, part: str) -> list[int]:
    """The training images of all tasks, or those kept apart for validation."""
    keys = [sequences.task_key(task, part) for task in range(len(ours.classes))]
    return sorted(index for key in keys for index in read_tensors(ours.tasks, "tasks", [key])[0][key].tolist())


def chosen_strengths(folder: Path) -> tuple[float, float]:
    """The best of each side's strengths by the first seed's validation accuracy; what diverged counts as 0."""
    by_strength, by_their_strength = {}, {}
    for strength in STRENGTHS:
        ours = Ours(folder, "split-mnist", 0, EPOCHS, strength)
        try:
            for task in range(len(ours.classes)):
                ours.run(task)
            by_strength[strength] = statistics.mean(ours.accuracies(on_test=False))
        except Diverged:
            by_strength[strength] = 0.0
    write_mnist(ours, folder / "validation", on_test=False)
    for strength in THEIR_STRENGTHS:
        with avalanche(folder / "validation", 0, strength) as theirs:
            for _ in theirs.images:
                theirs.run()
            by_their_strength[strength] = statistics.mean(theirs.accuracies())
    click.echo(f"validation accuracies: ours {by_strength}, Avalanche's {by_their_strength}", err=True)
    return max(by_strength, key=by_strength.__getitem__), max(by_their_strength, key=by_their_strength.__getitem__)


def compare() -> list[Row]:
    """Both sides in turn over all tasks and seeds; times are of the tasks that have a penalty."""
    if not mnist_at_hand():
        raise click.ClickException("LIFELONG_DATA: no folder 'mnist' found; give one, or run with --quick")
    seconds: list[tuple[Seconds, Seconds]] = []
    ours_right, their_right = [], []
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        strength, their_strength = chosen_strengths(folder)
        write_mnist(Ours(folder, "split-mnist", 0, EPOCHS, strength), folder / "test", on_test=True)
        for seed in range(SEEDS):
            ours = Ours(folder, "split-mnist", seed, EPOCHS, strength)
            with avalanche(folder / "test", seed, their_strength) as theirs:
                if theirs.images != (images := [len(task.train) for task in ours.data]):
                    raise click.ClickException(f"Avalanche trains on {theirs.images} images a task, we on {images}")
                for task in range(len(images)):
                    pair = ours.run(task), theirs.run()
                    seconds += [pair] if task else []
                ours_right.append(100 * statistics.mean(ours.accuracies()))
                their_right.append(100 * statistics.mean(theirs.accuracies()))
                click.echo(f"seed {seed}: {ours_right[-1]:.2f} and {their_right[-1]:.2f} %, {seconds[-1]}", err=True)
    rows = []
    for phase in ("training", "importance", "total"):
        pairs = [(getattr(one, phase), getattr(two, phase)) for one, two in seconds]
        rows += [
            Row(phase, "ours, a task", statistics.median(one for one, _ in pairs), "s"),
            Row(phase, "Avalanche, a task", statistics.median(two for _, two in pairs), "s"),
            Row(phase, "Avalanche by ours", statistics.median(two / one for one, two in pairs), "x"),
            Row(phase, "least of the tasks", min(two / one for one, two in pairs), "x"),
            Row(phase, "most of the tasks", max(two / one for one, two in pairs), "x"),
        ]
    difference = statistics.mean(ours_right) - statistics.mean(their_right)
    return [
        *rows,
        *(Row("mean test accuracy", f"ours, seed {seed}", right, "%") for seed, right in enumerate(ours_right)),
        *(Row("mean test accuracy", f"Avalanche, seed {seed}", right, "%") for seed, right in enumerate(their_right)),
        Row("mean test accuracy", "ours less Avalanche's", difference, "points"),
        Row("mean test accuracy", f"within {BAND:g} of one another", float(abs(difference) <= BAND), "1: yes"),
        Row("strength", "ours", strength, ""),
        Row("strength", "Avalanche's", their_strength, ""),
    ]


def ours_alone() -> list[Row]:
    """Two tasks of digits."""
    with tempfile.TemporaryDirectory() as path:
        ours = Ours(Path(path), "split-digits", 0, epochs=1, strength=STRENGTHS[0])
        found = [ours.run(task) for task in range(2)][1]
        right = statistics.mean(ours.accuracies()[:2])
    return [
        Row("digits", "training", found.training, "s"),
        Row("digits", "importance", found.importance, "s"),
        Row("digits", "mean test accuracy of two tasks", 100 * right, "%"),
    ]


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure EWC beside Avalanche's on this machine."""
    use_one_thread()
    where = machine()
    where["network"] = f"{INPUTS}-{'-'.join(map(str, LARGE))}, {EPOCHS} epochs, batches of {BATCH}, {SEEDS} seeds"
    where["strengths"] = "each side's the best of three by validation"
    if quick:
        where["images"] = "digits"
        report(output, quick, where, ours_alone())
        return
    where["Avalanche's environment"] = versions()
    report(output, quick, where, compare())


if __name__ == "__main__":
    main()
