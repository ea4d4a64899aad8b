"""Mahalanobis task mapper (SKILL, Eq. 5): the task of the nearest class mean under one tied covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lifelong.runtime.errors import UserError

Shrinkage = Literal["none", "ledoit-wolf"] | float


@dataclass(frozen=True)
class ClassSamples:
    """The anchor of one task: the mean of each class over all its training images, and a few images of each."""

    means: np.ndarray  # float32 [classes, d]
    samples: np.ndarray  # float32 [s, d]
    owners: np.ndarray  # int64 [s]: the class of each sample


def draw_samples(features: np.ndarray, labels: np.ndarray, per_class: int, seed: int) -> ClassSamples:
    """Means over all images of a class, and `per_class` of them drawn by seed (all where there are fewer), reading S5."""
    import torch  # slow to import, and a receiver of packets does without

    from lifelong.runtime.randomness import generator

    means, chosen = [], []
    for label in range(int(labels.max()) + 1):
        own = np.flatnonzero(labels == label)
        means.append(features[own].mean(0, dtype=np.float64))
        order = torch.randperm(len(own), generator=generator(seed, "shared samples", label)).numpy()
        chosen.append(np.sort(own[order[:per_class]]))
    index = np.concatenate(chosen)
    return ClassSamples(np.stack(means).astype(np.float32), features[index], labels[index])


@dataclass(frozen=True)
class Metric:
    """A factor F [d, r] with F F' = the precision, so that distances are Euclidean behind x F."""

    factor: np.ndarray


def tied_metric(tasks: Sequence[ClassSamples], shrinkage: Shrinkage = "none") -> Metric:
    """The factor of the inverse of the covariance that all tasks' samples, each less its class mean, have together.

    Without shrinkage the pseudo-inverse, whose rank is at most the number of samples (reading S4). A number s gives
    (1 - s) * covariance + s * mean variance * identity; ledoit-wolf chooses s.

    Raises:
        UserError: no class of any task has two samples that differ.
    """
    residuals = np.concatenate([t.samples.astype(np.float64) - t.means[t.owners] for t in tasks])
    if not residuals.any():
        raise UserError("mahalanobis: every shared sample is its class's mean, so there is no covariance; give more images")
    if shrinkage == "none":
        return _pseudo_inverse(residuals - residuals.mean(0))
    if shrinkage == "ledoit-wolf":
        from sklearn.covariance import ledoit_wolf  # slow to import

        covariance = ledoit_wolf(residuals)[0]
    else:
        from sklearn.covariance import empirical_covariance, shrunk_covariance

        covariance = shrunk_covariance(empirical_covariance(residuals), shrinkage)
    import scipy.linalg

    # covariance = L L', precision = L^-T L^-1
    lower = scipy.linalg.cholesky(covariance, lower=True)
    return Metric(scipy.linalg.solve_triangular(lower, np.eye(len(lower)), lower=True).T)


def _pseudo_inverse(centred: np.ndarray) -> Metric:
    """From R'R / n = V diag(s^2 / n) V' by whichever product of R with itself is the smaller; F = V sqrt(n) / s.

    Directions with a variance below d * eps times the largest count as none, as in scipy's pinvh.
    """
    n, d = centred.shape
    if n < d:
        values, left = np.linalg.eigh(centred @ centred.T / n)
        kept = values > d * np.finfo(np.float64).eps * values[-1]
        values = values[kept]
        return Metric(centred.T @ left[:, kept] / np.sqrt(n * values) / np.sqrt(values))
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    kept = values > d * np.finfo(np.float64).eps * values[-1]
    return Metric(vectors[:, kept] / np.sqrt(values[kept]))


def task_scores(features: np.ndarray, tasks: Sequence[ClassSamples], metric: Metric) -> np.ndarray:
    """-1/2 of the squared distance to the nearest class mean of each task: float64 [n, tasks]."""
    z = features.astype(np.float64) @ metric.factor
    means = np.concatenate([task.means for task in tasks]).astype(np.float64) @ metric.factor
    distances = (z * z).sum(1)[:, None] - 2 * (z @ means.T) + (means * means).sum(1)
    starts = np.cumsum([0, *(len(task.means) for task in tasks[:-1])])
    return -0.5 * np.minimum.reduceat(distances, starts, axis=1)
