"""Intersection over union of learners of class-incremental segmentation, each class apart (paper Table 2; reading M21)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lifelong.evaluation.dense import intersection_over_union
from lifelong.evaluation.results import Quantity
from lifelong.params import Report, Settings
from lifelong.reports.cells import of, write_cells
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import DEVIATION, describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results, quantity_cells
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result

NOTES = """\
Percent on the test images after the last step, mean ± sample deviation over the seeds; void pixels are left out. IoU of a
class: pixels that are and are answered so, over those that are or are answered so; a class with neither has none. *First*
and *later*: classes of the first step and of the others, without the background. Published columns of all classes are
averaged with or without the background (reading M21): both are here, and each class in the CSV. Data without a background
label have no pixel of it; what is answered so counts as a miss of the class. The figure: after each step the classes so
far, on their own pixels.
"""
MEANS = ("iou_first", "iou_later", "iou_all", "iou_all_background")


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Means after the last step, each class's IoU (x), and the mean over classes seen after each step (x), in percent."""
    return [
        Quantity(report.name, label, name, seed, x, None, metric, value)
        for label, name in report.single().items()
        for metric, x in _places(read_result(paths.scores(name, settings.experiment(name).seeds[0])))
        for seed in settings.experiment(name).seeds
        for value in [_value(read_result(paths.scores(name, seed)), metric, x)]
    ]


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write the means of every learner, each class's IoU, and the mean over the classes seen after each step."""
    cells = quantity_cells(results.quantities(report))
    write_cells(paths.report(report.name, "csv"), cells)
    labels = list(report.single())
    setting = describe_setting(report, results, DEVIATION)
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=5.5) as (axes,):
        for label, look in style.looks(labels).items():
            style.line(axes, of(cells, label, "iou_seen"), look, label)
        axes.set_ylabel(QUANTITIES["iou_seen"].axis)
        style.count_tasks(axes, "Steps learnt")
    at = {(c.row, c.metric, c.x): format_value(c.metric, c.mean, c.deviation, c.n) for c in cells}
    header = ["Learner", *(QUANTITIES[metric].label for metric in MEANS)]
    body = [[label, *(at.get((label, metric, None), "-") for metric in MEANS)] for label in labels]
    classes = sorted({c.x for c in cells if c.metric == "iou" and c.x is not None})
    by_class = [[f"{x:g}", *(at.get((label, "iou", x), "-") for label in labels)] for x in classes]
    image = f"![{report.title}]({report.name.rpartition('/')[2]}.png)"
    parts = [f"# {report.title}\n", f"{image}\n", table(header, body), table(["Class", *labels], by_class)]
    parts += [NOTES, results.made_by(report)]
    write_page(report, results, "\n".join(parts))


def means(confusion: np.ndarray, first: int) -> dict[str, float | None]:
    """Means in percent over the first step's classes, the later ones, all, and all with the background if there is any."""
    iou = 100 * intersection_over_union(confusion)
    parts = {"iou_first": iou[1 : first + 1], "iou_later": iou[first + 1 :], "iou_all": iou[1:]}
    if confusion[0].any():
        parts["iou_all_background"] = iou
    return {name: float(np.nanmean(part)) if (~np.isnan(part)).any() else None for name, part in parts.items()}


def _places(scores: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Every metric, and at each class or step those that have one."""
    yield from ((metric, None) for metric in MEANS)
    yield from (("iou", float(index)) for index in range(len(scores["confusion"][-1])))
    yield from (("iou_seen", step + 1.0) for step in range(len(scores["sizes"])))


def _value(scores: dict[str, Any], metric: str, x: float | None) -> float | None:
    sizes, last = scores["sizes"], np.array(scores["confusion"][-1])
    if x is None:
        return means(last, sizes[0]).get(metric)
    if metric == "iou":
        value = 100 * intersection_over_union(last)[int(x)]
        return None if np.isnan(value) else float(value)
    step = int(x) - 1
    seen = sum(sizes[: step + 1])
    return means(np.array(scores["confusion"][step])[: seen + 1, : seen + 1], sizes[0])["iou_all"]
