"""The curves of SKILL's Figs. 4 to 8 for one collective, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lifelong.reports.drawing import write_figure

FIRST_TASKS = 10  # whose normalised accuracy Fig. 5 follows


def draw(path: Path, title: str, tasks: list[str], curves: dict[str, Any]) -> None:
    """First task (Fig. 4), normalised accuracy (5), mapper (6), each task (7) and mean accuracy (8)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 9))
    axes = figure.subplots(2, 3)
    learnt = np.arange(1, len(tasks) + 1)
    panels = (
        (axes[0, 0], "first_curve", f"First task ({tasks[0]}), cf. Fig. 4"),
        (axes[0, 1], "mapper_curve", "Task mapper, cf. Fig. 6"),
        (axes[0, 2], "final_curve", "Mean over tasks, cf. Fig. 8"),
    )
    for axis, key, label in panels:
        for variant, kept in curves.items():
            axis.plot(learnt, 100 * kept[key], marker=".", label=variant)
        axis.set(title=label, xlabel="tasks learnt", ylabel="%")
        axis.grid(alpha=0.3)
    axes[0, 2].legend(fontsize=8)
    _normalised(axes[1, 0], learnt, tasks, curves)
    _each_task(axes[1, 1], "mapper_tasks", "Task mapper by task, cf. Fig. 7", tasks, curves)
    _each_task(axes[1, 2], "oracle_tasks", "Head by task when the task is told, cf. Fig. 7", tasks, curves)
    figure.suptitle(title)
    figure.tight_layout()
    write_figure(path, figure, dpi=80)


def _normalised(axis: Any, learnt: np.ndarray, tasks: list[str], curves: dict[str, Any]) -> None:
    variant, kept = next(iter(curves.items()))
    for j, task in enumerate(tasks[:FIRST_TASKS]):
        axis.plot(learnt[j:], 100 * kept["normalised_matrix"][j:, j], label=task)
    axis.set(title=f"Normalised accuracy, {variant}, cf. Fig. 5", xlabel="tasks learnt", ylabel="%")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)


def _each_task(axis: Any, key: str, label: str, tasks: list[str], curves: dict[str, Any]) -> None:
    distinct: dict[bytes, str] = {}  # variants with the same mapper or head share their bars
    for variant, kept in curves.items():
        distinct.setdefault(kept[key].tobytes(), variant)
    width = 0.8 / len(distinct)
    for number, variant in enumerate(distinct.values()):
        places = np.arange(len(tasks)) + width * (number - (len(distinct) - 1) / 2)
        axis.bar(places, 100 * curves[variant][key], width, label=variant)
    axis.set(title=label, ylabel="%")
    axis.set_xticks(range(len(tasks)), tasks, rotation=75, fontsize=7)
    axis.legend(fontsize=7)
