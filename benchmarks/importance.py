"""The one-pass importances against the per-sample loop, vmap and the mini-batch shortcut: time, memory, agreement.

    python benchmarks/importance.py [--quick] [--output FILE]

All sides see the same images of split MNIST's first task (with LIFELONG_DATA; else random ones), the same trained network
and, where it matters, the same batches; they take turns within one run. Peak memory is that of a fresh process a side.
Correlations are with the per-sample loop's importances over the weights that it finds important at all: pixels that are
never set have importance 0 on every side.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import per_sample
import torch
from common import (
    LARGE,
    Cell,
    Times,
    first,
    machine,
    new_network,
    our_epoch,
    output_option,
    peak_memory,
    quick_option,
    report,
    timed,
    training_images,
    use_one_thread,
)
from per_sample import ANPYC, FISHER, MAS, Kind, flat, usual_network
from torch import Tensor

from lifelong.data.tensors import Split
from lifelong.methods.anpyc import AnpycOptions
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.methods.ewc import EwcOptions
from lifelong.methods.mas import MasOptions
from lifelong.networks import lenet
from lifelong.networks.base import Network
from lifelong.params.networks import LeNetNetwork
from lifelong.training.importance import fisher_diagonal, output_sensitivity

BATCH = AnpycOptions(strength=0).importance_batch
NETWORKS = ("784-512-256", "LeNet")
KINDS = {"Fisher diagonal": FISHER, "MAS": MAS, "ANPyC": ANPYC}
WAYS = {"per-sample loop": "loop", "vmap": "vmap", "mini-batch shortcut": "batch"}
BATCH_SUM = "one pass, batch-sum"
EPOCHS = 5  # of training before importances are taken


@dataclass(frozen=True)
class Effort:
    images: dict[str, int]
    rounds: int


FULL = Effort({"784-512-256": 2000, "LeNet": 500}, rounds=4)
QUICK = Effort({"784-512-256": 100, "LeNet": 20}, rounds=1)


def task_of(images: int) -> Split:
    every = training_images()
    pair = every.targets < 2
    return first(Split(every.images[pair], every.targets[pair]), images)


def network_of(name: str) -> Network:
    if name != "LeNet":
        return new_network(LARGE, 2)
    settings = LeNetNetwork(kind="lenet", dropout=0.5, initialisation="truncated-normal")
    return lenet.build(settings, (1, 28, 28), [2], torch.Generator().manual_seed(0))


def one_pass(kind: str, network: Network, task: Split, curvature: str = "per-sample") -> list[Tensor]:
    """Ours, with the batches that jobs take."""
    network.eval()
    if kind == "Fisher diagonal":
        return list(fisher_diagonal(network, task, 0, EwcOptions(strength=0).fisher_batch).values())
    if kind == "MAS":
        return list(output_sensitivity(network, task, 0, MasOptions(strength=0).sensitivity_batch).values())
    options = AnpycOptions.model_validate({"strength": 0, "curvature": curvature})
    return list(entropy_importance(network, task, 0, options).values())


def sides(kind: str, network: Network, task: Split) -> dict[str, Callable[[], list[Tensor]]]:
    """Every way to the importance, by name."""
    usual = usual_network(network)

    def by(way: str, known: Kind) -> Callable[[], list[Tensor]]:
        return lambda: per_sample.importance(usual, task, BATCH, known, way)

    found = {"one pass": lambda: one_pass(kind, network, task)}
    if kind == "ANPyC":
        found[BATCH_SUM] = lambda: one_pass(kind, network, task, "batch-sum")
    return found | {name: by(way, KINDS[kind]) for name, way in WAYS.items()}


def memory(name: str, kind: str, side: str, images: int) -> float:
    """MiB at the peak of this fresh process; of one that has network and images alone, with no side named.

    The images are random: what decoding a data set has freed would hide what a side takes.
    """
    use_one_thread()
    pixels = torch.randint(0, 256, (images, 1, 28, 28), dtype=torch.uint8)
    network, task = network_of(name), Split(pixels, torch.arange(images) % 2)
    found = sides(kind, network, task)
    if side:
        found[side]()
    return peak_memory()


def agreement(found: Tensor, exact: Tensor) -> dict[str, Cell]:
    """Pearson's and Spearman's correlation and the relative distance, where `exact` is above 0."""
    from scipy.stats import pearsonr, spearmanr

    some = exact > 0
    one, two = found[some].numpy(), exact[some].numpy()
    return {
        "Pearson": float(pearsonr(one, two).statistic),
        "Spearman": float(spearmanr(one, two).statistic),
        "relative distance": float((found - exact).norm() / exact.norm()),
    }


def measure(name: str, effort: Effort, pool: ProcessPoolExecutor | None) -> Iterator[dict[str, Cell]]:
    """A row for every kind and side of one network; without a pool no memory is measured."""
    images = effort.images[name]
    task = task_of(images)
    network = network_of(name)
    train = our_epoch(network, task_of(60_000) if effort is FULL else task)
    for _ in range(EPOCHS):
        train()
    epoch = our_epoch(network, task)
    for kind in KINDS:
        ways = sides(kind, network, task)
        exact = flat(ways["per-sample loop"]())
        agreements = {side: agreement(flat(action()), exact) for side, action in ways.items()}
        peaks = {s: pool.submit(memory, name, kind, s, images).result() if pool else None for s in ("", *ways)}
        frozen = {parameter: tensor.clone() for parameter, tensor in network.state_dict().items()}
        times = Times({side: timed(action) for side, action in ({"epoch": epoch} | ways).items()}, effort.rounds)
        network.load_state_dict(frozen)  # the epochs have trained on
        bare = peaks[""]
        for side in ways:
            peak = peaks[side]
            yield {
                "network": name,
                "importance": kind,
                "side": side,
                "images/s": images / times.seconds(side),
                "training epochs": times.ratio(side, "epoch"),
                "time by one pass": times.ratio(side, "one pass"),
                "peak MiB": peak,
                "MiB added": None if peak is None or bare is None else peak - bare,
                **agreements[side],
            }


@click.command()
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    """Measure importances on this machine."""
    use_one_thread()
    where = machine()
    effort = QUICK if quick else FULL
    where["images"] += ": " + ", ".join(f"{count} for {name}" for name, count in effort.images.items())
    if quick:
        rows = [row for name in NETWORKS for row in measure(name, effort, None)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
            rows = [row for name in NETWORKS for row in measure(name, effort, pool)]
    report(output, quick, where, rows)


if __name__ == "__main__":
    main()
