"""Task mappers against naive loops and scikit-learn, stacked heads, the backbone's rate, and agents beside one another.

    python benchmarks/skill.py [--quick] [--output reports/benchmarks/skill]

Everything compared runs in turn in one process on one thread, but for the agents, which are processes; ratios are medians
over the rounds. Naive loops handle a few images, and their time is scaled up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import skill_agents
import torch
from common import PARAMS, Row, Times, machine, output_option, quick_option, report, timed, use_one_thread

from lifelong.methods.skill import gmmc, mahalanobis
from lifelong.methods.skill.gmmc import Clusters
from lifelong.methods.skill.mahalanobis import ClassSamples

NAIVE = 2  # images of a naive loop, classes that scikit-learn is asked for


@dataclass(frozen=True)
class Shape:
    features: int = 2048
    classes: int = 500
    tasks: int = 20
    clusters: int = 25
    images: int = 1000

    @property
    def per_task(self) -> int:
        return self.classes // self.tasks


def mahalanobis_rows(shape: Shape, rounds: int) -> list[Row]:
    from sklearn.covariance import EmpiricalCovariance

    random = np.random.default_rng(0)
    count = shape.per_task
    owners = np.repeat(np.arange(count), 5)

    def drawn(rows: int) -> np.ndarray:
        return random.standard_normal((rows, shape.features)).astype(np.float32)

    tasks = [ClassSamples(drawn(count), drawn(5 * count), owners) for _ in range(shape.tasks)]
    metric = mahalanobis.tied_metric(tasks)
    x = drawn(shape.images)
    wide, means = x.astype(np.float64), np.concatenate([task.means for task in tasks]).astype(np.float64)
    library = EmpiricalCovariance()
    library.precision_, library.covariance_ = metric.factor @ metric.factor.T, np.eye(1)
    library.location_ = means[0]

    def naive() -> list[int]:
        found = []
        for row in wide[:NAIVE]:
            distances = [(row - mean) @ library.precision_ @ (row - mean) for mean in means]
            found.append(int(np.argmin(distances)) // count)
        return found

    def scikit_learn() -> None:
        for mean in means[:NAIVE]:
            library.location_ = mean
            library.mahalanobis(wide)

    if naive() != mahalanobis.task_scores(x[:NAIVE], tasks, metric).argmax(1).tolist():
        raise SystemExit("Mahalanobis: the naive loop answers otherwise")
    ours = timed(lambda: mahalanobis.task_scores(x, tasks, metric))
    times = Times({"ours": ours, "naive": timed(naive), "sklearn": timed(scikit_learn)}, rounds)
    what = f"{shape.images} images, {shape.classes} classes, {shape.features} features"
    return [
        Row("MAHA", what, times.seconds("ours"), "s"),
        Row("MAHA", "naive loop", times.ratio("naive", "ours") * shape.images / NAIVE, "times ours"),
        Row("MAHA", "scikit-learn, class by class", times.ratio("sklearn", "ours") * shape.classes / NAIVE, "times ours"),
    ]


def clusters(shape: Shape, random: np.random.Generator) -> list[Clusters]:
    drawn = random.standard_normal((2, shape.tasks, shape.clusters, shape.features)).astype(np.float32)
    weights = np.full(shape.clusters, 1 / shape.clusters, np.float32)
    return [Clusters(m, np.exp(0.1 * v), weights, 100) for m, v in zip(*drawn, strict=True)]


def gmmc_rows(shape: Shape, rounds: int) -> list[Row]:
    from scipy.special import logsumexp
    from sklearn.mixture import GaussianMixture

    random = np.random.default_rng(1)
    tasks = clusters(shape, random)
    x = random.standard_normal((shape.images, shape.features)).astype(np.float32)
    wide = x.astype(np.float64)
    mixtures = []
    for task in tasks:
        mixture = GaussianMixture(shape.clusters, covariance_type="diag")
        mixture.means_, mixture.covariances_, mixture.weights_ = (
            a.astype(np.float64) for a in (task.means, task.variances, task.weights)
        )
        mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
        mixtures.append(mixture)

    def naive() -> list[int]:
        found = []
        for row in wide[:NAIVE]:
            scores = []
            for task in tasks:
                terms = [
                    np.log(w) - 0.5 * np.sum(np.log(2 * np.pi * v) + (row - m) ** 2 / v)
                    for m, v, w in zip(task.means, task.variances, task.weights, strict=True)
                ]
                scores.append(logsumexp(terms))
            found.append(int(np.argmax(scores)))
        return found

    if naive() != gmmc.task_scores(x[:NAIVE], tasks, "mixture").argmax(1).tolist():
        raise SystemExit("GMMC: the naive loop answers otherwise")
    actions = {
        "ours": timed(lambda: gmmc.task_scores(x, tasks, "mixture")),
        "naive": timed(naive),
        "sklearn": timed(lambda: [mixture.score_samples(wide) for mixture in mixtures]),
    }
    times = Times(actions, rounds)
    what = f"{shape.images} images, {shape.tasks} tasks of {shape.clusters} clusters, {shape.features} features"
    return [
        Row("GMMC", what, times.seconds("ours"), "s"),
        Row("GMMC", "naive loop", times.ratio("naive", "ours") * shape.images / NAIVE, "times ours"),
        Row("GMMC", "scikit-learn, task by task", times.ratio("sklearn", "ours"), "times ours"),
    ]


def growth_rows(shape: Shape, rounds: int) -> list[Row]:
    """What the mapper needs for one task more, by the number of tasks it has."""
    random = np.random.default_rng(2)
    tasks = clusters(shape, random)
    x = random.standard_normal((shape.images, shape.features)).astype(np.float32)
    counts = [n for n in (1, 2, 5, 10, 20) if n <= shape.tasks]
    times = Times({str(n): timed(lambda n=n: gmmc.task_scores(x, tasks[:n])) for n in counts}, rounds)  # type: ignore[misc]
    return [Row("GMMC", f"a task, of {n}", 1e3 * times.seconds(str(n)) / n, "ms") for n in counts]


def head_rows(shape: Shape, rounds: int) -> list[Row]:
    """One pass forward and backward of a head of each task over 32 images each."""
    x = torch.randn(shape.tasks, 32, shape.features)
    weight, bias = torch.randn(shape.tasks, shape.features, shape.per_task), torch.randn(shape.tasks, 1, shape.per_task)
    own = weight.mT.contiguous()

    def stacked() -> torch.Tensor:
        return torch.bmm(x.mT, torch.softmax(torch.baddbmm(bias, x, weight), 2))

    def single() -> list[torch.Tensor]:
        found = []
        for task in range(shape.tasks):
            error = torch.softmax(torch.addmm(bias[task], x[task], own[task].T), 1)
            found.append(error.T @ x[task])
        return found

    torch.testing.assert_close(stacked().mT, torch.stack(single()), rtol=1e-3, atol=1e-2)
    times = Times({"stacked": timed(stacked), "single": timed(single)}, rounds)
    what = f"a step of {shape.tasks} heads of {shape.per_task} classes, one by one"
    return [
        Row("heads", what, 1e3 * times.seconds("single"), "ms"),
        Row("heads", "stacked", times.ratio("stacked", "single"), "times one by one"),
    ]


def backbone_rows(rounds: int) -> list[Row]:
    """EfficientNet-Lite0 as features are extracted and as biases are learnt, and the share of a 3x3 convolution's rate."""
    from lifelong.networks.backbones.biases import BiasedBackbone
    from lifelong.networks.backbones.fuse import fuse
    from lifelong.networks.backbones.load import load_backbone
    from lifelong.networks.backbones.macs import forward_macs
    from lifelong.params import load

    settings = load(PARAMS).skill.backbones["efficientnet-lite0"]
    network = load_backbone("efficientnet-lite0", settings, Path(), [])
    fast, _ = fuse(network, settings.image_size)
    biased = BiasedBackbone(network, settings.image_size)
    x = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    convolution = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    y = torch.randn(32, 64, 56, 56).contiguous(memory_format=torch.channels_last)

    def frozen(module: torch.nn.Module, images: torch.Tensor) -> None:
        with torch.inference_mode():
            module(images)

    actions = {
        "plain": timed(lambda: frozen(network, x)),
        "folded": timed(lambda: frozen(fast, x)),
        "convolution": timed(lambda: frozen(convolution, y)),
        "biases": timed(lambda: biased(x).sum().backward()),
    }
    times = Times(actions, rounds)
    work = 32 * forward_macs(network, 224) / (32 * 64 * 64 * 9 * 56 * 56)
    return [
        Row("backbone", "features", 32 / times.seconds("folded"), "images/s"),
        Row("backbone", "unfolded normalisations", times.ratio("plain", "folded"), "times the seconds"),
        Row("backbone", "of a 3x3 convolution's rate", work * times.ratio("convolution", "folded"), ""),
        Row("backbone", "biases, forward and backward", 32 / times.seconds("biases"), "images/s"),
    ]


@click.command(help=__doc__)
@quick_option
@output_option
def main(quick: bool, output: Path | None) -> None:
    use_one_thread()
    where = machine()
    shape = Shape(16, 20, 4, 3, 30) if quick else Shape()
    rounds = 1 if quick else 6
    work = skill_agents.Work(4, 2, 40, 8, 2, 2) if quick else skill_agents.Work(8, 10, 1000, 1280, 25, 20)
    rows = [*mahalanobis_rows(shape, rounds), *gmmc_rows(shape, rounds), *growth_rows(shape, rounds)]
    rows += head_rows(shape, rounds)
    rows += [] if quick else backbone_rows(rounds)
    rows += skill_agents.rows(work, 1 if quick else 3)
    if any(not math.isfinite(row.value) for row in rows):
        raise SystemExit("a timing is not finite")
    report(output, quick, where, rows)


if __name__ == "__main__":
    main()
