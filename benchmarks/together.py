"""Seeds trained side by side against the same seeds one after the other: an epoch of 784-64-32 and of 784-512-256.

    python benchmarks/together.py [--quick] [--device cuda] [--output FILE]

Both sides run the training loop of the jobs on MNIST (with LIFELONG_DATA; else on random images) and take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import torch
from common import (
    LARGE,
    OUTPUTS,
    SMALL,
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
    use_one_thread,
)

from lifelong.cli.options import device_option
from lifelong.data.tensors import Split
from lifelong.runtime.device import computing_on, describe_device
from lifelong.training.fit import Fit
from lifelong.training.stacked_fit import StackedFit

SEEDS = (3, 10)


def measure(hidden: Sequence[int], seeds: int, train: Split, rounds: int) -> dict[str, Cell]:
    def fits() -> list[Fit]:
        networks = [new_network(hidden, OUTPUTS).to(torch.get_default_device()) for _ in range(seeds)]
        return [one_epoch(network, train, seed=seed) for seed, network in enumerate(networks)]

    runs = [run_of(fit) for fit in fits()]
    together = fits()
    stack = StackedFit.of(together, together[0].checkpoints)
    assert stack is not None

    def one_after_another() -> None:
        for run in runs:
            run()

    times = Times({"alone": timed(one_after_another), "together": timed(run_of(stack))}, rounds)
    return {
        "network": "-".join(map(str, [784, *hidden])),
        "seeds": float(seeds),
        "seconds alone": times.seconds("alone"),
        "seconds together": times.seconds("together"),
        "alone by together": times.ratio("alone", "together"),
    }


def rows(quick: bool) -> Iterator[dict[str, Cell]]:
    every = training_images()
    place = torch.get_default_device()
    train = first(Split(every.images.to(place), every.targets.to(place)), 1000 if quick else 12_000)
    for hidden in (SMALL, LARGE):
        for seeds in SEEDS:
            yield measure(hidden, seeds, train, 1 if quick else 6)


@click.command()
@quick_option
@device_option
@output_option
def main(quick: bool, device: str, output: Path | None) -> None:
    """Measure an epoch of several seeds on this machine."""
    use_one_thread()
    where = machine()
    with computing_on(device):
        if found := describe_device():
            where["device"] = found
        report(output, quick, where, list(rows(quick)))


if __name__ == "__main__":
    main()
