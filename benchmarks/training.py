"""How fast training is on this machine, and beside what; every ratio is of times taken in turn in one run.

    python benchmarks/training.py [--quick] [--output FILE]

The times are wall-clock, so other work on the machine shows in them: the load is printed with the machine. With
LIFELONG_DATA the images are MNIST's, else random bytes of the same shape.
"""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong import layout
from lifelong.config import load
from lifelong.config.methods import AnpycOptions, EwcOptions
from lifelong.config.networks import MlpNetwork
from lifelong.config.schema import Training
from lifelong.data import catalog, scenarios
from lifelong.data.tensors import Split
from lifelong.learning.checkpoints import Checkpoints
from lifelong.learning.fit import Fit, Schedule
from lifelong.learning.importance import fisher_diagonal
from lifelong.learning.penalties import QuadraticPenalty
from lifelong.memory import keep_freed_memory
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.networks.base import shared_names
from lifelong.networks.mlp import Mlp, build
from lifelong.progress import Progress

PARAMS = Path(__file__).parents[1] / "params.yaml"
INPUTS, OUTPUTS, BATCH, DROPOUT, RATE = 784, 10, 256, 0.5, 0.01
LARGE, SMALL = [512, 256], [64, 32]
SPLIT_TASK = 11_000  # images of two classes, about a task of split MNIST


@dataclass(frozen=True)
class Row:
    part: str
    what: str
    value: float
    unit: str


@dataclass(frozen=True)
class Effort:
    """How much is measured: whole batches an epoch, rounds of epochs, rounds of processes' starts."""

    images: int
    rounds: int
    starts: int


FULL = Effort(images=117 * BATCH, rounds=8, starts=6)
QUICK = Effort(images=15 * BATCH, rounds=4, starts=1)


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
    return any((directory / "mnist").is_dir() for directory in catalog.search_directories())


def training_images() -> Split:
    """MNIST's training images, or 60,000 random ones."""
    if mnist_at_hand():
        found = catalog.load("mnist", None, Path("data/raw"), catalog.search_directories())
        return Split(torch.from_numpy(found.train_images), torch.from_numpy(found.train_labels).long())
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.randint(0, OUTPUTS, (60_000,), generator=generator))


def first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.targets[:count])


def new_network(hidden: Sequence[int], outputs: int) -> Mlp:
    settings = MlpNetwork(kind="mlp", hidden=list(hidden), dropout=DROPOUT, initialisation="truncated-normal")
    return build(settings, (INPUTS,), [outputs], torch.Generator().manual_seed(0))


def held(network: Mlp) -> QuadraticPenalty:
    """A penalty on every shared weight, weak enough for any learning rate here."""
    named = dict(network.named_parameters())
    anchor = {name: named[name].detach().clone() for name in shared_names(network)}
    return QuadraticPenalty(1e-3, {name: torch.rand_like(tensor) for name, tensor in anchor.items()}, anchor)


def our_epoch(network: Mlp, train: Split, penalty: QuadraticPenalty | None = None) -> Callable[[], object]:
    """One epoch of the training loop that the jobs run."""

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(network(images, 0), targets)

    fit = Fit(
        name="benchmark",
        network=network,
        train=train,
        objective=objective,
        budget=Training(learning_rate=RATE, batch_size=BATCH, epochs=1),
        schedule=Schedule(RATE, 1.0, 1),
        seed=(0,),
        trainable=[name for name, _ in network.named_parameters()],
        validation=lambda: 0.0,
        checkpoints=Checkpoints(Path("benchmark-has-no-checkpoints"), seconds=math.inf),
        penalty=penalty,
    )

    def epoch() -> None:
        with Progress("benchmark", 1) as progress:
            fit.run(progress)

    return epoch


def product_flops(widths: Sequence[int], batch: int) -> int:
    """Operations of one step's matrix products: z and dW of every layer, dA of every layer but the first."""
    products = ((2 if layer == 0 else 3) * a * b for layer, (a, b) in enumerate(pairwise(widths)))
    return 2 * batch * sum(products)


Product = Callable[[Tensor, Tensor, Tensor], object]
"""(a, b, out): a @ b, in `out` where the library can."""


def mm(a: Tensor, b: Tensor, out: Tensor) -> None:
    torch.mm(a, b, out=out)


def onednn(a: Tensor, b: Tensor, _: Tensor) -> None:
    """torch.mm takes MKL, which may leave half of a non-Intel processor idle; oneDNN uses its widest instructions."""
    torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")


def products_of_step(widths: Sequence[int], batch: int, product: Product) -> Callable[[], None]:
    """The matrix products of one training step and nothing else."""
    layers = []
    for inputs, outputs in pairwise(widths):
        weight, inward, backward = torch.randn(outputs, inputs), torch.randn(batch, inputs), torch.randn(batch, outputs)
        layers.append((weight, inward, backward, weight.clone(), inward.clone(), backward.clone()))

    def step() -> None:
        for number, (weight, inward, backward, d_weight, d_inward, z) in enumerate(layers):
            product(inward, weight.t(), z)
            product(backward.t(), inward, d_weight)
            if number:
                product(backward, weight, d_inward)

    return step


