"""One mini-batch of ARI: our step beside the same mathematics by copies of state dictionaries, and what the attack costs.

    python benchmarks/ari.py [--quick] [--output FILE]

Ratios are of times taken in turn in one run, medians over the rounds; each round is the processor time of this one thread,
so that other work on the machine shows less. Images are random: the step's work does not depend on what they show.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.data.classes import Classes
from lifelong.methods.ari import AriOptions
from lifelong.methods.ari.step import TaskModels
from lifelong.networks import attention_mlp, attention_resnet18
from lifelong.networks.attention import AttentiveNetwork
from lifelong.params.networks import AttentionMlpNetwork, AttentionResNet18Network
from lifelong.params.schema import Training
from lifelong.reports.markdown import machine, table
from lifelong.runtime.allocator import keep_freed_memory
from lifelong.runtime.artifacts import write_text
from lifelong.training.optimisers import Optimiser

RATE, TASKS, SLICE = 0.01, 5, 2
PLAIN = AriOptions(attack="none")


def mlp() -> AttentiveNetwork:
    """ARI's network for MNIST."""
    settings = AttentionMlpNetwork(kind="attention-mlp", hidden=[400, 400])
    return attention_mlp.build(settings, (1, 28, 28), [TASKS * SLICE], torch.Generator().manual_seed(0))


def resnet() -> AttentiveNetwork:
    """The narrow ResNet-18 with its third of the width halved again, for a processor."""
    settings = AttentionResNet18Network(kind="attention-resnet18", shape="narrow", widths=[8, 16, 32, 64], shrink=2)
    return attention_resnet18.build(settings, (3, 32, 32), [TASKS * SLICE], torch.Generator().manual_seed(0))


def batch(shape: tuple[int, ...], count: int, tasks: int) -> tuple[Tensor, Tensor]:
    """Random images; of the labels 15 % belong to the earlier tasks, about the share of a memory of 2000."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint((tasks - 1) * SLICE, tasks * SLICE, (count,), generator=generator)
    old = torch.rand(count, generator=generator) < 0.15
    labels[old] = torch.randint(0, tasks * SLICE, (int(old.sum()),), generator=generator)
    return torch.rand(count, *shape, generator=generator), labels


def ours(network: AttentiveNetwork, options: AriOptions, images: Tensor, labels: Tensor) -> Callable[[], None]:
    update = TaskModels(network, options, Classes((SLICE,) * TASKS), TASKS - 1, TASKS)
    names = [name for name, _ in network.named_parameters()]
    budget = Training(learning_rate=RATE, momentum=0.9, batch_size=len(labels), epochs=1)
    optimiser = Optimiser(budget, names, list(network.parameters()))
    network.train()
    return lambda: (update(images, labels, optimiser, RATE), None)[1]


def copied(network: AttentiveNetwork, options: AriOptions, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """The released manner, with copies that are copies: a state dictionary a task, weights tensor by tensor in Python."""
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    network.train()

    def step() -> None:
        base = copy.deepcopy(network.state_dict())
        kept = [name for name, _ in network.named_parameters()]
        models, distances = [], []
        for task in range(TASKS):
            own = labels // SLICE == task
            if not own.any():
                continue
            network.load_state_dict({**network.state_dict(), **{name: base[name] for name in kept}})
            z = network.all_logits(images[own])[:, task * SLICE : (task + 1) * SLICE]
            loss = F.binary_cross_entropy_with_logits(z, F.one_hot(labels[own] - task * SLICE, SLICE).float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            models.append(copy.deepcopy(network.state_dict()))
            distances.append(sum(float((models[-1][name] - base[name]).abs().sum()) for name in kept))
        relative = torch.tensor([*distances, 0.0]) / (sum(distances) / len(distances))
        weights = torch.softmax(relative, 0).tolist()
        mixed = network.state_dict()
        for name in kept:
            fused = sum(w * model[name] for w, model in zip(weights, [*models, base], strict=True))
            mixed[name] = options.gamma * fused + (1 - options.gamma) * base[name]
        network.load_state_dict(mixed)

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.thread_time()
    step()
    return time.thread_time() - start


def medians(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turn; two rounds before the first do not count."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            found = seconds(step)
            if number >= 2:
                taken[name].append(found)
    return {name: statistics.median(values) for name, values in taken.items()}


def difference(a: nn.Module, b: nn.Module) -> float:
    """Largest difference between two networks' parameters."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((x.detach() - y.detach()).abs().max()) for x, y in pairs)


def measured(
    new: Callable[[], AttentiveNetwork], images: Tensor, labels: Tensor, rounds: int
) -> list[dict[str, float | str]]:
    compared = new(), new()
    pair = ours(compared[0], PLAIN, images, labels), copied(compared[1], PLAIN, images, labels)
    for _ in range(3):
        for step in pair:
            step()
    apart = difference(*compared)
    if apart > 1e-4:
        raise SystemExit(f"the two manners differ by {apart}: nothing to compare")
    steps = {"ours": pair[0], "copies": pair[1]}
    for name, options in (
        ("literal, plain", AriOptions(attack="none", fusion="literal", rate="exponential")),
        ("clean, then attacked", AriOptions()),
        ("clean, then attacked by the base", AriOptions(attack_model="base")),
        ("attacked only", AriOptions(updates="attacked-only")),
        ("attacked only, by the base", AriOptions(updates="attacked-only", attack_model="base")),
    ):
        steps[name] = ours(new(), options, images, labels)
    found = medians(steps, rounds)
    plain = found["ours"]
    rows: list[dict[str, float | str]] = [
        {"what": "our step", "milliseconds": 1e3 * plain, "ratio": 1.0},
        {"what": "copies of state dictionaries", "milliseconds": 1e3 * found["copies"], "ratio": found["copies"] / plain},
    ]
    others = {name: value for name, value in found.items() if name not in ("ours", "copies")}
    return rows + [{"what": name, "milliseconds": 1e3 * value, "ratio": value / plain} for name, value in others.items()]


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds: whether it runs, not how fast.")
@click.option("--output", type=click.Path(path_type=Path), help="Write FILE.md and FILE.json.")
def main(quick: bool, output: Path | None) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    rounds = 2 if quick else 15
    results = {}
    for title, new, shape, count in (
        ("784-400-400-10, 256 images of 28x28", mlp, (1, 28, 28), 256),
        ("ResNet-18 of width 8 on 16x16, 128 images of 32x32", resnet, (3, 32, 32), 128),
    ):
        results[title] = measured(new, *batch(shape, count, TASKS), rounds)
    parts = ["# ARI's step\n"]
    for title, rows in results.items():
        body = [[str(row["what"]), f"{row['milliseconds']:.1f}", f"{row['ratio']:.2f}"] for row in rows]
        parts.append(f"## {title}\n\n{table(['Mini-batch of five tasks', 'Milliseconds', 'Ratio to our plain step'], body)}")
    load = os.getloadavg()[0]
    parts.append(
        f"`copies` gives the same weights within 1e-4 after three mini-batches. Medians of {rounds} rounds in turn, "
        "processor time of one thread. "
        f"torch {torch.__version__}, Python {platform.python_version()}, {machine()}, load {load:.1f}.\n"
    )
    text = "\n".join(parts)
    click.echo(text)
    if output:
        write_text(output.with_suffix(".md"), text)
        write_text(output.with_suffix(".json"), json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
