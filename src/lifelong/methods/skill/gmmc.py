"""Gaussian mixture classifier (SKILL, Eqs. 3 and 4): which task an image is of, by the clusters of each task's features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Clusters:
    """The anchor of one task: k diagonal Gaussians over its training features."""

    means: np.ndarray  # float32 [k, d]
    variances: np.ndarray  # float32 [k, d], above 0
    weights: np.ndarray  # float32 [k], their sum is 1
    images: int  # how many training images they stand for


def fit_clusters(features: np.ndarray, components: int, covariance_floor: float, seed: int) -> tuple[Clusters, bool]:
    """Eq. 3 by expectation maximisation; also whether it converged. A task with fewer images has as many clusters."""
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        min(components, len(features)), covariance_type="diag", reg_covar=covariance_floor, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told to the caller instead
        mixture.fit(features.astype(np.float64))
    result = (mixture.means_, mixture.covariances_, mixture.weights_)
    means, variances, weights = (values.astype(np.float32) for values in result)
    return Clusters(means, variances, weights, len(features)), bool(mixture.converged_)


def task_scores(
    features: np.ndarray, clusters: Sequence[Clusters], decision: Literal["component", "mixture"] = "component"
) -> np.ndarray:
    """log of phi_m N(x | mu_m, Sigma_m) for the best cluster of each task, or of their sum: float64 [n, tasks].

    phi_m is the cluster's weight times the task's share of all images (reading S2); the denominator of Eq. 4 is the
    same for all tasks and left out.
    """
    total = sum(task.images for task in clusters)
    x = features.astype(np.float64)
    squares = x * x
    columns = []
    for task in clusters:
        means, variances = task.means.astype(np.float64), task.variances.astype(np.float64)
        precisions = 1 / variances
        distances = squares @ precisions.T - 2 * (x @ (means * precisions).T) + (means**2 * precisions).sum(1)
        constant = means.shape[1] * math.log(2 * math.pi) + np.log(variances).sum(1)
        with np.errstate(divide="ignore"):  # a cluster of weight 0 is never chosen
            prior = np.log(task.weights.astype(np.float64) * (task.images / total))
        log_joint = prior - 0.5 * (constant + distances)
        best = log_joint.max(1)
        if decision == "mixture":
            best = best + np.log(np.exp(log_joint - best[:, None]).sum(1))
        columns.append(best)
    return np.stack(columns, 1)
