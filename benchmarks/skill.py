"""Scores of task mappers against naive loops and scikit-learn, stacked heads against single ones, backbone throughput.

    python benchmarks/skill.py [--images 1000] [--write reports/benchmarks/skill.json]

All ratios are of one run on one thread; each timing is the best of three after a warm-up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lifelong.artifacts import write_json
from lifelong.memory import keep_freed_memory
from lifelong.methods.skill import gmmc, mahalanobis
from lifelong.methods.skill.gmmc import Clusters
from lifelong.methods.skill.mahalanobis import ClassSamples
from lifelong.paper.markdown import machine

FEATURES, CLASSES, TASKS, CLUSTERS = 2048, 500, 20, 25
NAIVE = 3  # images of the naive loop, whose time is scaled up


def best_of(function: Callable[[], object], times: int = 3) -> float:
    """Seconds; a single timing goes without a warm-up, which the caller has done."""
    if times > 1:
        function()
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return min(durations)


def mahalanobis_speed(images: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    per_task = CLASSES // TASKS
    owners = np.repeat(np.arange(per_task), 5)
    tasks = [
        ClassSamples(
            random.standard_normal((per_task, FEATURES)).astype(np.float32),
            random.standard_normal((5 * per_task, FEATURES)).astype(np.float32),
            owners,
        )
        for _ in range(TASKS)
    ]
    metric = mahalanobis.tied_metric(tasks)
    x = random.standard_normal((images, FEATURES)).astype(np.float32)
    precision = metric.factor @ metric.factor.T
    means = np.concatenate([task.means for task in tasks]).astype(np.float64)

    def naive() -> list[int]:
        found = []
        for row in x[:NAIVE].astype(np.float64):
            distances = [(row - mean) @ precision @ (row - mean) for mean in means]
            found.append(int(np.argmin(distances)) // per_task)
        return found

    assert naive() == mahalanobis.task_scores(x[:NAIVE], tasks, metric).argmax(1).tolist()
    ours = best_of(lambda: mahalanobis.task_scores(x, tasks, metric))
    loop = best_of(naive, 1) * images / NAIVE
    return {
        "ours_s": ours,
        "naive_s": loop,
        "ratio": loop / ours,
        "factor_s": best_of(lambda: mahalanobis.tied_metric(tasks), 1),
    }


def gmmc_speed(images: int) -> dict[str, float]:
    from scipy.special import logsumexp
    from sklearn.mixture import GaussianMixture

    random = np.random.default_rng(1)
    shapes = random.standard_normal((2, TASKS, CLUSTERS, FEATURES)).astype(np.float32)
    weights = np.full(CLUSTERS, 1 / CLUSTERS, np.float32)
    tasks = [Clusters(m, np.exp(0.1 * v), weights, 100) for m, v in zip(*shapes, strict=True)]
    x = random.standard_normal((images, FEATURES)).astype(np.float32)
    mixtures = []
    for task in tasks:
        mixture = GaussianMixture(CLUSTERS, covariance_type="diag")
        mixture.means_, mixture.covariances_, mixture.weights_ = (
            a.astype(np.float64) for a in (task.means, task.variances, task.weights)
        )
        mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
        mixtures.append(mixture)

    def library() -> np.ndarray:
        wide = x.astype(np.float64)
        return np.stack([mixture.score_samples(wide) for mixture in mixtures], 1)

    def naive() -> list[int]:
        found = []
        for row in x[:NAIVE].astype(np.float64):
            scores = []
            for task in tasks:
                terms = [
                    np.log(w) - 0.5 * np.sum(np.log(2 * np.pi * v) + (row - m) ** 2 / v)
                    for m, v, w in zip(task.means, task.variances, task.weights, strict=True)
                ]
                scores.append(logsumexp(terms))
            found.append(int(np.argmax(scores)))
        return found

    assert naive() == gmmc.task_scores(x[:NAIVE], tasks, "mixture").argmax(1).tolist()
    ours = best_of(lambda: gmmc.task_scores(x, tasks, "mixture"))
    loop, sklearn = best_of(naive, 1) * images / NAIVE, best_of(library)
    return {"ours_s": ours, "naive_s": loop, "ratio": loop / ours, "sklearn_s": sklearn, "ratio_sklearn": sklearn / ours}


def heads_speed() -> dict[str, float]:
    """One pass forward and backward of twenty heads of 25 classes over 32 images each."""
    x = torch.randn(TASKS, 32, FEATURES)
    weight, bias = torch.randn(TASKS, FEATURES, 25), torch.randn(TASKS, 1, 25)
    rows = weight.mT.contiguous()

    def stacked() -> torch.Tensor:
        error = torch.softmax(torch.baddbmm(bias, x, weight), 2)
        return torch.bmm(x.mT, error)

    def single() -> list[torch.Tensor]:
        found = []
        for task in range(TASKS):
            error = torch.softmax(torch.addmm(bias[task], x[task], rows[task].T), 1)
            found.append(error.T @ x[task])
        return found

    torch.testing.assert_close(stacked().mT, torch.stack(single()), rtol=1e-3, atol=1e-2)
    together, apart = best_of(stacked), best_of(single)
    return {"stacked_s": together, "single_s": apart, "ratio": apart / together}


def backbone_speed() -> dict[str, float]:
    """EfficientNet-Lite0 as features are extracted and as biases are learnt, and the share of a 3x3 convolution's rate."""
    from lifelong.backbones.biases import BiasedBackbone
    from lifelong.backbones.fuse import fuse
    from lifelong.backbones.load import load_backbone
    from lifelong.backbones.macs import forward_macs
    from lifelong.config import load

    settings = load(Path(__file__).parents[1] / "params.yaml").skill.backbones["efficientnet-lite0"]
    network = load_backbone("efficientnet-lite0", settings, Path(), [])
    fast, _ = fuse(network, settings.image_size)
    x = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    convolution = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    y = torch.randn(32, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        plain, folded, peak = best_of(lambda: network(x)), best_of(lambda: fast(x)), best_of(lambda: convolution(y))
    peak_rate = 32 * 64 * 64 * 9 * 56 * 56 / peak
    biased = BiasedBackbone(network, settings.image_size)
    both = best_of(lambda: biased(x).sum().backward())
    return {
        "plain_images_per_s": 32 / plain,
        "folded_images_per_s": 32 / folded,
        "biases_images_per_s": 32 / both,
        "share_of_peak": 32 * forward_macs(network, 224) / folded / peak_rate,
    }


def growth(images: int) -> list[float]:
    """Seconds of GMMC to score the images with so many tasks."""
    random = np.random.default_rng(2)
    shapes = random.standard_normal((2, TASKS, CLUSTERS, FEATURES)).astype(np.float32)
    tasks = [Clusters(m, np.exp(0.1 * v), np.full(CLUSTERS, 0.04, np.float32), 100) for m, v in zip(*shapes, strict=True)]
    x = random.standard_normal((images, FEATURES)).astype(np.float32)
    return [best_of(lambda n=n: gmmc.task_scores(x, tasks[:n])) for n in (1, 2, 5, 10, 20)]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found: dict[str, Any] = {
        "machine": machine(),
        "images": arguments.images,
        "mahalanobis": mahalanobis_speed(arguments.images),
        "gmmc": gmmc_speed(arguments.images),
        "heads": heads_speed(),
        "backbone": backbone_speed(),
        "gmmc_seconds_with_1_2_5_10_20_tasks": growth(arguments.images),
    }
    for part, values in found.items():
        print(part, values if not isinstance(values, dict) else {key: round(value, 4) for key, value in values.items()})
    if arguments.write:
        write_json(arguments.write, found)


if __name__ == "__main__":
    main()
