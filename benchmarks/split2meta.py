"""What Split2MetaFusion's parts cost, with PreAct-ResNet-18, each in turn on one thread.

    python benchmarks/split2meta.py [--width 16] [--quick] [--output reports/benchmarks/split2meta]

Images are random bytes of CIFAR's shape. A projected step keeps the share of each layer's directions that is
said: few, as NSP's released threshold does in deep layers, or half, the dearest share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import click
import torch
from common import Row, Times, machine, output_option, quick_option, report, timed, use_one_thread

from lifelong.data.tensors import Split
from lifelong.methods.split2meta import Dreams, NspSpace, TpnspSpace
from lifelong.methods.split2meta.dreams import balanced_targets, dream, running_statistics
from lifelong.methods.split2meta.layers import rows, shared_layers
from lifelong.methods.split2meta.moments import feature_moments, preference_moments
from lifelong.methods.split2meta.null_space import Subspace, find_subspace
from lifelong.methods.split2meta.projection import ProjectedUpdates
from lifelong.networks.base import Network
from lifelong.networks.preact_resnet import build
from lifelong.params.networks import PreActResNetNetwork
from lifelong.params.schema import Training
from lifelong.runtime.allocator import keep_freed_memory
from lifelong.runtime.progress import Progress
from lifelong.training.checkpoints import Checkpoints
from lifelong.training.fit import Fit, Schedule, StepHook

SHAPE, CLASSES, BATCH, BATCHES = (3, 32, 32), 10, 32, 4


def network_of(width: int) -> Network:
    settings = PreActResNetNetwork(kind="preact-resnet", width=width)
    return build(settings, SHAPE, [CLASSES], torch.Generator().manual_seed(0))


def images() -> Split:
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (BATCH * BATCHES, *SHAPE), dtype=torch.uint8, generator=source)
    return Split(pixels, torch.arange(BATCH * BATCHES) % CLASSES)


def random_subspaces(network: Network, share: float) -> dict[str, Subspace]:
    """Orthonormal bases of that share of each layer's directions."""
    found = {}
    for name, layer in shared_layers(network).items():
        count = max(1, round(share * rows(layer)))
        found[name] = Subspace(torch.linalg.qr(torch.randn(rows(layer), count)).Q.contiguous(), True)
    return found


def epoch(network: Network, split: Split, hook: StepHook) -> Callable[[], None]:
    """One epoch of Adam on all images."""
    budget = Training(optimiser="adam", learning_rate=1e-4, batch_size=BATCH, epochs=1)
    names = [name for name, _ in network.named_parameters()]

    def run() -> None:
        nowhere = Checkpoints(Path("none"), seconds=math.inf)
        fit = Fit(
            name="benchmark",
            network=network,
            train=split,
            objective=lambda x, y: torch.nn.functional.cross_entropy(network(x, 0), y),
            budget=budget,
            schedule=Schedule(1e-4),
            seed=(0,),
            trainable=names,
            validation=lambda: 0.0,
            checkpoints=nowhere,
            hook=hook,
        )
        with Progress("benchmark", 1) as progress:
            fit.run(progress)

    return run


@click.command(help=__doc__)
@click.option("--width", default=16, show_default=True, help="Channels of the network's first stage; 64 is the whole one.")
@quick_option
@output_option
def main(width: int, quick: bool, output: Path | None) -> None:
    use_one_thread()
    keep_freed_memory()
    where = machine()
    torch.manual_seed(0)
    network, split = network_of(1 if quick else width), images()
    moments = feature_moments(network.eval(), split, BATCH, NspSpace(threshold=1e-3))
    settings = Dreams(images=100, iterations=1)
    statistics_ = running_statistics(network)

    def dreamt() -> None:
        targets = balanced_targets(100, CLASSES)
        dream(network.eval(), 0, targets, SHAPE, statistics_, settings, torch.Generator().manual_seed(2))

    def preferences() -> None:
        options = TpnspSpace(threshold=1e-3)
        preference_moments(network.eval(), split, 0, BATCH, options, torch.Generator().manual_seed(2))

    actions: dict[str, Callable[[], object]] = {
        "plain epoch": epoch(network, split, StepHook()),
        "projected epoch, 2 % kept": epoch(network, split, ProjectedUpdates(random_subspaces(network, 0.02), {})),
        "projected epoch, half kept": epoch(network, split, ProjectedUpdates(random_subspaces(network, 0.5), {})),
        "NSP moments, batch-mean": lambda: feature_moments(network.eval(), split, BATCH, NspSpace(threshold=1e-3)),
        "TPNSP moments, per-batch": preferences,
        "one iteration of 100 dreams": dreamt,
        "eigen-decompositions of all layers": lambda: [find_subspace(m, "energy", 1e-3) for m in moments.values()],
    }
    plain, *others = actions
    times = Times({name: timed(action) for name, action in actions.items()}, 1 if quick else 7)
    parameters = sum(p.numel() for p in network.parameters())
    told = [Row(plain, f"{parameters:,} parameters, {BATCHES} batches of {BATCH}", times.seconds(plain), "s")]
    told += [Row(name, "of a plain epoch", times.ratio(name, plain), "times") for name in others]
    report(output, quick, where, told)


if __name__ == "__main__":
    main()