def write_idx(path: Path, array: np.ndarray) -> None:
    shape = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + shape + np.ascontiguousarray(array, np.uint8).tobytes())


def usual_epoch(hidden: Sequence[int], train: Split, root: Path, workers: int) -> Callable[[], object]:
    """An epoch as tutorials write it: torchvision's MNIST, transforms, DataLoader, Sequential, torch.optim."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", train.images.squeeze(1).numpy())
        write_idx(raw / f"{part}-labels-idx1-ubyte", train.targets.numpy())
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    dataset = datasets.MNIST(str(root), train=True, transform=transform)
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=workers)
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise([INPUTS, *hidden]):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(DROPOUT)]
    model = nn.Sequential(*layers, nn.Linear(hidden[-1], OUTPUTS))
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)

    def epoch() -> None:
        model.train()
        for images, targets in loader:
            optimiser.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimiser.step()

    return epoch


def steps(hidden: Sequence[int], train: Split, rounds: int) -> list[Row]:
    """Our step beside its matrix products alone, and beside the usual way."""
    widths = [INPUTS, *hidden, OUTPUTS]
    part = "-".join(map(str, widths))
    count = len(train) // BATCH
    products: dict[str, Product] = {"torch.mm": mm}
    if torch.backends.mkldnn.is_available():
        products["oneDNN"] = onednn

    def all_products(product: Product) -> Callable[[], object]:
        step = products_of_step(widths, BATCH, product)
        return lambda: [step() for _ in range(count)]

    network = new_network(hidden, OUTPUTS)
    with tempfile.TemporaryDirectory() as root:
        actions = {
            "ours": our_epoch(network, train),
            "penalty": our_epoch(network, train, held(network)),
            **{name: all_products(product) for name, product in products.items()},
            **{f"usual {n}": usual_epoch(hidden, train, Path(root), n) for n in (0, 2)},
        }
        times = Times({name: timed(action) for name, action in actions.items()}, rounds)

    def rate(name: str) -> float:
        return len(train) / times.seconds(name)

    rows = [
        Row(part, "training step", rate("ours"), "images/s"),
        Row(part, "training step with quadratic penalty", rate("penalty"), "images/s"),
    ]
    for name in products:
        flops = product_flops(widths, BATCH) * count
        rows += [
            Row(part, f"matrix products alone, {name}", flops / times.seconds(name) / 1e9, "GFLOP/s"),
            Row(part, f"matrix products alone, {name}", rate(name), "images/s"),
            Row(part, f"share of {name} that the step reaches", 100 * times.ratio(name, "ours"), "%"),
            Row(part, f"share of {name}, with penalty", 100 * times.ratio(name, "penalty"), "%"),
        ]
    for n in (0, 2):
        rows += [
            Row(part, f"usual epoch, {n} loader workers", rate(f"usual {n}"), "images/s"),
            Row(part, f"ours by usual, {n} loader workers", times.ratio(f"usual {n}", "ours"), "x"),
        ]
    return rows


_worker_epoch: Callable[[], object]


def start_worker(count: int) -> None:
    """A process with its own network and images."""
    global _worker_epoch
    torch.set_num_threads(1)
    keep_freed_memory()  # as a job does
    _worker_epoch = our_epoch(new_network(LARGE, OUTPUTS), first(training_images(), count))


def run_worker() -> None:
    _worker_epoch()


def processes(count: int, rounds: int) -> list[Row]:
    """One process of one thread, and two at once."""
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context, start_worker, (count,)) as one,
        ProcessPoolExecutor(1, context, start_worker, (count,)) as other,
    ):

        def together(*pools: ProcessPoolExecutor) -> Callable[[], object]:
            return lambda: [done.result() for done in [pool.submit(run_worker) for pool in pools]]

        times = Times({"one": timed(together(one)), "two": timed(together(one, other))}, rounds)
    part = "processes of one thread"
    return [
        Row(part, "one", count / times.seconds("one"), "images/s"),
        Row(part, "two at once", 2 * count / times.seconds("two"), "images/s"),
        Row(part, "two by one", 2 * times.ratio("one", "two"), "x"),
    ]


def importances(images: Split, count: int, rounds: int) -> list[Row]:
    """The importance of a task's weights, in training epochs over the same images."""
    pair = images.targets < 2
    task = first(Split(images.images[pair], images.targets[pair]), count)
    network = new_network(LARGE, 2)
    fisher_batch = EwcOptions(strength=0).fisher_batch
    batch_sum = AnpycOptions(strength=0, curvature="batch-sum")
    per_sample = AnpycOptions(strength=0, curvature="per-sample")
    actions: dict[str, Callable[[], object]] = {
        "epoch": our_epoch(network, task),
        "entropy importance, batch-sum": lambda: entropy_importance(network.eval(), task, 0, batch_sum),
        "entropy importance, per-sample": lambda: entropy_importance(network.eval(), task, 0, per_sample),
        "Fisher diagonal": lambda: fisher_diagonal(network.eval(), task, 0, fisher_batch),
    }
    times = Times({name: timed(action) for name, action in actions.items()}, rounds)
    part = f"importance over {len(task)} images"
    ratios = [Row(part, name, times.ratio(name, "epoch"), "epochs") for name in actions if name != "epoch"]
    return [Row(part, "training epoch", times.seconds("epoch"), "s"), *ratios]


