"""Task mappers against scipy and scikit-learn, term by term."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, shrunk_covariance
from sklearn.mixture import GaussianMixture

from lifelong.methods.skill import gmmc, mahalanobis
from lifelong.methods.skill.gmmc import Clusters, fit_clusters
from lifelong.methods.skill.mahalanobis import ClassSamples, Metric, draw_samples, tied_metric


def clusters(seed: int, k: int = 3, d: int = 4, images: int = 30) -> Clusters:
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.ones(k))
    shapes = random.standard_normal((2, k, d))
    means, variances = shapes[0].astype(np.float32), np.exp(shapes[1]).astype(np.float32)
    return Clusters(means, variances, weights.astype(np.float32), images)


def log_joint(x: np.ndarray, task: Clusters, total: int) -> np.ndarray:
    """log of phi N(x), cluster by cluster, by scipy."""
    columns = [
        np.log(weight * task.images / total) + scipy.stats.multivariate_normal(mean, np.diag(variance)).logpdf(x)
        for mean, variance, weight in zip(task.means, task.variances, task.weights, strict=True)
    ]
    return np.stack(columns, 1)


def test_gmmc_scores_are_the_best_cluster_or_their_sum() -> None:
    tasks = [clusters(0, images=30), clusters(1, k=2, images=500)]
    x = np.random.default_rng(9).standard_normal((7, 4)).astype(np.float32)
    joint = [log_joint(x, task, 530) for task in tasks]
    expected = np.stack([part.max(1) for part in joint], 1)
    np.testing.assert_allclose(gmmc.task_scores(x, tasks), expected, rtol=1e-5)
    summed = np.stack([np.log(np.exp(part).sum(1)) for part in joint], 1)
    np.testing.assert_allclose(gmmc.task_scores(x, tasks, "mixture"), summed, rtol=1e-5)


def test_gmmc_does_not_lose_distances_in_large_ones() -> None:
    """Variances at the floor: the squares must not cancel."""
    means = np.array([[3.0, 5.0], [3.001, 5.0]], np.float32)
    tasks = [Clusters(mean[None], np.full((1, 2), 1e-6, np.float32), np.ones(1, np.float32), 5) for mean in means]
    x = np.array([[3.0004, 5.0], [3.0006, 5.0]], np.float32)
    assert gmmc.task_scores(x, tasks).argmax(1).tolist() == [0, 1]


def test_gmmc_fits_as_scikit_learn_does_and_the_same_each_time() -> None:
    x = np.random.default_rng(3).standard_normal((60, 5)).astype(np.float32)
    found, converged = fit_clusters(x, 4, 1e-6, seed=11)
    again, _ = fit_clusters(x, 4, 1e-6, seed=11)
    mixture = GaussianMixture(4, covariance_type="diag", reg_covar=1e-6, random_state=11).fit(x.astype(np.float64))
    np.testing.assert_array_equal(found.means, mixture.means_.astype(np.float32))
    np.testing.assert_array_equal(found.variances, mixture.covariances_.astype(np.float32))
    np.testing.assert_array_equal(again.weights, found.weights)
    assert converged == mixture.converged_
    assert found.images == 60


def test_gmmc_of_few_images_has_as_many_clusters() -> None:
    found, _ = fit_clusters(np.eye(3, dtype=np.float32), 25, 1e-6, seed=0)
    assert len(found.means) == 3


def samples(seed: int, classes: int, per_class: int, d: int) -> ClassSamples:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((classes * per_class, d)) @ random.standard_normal((d, d))
    owners = np.repeat(np.arange(classes), per_class)
    means = 3 * random.standard_normal((classes, d))
    return ClassSamples(means.astype(np.float32), (rows + means[owners]).astype(np.float32), owners)


@pytest.mark.parametrize("d", [4, 40])  # fewer and more dimensions than samples
@pytest.mark.parametrize("shrinkage", ["none", "ledoit-wolf", 0.2])
def test_mahalanobis_is_that_of_scikit_learns_covariance(d: int, shrinkage: mahalanobis.Shrinkage) -> None:
    tasks = [samples(0, 2, 5, d), samples(1, 3, 5, d)]
    residuals = np.concatenate([t.samples.astype(np.float64) - t.means[t.owners] for t in tasks])
    if shrinkage == "none":
        precision = scipy.linalg.pinvh(EmpiricalCovariance().fit(residuals).covariance_)
    elif shrinkage == "ledoit-wolf":
        precision = scipy.linalg.inv(LedoitWolf().fit(residuals).covariance_)
    else:
        precision = scipy.linalg.inv(shrunk_covariance(EmpiricalCovariance().fit(residuals).covariance_, shrinkage))
    x = np.random.default_rng(5).standard_normal((6, d)).astype(np.float32)
    means = [task.means.astype(np.float64) for task in tasks]
    expected = [[max(-0.5 * (row - m) @ precision @ (row - m) for m in part) for part in means] for row in x]
    found = mahalanobis.task_scores(x, tasks, tied_metric(tasks, shrinkage))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_pseudo_inverse_leaves_out_directions_without_samples() -> None:
    """Residuals on a line: distances across it count nothing (reading S4)."""
    task = ClassSamples(np.zeros((2, 3), np.float32), np.array([[1, 0, 0], [-1, 0, 0]], np.float32), np.array([0, 1]))
    scores = mahalanobis.task_scores(np.array([[0, 7, 0], [2, 0, 0]], np.float32), [task], tied_metric([task]))
    np.testing.assert_allclose(scores[:, 0], [0, -2], atol=1e-12)


def test_shared_means_are_those_of_all_images_and_samples_a_seeded_few() -> None:
    random = np.random.default_rng(0)
    features, labels = random.standard_normal((30, 4)).astype(np.float32), np.repeat([0, 1, 2], [3, 7, 20])
    found = draw_samples(features, labels, 5, seed=1)
    expected = [features[labels == label].mean(0) for label in range(3)]
    np.testing.assert_allclose(found.means, expected, rtol=1e-5)
    assert np.bincount(found.owners).tolist() == [3, 5, 5]
    for sample, owner in zip(found.samples, found.owners, strict=True):
        assert (features[labels == owner] == sample).all(1).sum() == 1
    assert len(np.unique(found.samples, axis=0)) == 13
    assert not np.array_equal(draw_samples(features, labels, 5, seed=2).samples, found.samples)


def test_nearest_mean_of_each_task() -> None:
    tasks = [ClassSamples(np.array([[0.0], [10.0]]), np.zeros((1, 1)), np.zeros(1, int))]
    tasks.append(ClassSamples(np.array([[4.0]]), np.zeros((1, 1)), np.zeros(1, int)))
    scores = mahalanobis.task_scores(np.array([[1.0], [9.0]]), tasks, Metric(np.eye(1)))
    np.testing.assert_allclose(scores, [[-0.5, -4.5], [-0.5, -12.5]])
