"""How far the weights of each layer move from the first to the last task (ANPyC Fig. 10b, c; reading N24)."""

from __future__ import annotations

import math

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params import Experiment, Report, Settings
from lifelong.pipeline.graph import final_state
from lifelong.reports.cells import of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import DEVIATION, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results, quantity_cells
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError

METRICS = ("frechet_gaussian", "frechet_curve", "change_mean", "change_sum")
BINS = 100

NOTES = f"""\
Weights (not biases) of each shared layer, after the first and after the last task; heads differ between the methods and are
left out. The paper does not define its two quantities; two readings of each are given (reading N24). Fréchet distance of
two Gaussians: the root of (m1 - m2)^2 + (s1 - s2)^2, with m and s the mean and deviation of the layer's weights. Fréchet
distance of two density curves: the discrete (coupling) distance between the two histograms of {BINS} bins over their common
range, taken as curves of points (place in the range, density / the larger of the two highest densities). Both compare
distributions: weights that trade places are no distance. Change: mean over the layer of |W_last - W_first| (every weight
counts one over their number), and the plain sum, which grows with the layer. Mean ± sample deviation over the seeds."""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Every metric of each layer, numbered from 1, by seed."""
    return [
        Quantity(report.name, label, name, seed, layer, None, metric, value)
        for label, name in report.single().items()
        for seed in settings.experiment(name).seeds
        for layer, metrics in enumerate(moved(settings.experiment(name), seed), 1)
        for metric, value in metrics.items()
    ]


def write(settings: Settings, report: Report, results: Results) -> None:
    cells = quantity_cells(results.quantities(report))
    looks = style.looks(list(report.experiments))
    layers = sorted({cell.x for cell in cells if cell.x is not None})
    with style.panels(
        paths.report(report.name, "png"),
        len(METRICS),
        report.title,
        describe_setting(report, results, "from the first task to the last", DEVIATION),
        columns=2,
        height=style.dots_height(len(layers), 4),
        values="x",
    ) as several:
        for axes, metric in zip(several, METRICS, strict=True):
            series = [(label, of(cells, label, metric), look) for label, look in looks.items()]
            style.dots(axes, [f"Layer {layer:g}" for layer in layers], series)
            axes.set_xlim(left=0)
            axes.set_xlabel(QUANTITIES[metric].axis)
    header = ["Method", "Layer", *(QUANTITIES[metric].label for metric in METRICS)]
    at = {(c.row, c.x, c.metric): format_value(c.metric, c.mean, c.deviation, c.n) for c in cells}
    body = [
        [label, f"{layer:g}", *(at[label, layer, metric] for metric in METRICS)]
        for label in report.experiments
        for layer in layers
    ]
    publish(report, results, cells, table(header, body), NOTES)


def moved(experiment: Experiment, seed: int) -> list[dict[str, float]]:
    """Every metric of each layer, in their order, from the first to the last task of one seed."""
    if len(experiment.tasks) < 2:
        raise UserError(
            f"experiment {experiment.name!r} leaves one network alone; there is nothing it could have moved from"
        )
    first, last = (_weights(experiment, seed, task) for task in (experiment.tasks[0], experiment.tasks[-1]))
    return [
        {
            "frechet_gaussian": frechet_gaussian(before, last[name]),
            "frechet_curve": frechet_curve(*densities(before, last[name])),
            "change_mean": float(np.abs(last[name] - before).mean()),
            "change_sum": float(np.abs(last[name] - before).sum()),
        }
        for name, before in first.items()
    ]


def frechet_gaussian(a: np.ndarray, b: np.ndarray) -> float:
    """Of the Gaussians with the means and deviations of two sets of weights: ((m1-m2)^2 + (s1-s2)^2)^(1/2)."""
    return math.hypot(float(a.mean() - b.mean()), float(a.std() - b.std()))


def densities(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two curves [BINS, 2] in the unit square: place in the common range, density over the higher of the two peaks."""
    ends = min(a.min(), b.min()), max(a.max(), b.max())
    counts = [np.histogram(values, BINS, ends, density=True)[0] for values in (a, b)]
    peak = max(count.max() for count in counts)
    places = (np.arange(BINS) + 0.5) / BINS
    first, second = (np.stack([places, count / peak], axis=1) for count in counts)
    return first, second


def frechet_curve(a: np.ndarray, b: np.ndarray) -> float:
    """Discrete Fréchet distance of two curves [n, 2] and [m, 2] (Eiter and Mannila's coupling distance).

    The smallest, over all ways to walk along both from end to end without going back, of the longest leash.
    """
    leash = np.linalg.norm(a[:, None] - b[None, :], axis=2)
    reach = np.empty_like(leash)
    reach[0] = np.maximum.accumulate(leash[0])
    for i in range(1, len(a)):
        reach[i, 0] = max(reach[i - 1, 0], leash[i, 0])
        for j in range(1, len(b)):
            before = min(reach[i - 1, j], reach[i - 1, j - 1], reach[i, j - 1])
            reach[i, j] = max(before, leash[i, j])
    return float(reach[-1, -1])


def _weights(experiment: Experiment, seed: int, task: int) -> dict[str, np.ndarray]:
    """Shared weights float64 [weights] of each layer, from the images on."""
    arrays, _ = read_tensors(final_state(experiment, seed, task), "state")
    names = [key for key, a in arrays.items() if key.startswith("network/") and key.endswith("weight") and a.ndim > 1]
    shared = [name for name in names if not name.startswith("network/heads.")]
    return {name: arrays[name].astype(np.float64).ravel() for name in sorted(shared, key=_place)}


def _place(name: str) -> list[tuple[int, str]]:
    """Sorts hidden.2 before hidden.10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in name.split(".")]