# A process says when it got there and how much memory it had used. Its parent cannot ask the kernel in its stead: there
# the high-water mark of a child begins with its parent's own.
_REPORT = """
def report():
    import json, pathlib, re, time
    now = time.time()
    status = pathlib.Path("/proc/self/status").read_text()
    print(json.dumps([now, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024]))
"""
_FIRST_STEP = """
from lifelong import cli
from lifelong.data.tensors import Split
def first_batch(*_):
    report()
    raise SystemExit
Split.batch = first_batch
cli.main()
"""
_WHOLE_JOB = """
import torch
report()
from lifelong import cli
cli.main()
report()
"""
_CARELESS = f"""
import torch, torchvision, mlflow
torch.use_deterministic_algorithms(True)
network = torch.nn.Sequential(torch.nn.Linear({INPUTS}, 64), torch.nn.ReLU(), torch.nn.Linear(64, {OUTPUTS}))
optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
report()
"""


@dataclass(frozen=True)
class Folder:
    """A working directory of the pipeline with every training cut to two epochs."""

    path: Path

    def __post_init__(self) -> None:
        (self.path / "params.yaml").write_text(re.sub(r"\bepochs: \d+", "epochs: 2", PARAMS.read_text()))

    def prepare(self, scenario: str) -> None:
        wanted = load(PARAMS).scenario(scenario)
        images = self.path / layout.images(wanted.dataset)
        catalog.prepare(wanted.dataset, None, images, self.path / layout.RAW, catalog.search_directories())
        scenarios.build(wanted, images, self.path / layout.tasks(scenario))

    def reports(self, code: str, *arguments: str) -> list[tuple[float, float]]:
        """Seconds from the process's start to each of its reports, and its peak memory by then in MiB."""
        command = [sys.executable, "-c", _REPORT + code, *arguments]
        start = time.time()
        said = subprocess.run(command, cwd=self.path, stdout=subprocess.PIPE, check=True, text=True).stdout
        return [(then - start, peak) for then, peak in map(json.loads, said.splitlines())]


def learn(experiment: str) -> tuple[str, ...]:
    return ("learn", experiment, "--seed", "0", "--task", "0")


def starts(rounds: int) -> list[Row]:
    """What a training job costs before its first step, beside a job that imports whatever it may want."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.prepare("split-digits")
        times = Times(
            {
                "ours": lambda: folder.reports(_FIRST_STEP, *learn("split-digits-sgd"))[0][0],
                "careless": lambda: folder.reports(_CARELESS)[0][0],
            },
            rounds,
        )
    part = "from a process's start to its first step"
    return [
        Row(part, "lifelong learn", times.seconds("ours"), "s"),
        Row(part, "torchvision, MLflow, torch.optim, deterministic algorithms", times.seconds("careless"), "s"),
        Row(part, "careless by ours", times.ratio("careless", "ours"), "x"),
    ]


def memory() -> list[Row]:
    """The peak of one real job; nothing without MNIST."""
    if not mnist_at_hand():
        return []
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.prepare("split-mnist")
        (_, library), (_, job) = folder.reports(_WHOLE_JOB, *learn("split-mnist-sgd-released"))
    part = "peak memory"
    return [Row(part, "lifelong learn, split MNIST", job, "MiB"), Row(part, "of which import torch", library, "MiB")]


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


def markdown(where: Mapping[str, str], rows: Sequence[Row]) -> str:
    lines = [f"- {key}: {value}" for key, value in where.items()]
    lines += ["", "| part | what | value | unit |", "|---|---|---:|---|"]
    for row in rows:
        shown = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
        lines.append(f"| {row.part} | {row.what} | {shown} | {row.unit} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--quick", is_flag=True, help="Small epochs and few rounds: under a minute, rough.")
@click.option("--output", type=click.Path(path_type=Path), help="Write FILE as JSON, and a table beside it (.md).")
def main(quick: bool, output: Path | None) -> None:
    """Measure training on this machine."""
    effort = QUICK if quick else FULL
    torch.set_num_threads(1)
    keep_freed_memory()  # as a job does
    where = machine()
    images = training_images()
    train = first(images, effort.images)
    rows = [row for hidden in (LARGE, SMALL) for row in steps(hidden, train, effort.rounds)]
    rows += processes(effort.images, effort.rounds)
    rows += importances(images, min(SPLIT_TASK, effort.images), effort.rounds)
    rows += starts(effort.starts)
    rows += memory()
    table = markdown(where, rows)
    click.echo(table)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".json").write_text(
            json.dumps({"machine": where, "quick": quick, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
        )
        output.with_suffix(".md").write_text(table)


if __name__ == "__main__":
    main()
