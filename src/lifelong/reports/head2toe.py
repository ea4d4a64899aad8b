"""What Head2Toe adds to beneficial biases on a collective's tasks (SKILL, Sec. 7.3)."""

from __future__ import annotations

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params.skill import Collective
from lifelong.reports.markdown import table
from lifelong.reports.results import quantity_cells
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors

ROWS = ("BB, told", "Head2Toe, told", "BB, routed", "Head2Toe, routed")


def measure(report: str, name: str, collective: Collective, tasks: int) -> list[Quantity]:
    """Accuracy on each task (x) by seed, in percent; nothing where the collective has no such heads."""
    if collective.head2toe is None:
        return []
    return [
        Quantity(report, row, name, seed, task, None, "accuracy", 100 * value)
        for seed in range(collective.seeds)
        for row, values in zip(ROWS, accuracies(name, collective, seed, tasks), strict=True)
        for task, value in enumerate(values, 1)
    ]


def section(measured: list[Quantity], collective: Collective, tasks: list[str]) -> list[str]:
    """Accuracy of the heads with biases and of those that see inner maps too, the task told and routed."""
    requested = collective.head2toe
    if requested is None:
        return []
    cells = [[c.mean for c in quantity_cells(one for one in measured if one.row == row)] for row in ROWS]
    mean = np.array(cells)
    body = [[task, *(f"{value:.1f}" for value in mean[:, i])] for i, task in enumerate(tasks)]
    body.append(["mean", *(f"{value:.2f}" for value in mean.mean(1))])
    header = ["Task", "BB, told", "with Head2Toe", f"BB, {requested.mapper}", "with Head2Toe"]
    told, routed = mean[1].mean() - mean[0].mean(), mean[3].mean() - mean[2].mean()
    return [
        "## Biases and Head2Toe (Sec. 7.3)\n",
        table(header, body),
        f"Gain {told:+.2f} when the task is told, {routed:+.2f} when {requested.mapper} names it. Printed, 102 tasks: +0.78 "
        "and +0.56 (MAHA).\n",
    ]


def accuracies(name: str, collective: Collective, seed: int, count: int) -> list[list[float]]:
    """By task: biases told, Head2Toe told, biases routed, Head2Toe routed."""
    requested = collective.head2toe
    assert requested is not None
    arrays, _ = read_tensors(paths.collective_predictions(name, seed), "skill-predictions")
    mapped = arrays[f"routes/{requested.mapper}"] == arrays["owners"]
    plain: list[np.ndarray] = []
    toe: list[np.ndarray] = []
    for task in range(count):
        for path, kind, right in (
            (paths.biased_predictions(name, seed, task, requested.head), "skill-judged", plain),
            (paths.head2toe(name, seed, task), "skill-head2toe", toe),
        ):
            result, _ = read_tensors(path, kind)
            right.append(result["predictions"] == result["labels"])
    routed = [mapped[arrays["owners"] == task] for task in range(count)]
    rows = (plain, toe, *([r & m for r, m in zip(part, routed, strict=True)] for part in (plain, toe)))
    return [[float(np.mean(right)) for right in row] for row in rows]
