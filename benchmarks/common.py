"""What the benchmarks share: interleaved timing, images, networks and training as a job has them, and the written report."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch

from lifelong.data import catalog
from lifelong.data.tensors import Split
from lifelong.networks.base import Network
from lifelong.networks.mlp import Mlp, build
from lifelong.params.networks import MlpNetwork
from lifelong.params.schema import Training
from lifelong.runtime.allocator import keep_freed_memory
from lifelong.runtime.places import search_directories
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit, Objective, Schedule
from lifelong.training.losses import cross_entropy
from lifelong.training.penalties import QuadraticPenalty

PARAMS = Path(__file__).parents[1] / "params.yaml"
INPUTS, OUTPUTS, BATCH, DROPOUT, RATE = 784, 10, 256, 0.5, 0.01
LARGE, SMALL = [512, 256], [64, 32]


@dataclass(frozen=True)
class Row:
    part: str
    what: str
    value: float
    unit: str


class Times:
    """Seconds of several actions by name, a value a round."""

    def __init__(self, actions: Mapping[str, Callable[[], float]], rounds: int) -> None:
        """Each action in turn, so that a slow moment meets all of them; where there are rounds, the first warms up."""
        found = [{name: action() for name, action in actions.items()} for _ in range(rounds)]
        self._seconds = {name: [seconds[name] for seconds in found[1:] or found] for name in actions}

    def seconds(self, name: str) -> float:
        return statistics.median(self._seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Median over the rounds of the time of `name` by that of `other`."""
        pairs = zip(self._seconds[name], self._seconds[other], strict=True)
        return statistics.median(one / two for one, two in pairs)


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """The action as one that returns its wall-clock seconds."""

    def run() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return run


def mnist_at_hand() -> bool:
    """Whether LIFELONG_DATA has MNIST: a benchmark downloads nothing."""
    return any((directory / "mnist").is_dir() for directory in search_directories())


def training_images() -> Split:
    """MNIST's training images, or 60,000 random ones."""
    if mnist_at_hand():
        found = catalog.load("mnist", None, Path("data/raw"), search_directories())
        return Split(torch.from_numpy(found.train_images), torch.from_numpy(found.train_labels).long())
    with torch.device("cpu"):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
        return Split(pixels, torch.randint(0, OUTPUTS, (60_000,), generator=generator))


def first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.targets[:count])


def new_network(hidden: Sequence[int], outputs: int) -> Mlp:
    settings = MlpNetwork(kind="mlp", hidden=list(hidden), dropout=DROPOUT, initialisation="truncated-normal")
    return build(settings, (INPUTS,), [outputs], torch.Generator().manual_seed(0))


def one_epoch(network: Network, train: Split, penalty: QuadraticPenalty | None = None, seed: int = 0) -> Fit:
    """An epoch of the training loop that the jobs run."""

    def objective_of(network: Network) -> Objective:
        return lambda images, targets: cross_entropy(network(images, 0), targets)

    return Fit(
        name="benchmark",
        network=network,
        train=train,
        objective=objective_of(network),
        objective_of=objective_of,
        budget=Training(learning_rate=RATE, batch_size=BATCH, epochs=1),
        schedule=Schedule(RATE, 1.0, 1),
        seed=(seed,),
        trainable=[name for name, _ in network.named_parameters()],
        validation=lambda: 0.0,
        checkpoints=Checkpoints(Path("benchmark-has-no-checkpoints"), seconds=math.inf),
        penalty=penalty,
    )


def run_of(fit: Fit) -> Callable[[], object]:
    def run() -> None:
        with Progress("benchmark", 1) as progress:
            fit.run(progress)

    return run


def our_epoch(network: Network, train: Split, penalty: QuadraticPenalty | None = None) -> Callable[[], object]:
    return run_of(one_epoch(network, train, penalty))


def write_idx(path: Path, array: np.ndarray) -> None:
    shape = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + shape + np.ascontiguousarray(array, np.uint8).tobytes())


def use_one_thread() -> None:
    """As a job does."""
    torch.set_num_threads(1)
    keep_freed_memory()


def peak_memory() -> float:
    """MiB that this process has held at most; its parent's own are not in it, unlike in what the kernel tells a parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    cached = Path(importlib.util.cache_from_source(torch.__file__)).exists()
    return {
        "cpu": f"{named[1] if named else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f} before the run",
        "python": f"{platform.python_version()}, torch's bytecode {'cached' if cached else 'compiled by every process'}",
        "torch": f"{torch.__version__}, threads a process: {torch.get_num_threads()}",
        "images": "MNIST" if mnist_at_hand() else "random",
    }


Cell = str | float | None


def shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def markdown(where: Mapping[str, str], rows: Sequence[Mapping[str, Cell]]) -> str:
    """The machine as a list and the rows as a table; all rows have the first one's columns."""
    columns = list(rows[0])
    numbers = [any(isinstance(row[column], float) for row in rows) for column in columns]
    lines = [f"- {key}: {value}" for key, value in where.items()]
    lines += ["", f"| {' | '.join(columns)} |", f"|{'|'.join('---:' if number else '---' for number in numbers)}|"]
    lines += [f"| {' | '.join(shown(row[column]) for column in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def report(output: Path | None, quick: bool, where: Mapping[str, str], rows: Sequence[Row | Mapping[str, Cell]]) -> None:
    """Print the table and, if wanted, write it as JSON and Markdown, with the load that the run ended under."""
    where = {**where, "load": f"{where['load']}, {os.getloadavg()[0]:.1f} after it"}
    cells = [asdict(row) if isinstance(row, Row) else row for row in rows]
    table = markdown(where, cells)
    click.echo(table)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"machine": where, "quick": quick, "rows": cells}, indent=1)
        output.with_suffix(".json").write_text(content + "\n")
        output.with_suffix(".md").write_text(table)


quick_option = click.option("--quick", is_flag=True, help="A smoke test: little work and few rounds, rough.")
output_option = click.option("--output", type=click.Path(path_type=Path), help="Write FILE.json, and FILE.md beside it.")
