"""What Head2Toe adds to beneficial biases on a collective's tasks (SKILL, Sec. 7.3)."""

from __future__ import annotations

import numpy as np

from lifelong import layout
from lifelong.artifacts import read_tensors
from lifelong.config.skill import Collective
from lifelong.paper.markdown import table


def section(name: str, collective: Collective, tasks: list[str]) -> list[str]:
    """Accuracy of the heads with biases and of those that see inner maps too, the task told and routed."""
    wanted = collective.head2toe
    if wanted is None:
        return []
    found = np.array([accuracies(name, collective, seed, len(tasks)) for seed in range(collective.seeds)])  # [seeds, 4, T]
    mean = 100 * found.mean(0)
    body = [[task, *(f"{value:.1f}" for value in mean[:, i])] for i, task in enumerate(tasks)]
    body.append(["mean", *(f"{value:.2f}" for value in mean.mean(1))])
    header = ["Task", "BB, told", "with Head2Toe", f"BB, {wanted.mapper}", "with Head2Toe"]
    told, routed = mean[1].mean() - mean[0].mean(), mean[3].mean() - mean[2].mean()
    return [
        "## Biases and Head2Toe (Sec. 7.3)\n",
        table(header, body),
        f"Gain {told:+.2f} when the task is told, {routed:+.2f} when {wanted.mapper} names it. Printed, 102 tasks: +0.78 "
        "and +0.56 (MAHA).\n",
    ]


def accuracies(name: str, collective: Collective, seed: int, count: int) -> list[list[float]]:
    """By task: biases told, Head2Toe told, biases routed, Head2Toe routed."""
    wanted = collective.head2toe
    assert wanted is not None
    arrays, _ = read_tensors(layout.collective_predictions(name, seed), "skill-predictions")
    mapped = arrays[f"routes/{wanted.mapper}"] == arrays["owners"]
    plain: list[np.ndarray] = []
    toe: list[np.ndarray] = []
    for task in range(count):
        for path, kind, right in (
            (layout.biased_predictions(name, seed, task, wanted.head), "skill-judged", plain),
            (layout.head2toe(name, seed, task), "skill-head2toe", toe),
        ):
            found, _ = read_tensors(path, kind)
            right.append(found["predictions"] == found["labels"])
    routed = [mapped[arrays["owners"] == task] for task in range(count)]
    rows = (plain, toe, *([r & m for r, m in zip(part, routed, strict=True)] for part in (plain, toe)))
    return [[float(np.mean(right)) for right in row] for row in rows]
