"""How fast training is on this machine, and beside what; every ratio is of times taken in turn in one run.

    python benchmarks/training.py [--quick] [--output FILE]

The times are wall-clock, so other work on the machine shows in them: the load is printed with the machine. With
LIFELONG_DATA the images are MNIST's, else random bytes of the same shape.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import torch
from common import (
    BATCH,
    DROPOUT,
    INPUTS,
    LARGE,
    OUTPUTS,
    RATE,
    SMALL,
    Row,
    Times,
    first,
    machine,
    new_network,
    our_epoch,
    output_option,
    quick_option,
    report,
    timed,
    training_images,
    use_one_thread,
    write_idx,
)
from products import Product, mm, onednn, product_flops, products_of_step
from torch import nn
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.networks.base import shared_names
from lifelong.networks.mlp import Mlp
from lifelong.training.penalties import QuadraticPenalty


@dataclass(frozen=True)
class Effort:
    """How much is measured: whole batches an epoch, and rounds of epochs."""

    images: int
    rounds: int


FULL = Effort(images=117 * BATCH, rounds=8)
QUICK = Effort(images=2 * BATCH, rounds=2)


def held(network: Mlp) -> QuadraticPenalty:
    """A penalty on every shared weight, weak enough for any learning rate here."""
    named = dict(network.named_parameters())
    anchor = {name: named[name].detach().clone() for name in shared_names(network)}
    return QuadraticPenalty(1e-3, {name: torch.rand_like(tensor) for name, tensor in anchor.items()}, anchor)


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
    use_one_thread()
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


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure training on this machine."""
    effort = QUICK if quick else FULL
    use_one_thread()
    where = machine()
    train = first(training_images(), effort.images)
    rows = [row for hidden in (LARGE, SMALL) for row in steps(hidden, train, effort.rounds)]
    rows += processes(effort.images, effort.rounds)
    report(output, quick, where, rows)


if __name__ == "__main__":
    main()
