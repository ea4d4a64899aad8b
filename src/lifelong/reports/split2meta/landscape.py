"""The loss around the models of the last task (paper Fig. 5): on the plane through the old, the slow and the fast one.

Axes are filter-normalised (Li et al. 2018): each filter's difference counts in units of the fused model's filter, so that
distances do not depend on the scale of weights. Unlike random directions, the plane holds the three models exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.evaluation.answers import logits
from lifelong.evaluation.results import Quantity
from lifelong.networks.base import Network
from lifelong.params import Experiment, Report, Settings
from lifelong.params.split2meta_reports import LandscapeOptions
from lifelong.pipeline.graph import final_state
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.states import read_state
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.runtime import paths

NOTES = """\
The last task t of the first seed. Mean cross-entropy on validation images of t - 1 and t, each under its own head, of
old + a (slow - old) + b (fast - old), of every parameter and running statistic. Axes: lengths of differences where each
filter's is divided by the norm of the fused model's filter; the first runs from the old to the slow model, the second at a
right angle to it. The fused model is shown where it is nearest to the plane; "off the plane" is its distance to it.
"""
COLUMNS = ["label", "model", "x", "y", "old_loss", "new_loss"]
PLACES = {"old": "o", "slow": "s", "fast": "^", "fused": "*"}

Weights = Mapping[str, Tensor]


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """The losses on a grid of places (x, y) and at the models, and how far the fused one is off the plane."""
    assert isinstance(report.options, LandscapeOptions)
    result = []
    for label, name in report.single().items():
        seed = settings.experiment(name).seeds[0]
        lines, off = _landscape(settings.experiment(name), report.options)
        for line in lines:
            values = {loss: line[loss] for loss in ("old_loss", "new_loss")}
            values |= {"off": off} if line["model"] == "fused" else {}
            for metric, value in values.items():
                place = (report.name, label, name, seed, line["x"], line["y"])
                result.append(Quantity(*place, f"{line['model'] or 'grid'}/{metric}", value))
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write the losses on a grid and at the models, and draw them."""
    at: dict[Any, dict[str, Any]] = {}
    for one in results.quantities(report):
        model, _, metric = one.metric.partition("/")
        place = {"label": one.row, "model": model.replace("grid", ""), "x": one.x, "y": one.y}
        at.setdefault(tuple(place.values()), place)[metric] = one.value
    body = []
    for line in at.values():
        if line["model"]:
            place_told = [f"{line['x']:.2f}, {line['y']:.2f}", f"{line['off']:.2f}" if line["model"] == "fused" else "0"]
            body.append([line["label"], line["model"], *place_told, f"{line['old_loss']:.3f}", f"{line['new_loss']:.3f}"])
    lines = [{key: line[key] for key in COLUMNS} for line in at.values()]
    write_csv(paths.report(report.name, "csv"), COLUMNS, lines, ".6g")
    _draw(report, results, lines)
    header = ["Experiment", "Model", "Place", "Off the plane", "Loss on task t - 1", "Loss on task t"]
    image = f"![loss landscape]({report.name.rpartition('/')[2]}.png)"
    text = f"# {report.title}\n\n{image}\n\n{table(header, body)}\n{NOTES}\n{results.made_by(report)}"
    write_page(report, results, text)


def scale_filters(difference: Weights, reference: Weights) -> Tensor:
    """Every filter's difference over the norm of the reference's filter, as one vector; biases and the like left out."""
    parts = []
    for name, tensor in difference.items():
        if tensor.ndim > 1:
            norms = reference[name].flatten(1).norm(dim=1, keepdim=True).clamp_min(torch.finfo(tensor.dtype).tiny)
            parts.append((tensor.flatten(1) / norms).flatten())
    return torch.cat(parts).double()


@dataclass(frozen=True)
class Plane:
    """The plane through old, slow and fast weights in filter-normalised coordinates, the old ones at (0, 0)."""

    old: Weights
    slow: Weights
    fast: Weights
    reference: Weights

    def place(self, weights: Weights) -> tuple[float, float, float]:
        """Coordinates of what of the plane is nearest to the weights, and their distance to it."""
        first, second = self._axes
        away = scale_filters(_minus(weights, self.old), self.reference)
        x, y = float(away @ first), float(away @ second)
        return x, y, float((away - x * first - y * second).norm())

    def weights(self, x: float, y: float) -> dict[str, Tensor]:
        """All tensors at a place of the plane; variances are kept from being negative."""
        slow_x, fast_x, fast_y = self._corners
        b = y / fast_y
        a = (x - b * fast_x) / slow_x
        result = dict(self.old)
        for name, old in self.old.items():
            if old.is_floating_point():
                point = old + a * (self.slow[name] - old) + b * (self.fast[name] - old)
                result[name] = point.clamp_min(0) if name.endswith("running_var") else point
        return result

    @cached_property
    def _corners(self) -> tuple[float, float, float]:
        """The slow model's x; the fast one's x and y."""
        slow_x, _, _ = self.place(self.slow)
        fast_x, fast_y, _ = self.place(self.fast)
        return slow_x, fast_x, fast_y

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        u, v = (scale_filters(_minus(one, self.old), self.reference) for one in (self.slow, self.fast))
        first = u / u.norm()
        second = v - (v @ first) * first
        return first, second / second.norm()


def _minus(one: Weights, other: Weights) -> dict[str, Tensor]:
    return {name: tensor - other[name] for name, tensor in one.items() if tensor.is_floating_point()}


def _landscape(experiment: Experiment, options: LandscapeOptions) -> tuple[list[dict[str, Any]], float]:
    """A line for every model and every point of the grid; and how far the fused model is off the plane."""
    seed, task = experiment.seeds[0], experiment.tasks[-1]
    inputs = Inputs(experiment)
    network = inputs.network(seed)
    splits = [_first(inputs.task(one).validation, options.images) for one in (task - 1, task)]
    before = read_state(paths.state(experiment.name, seed, task, "fast"))
    fused = read_state(final_state(experiment, seed, task))["network"]
    old = read_state(final_state(experiment, seed, task - 1))["network"]
    plane = Plane(old, before["slow"], before["network"], fused)

    def line(model: str, x: float, y: float, weights: Weights) -> dict[str, Any]:
        losses = _losses(network, weights, splits, task)
        return {"model": model, "x": x, "y": y, "old_loss": losses[0], "new_loss": losses[1]}

    models = {"old": old, "slow": before["slow"], "fast": before["network"], "fused": fused}
    places = {name: plane.place(weights) for name, weights in models.items()}
    result = [line(name, *places[name][:2], weights) for name, weights in models.items()]
    across, down = ([place[axis] for place in places.values()] for axis in (0, 1))
    for y in _around(down, options):
        result += [line("", x, y, plane.weights(x, y)) for x in _around(across, options)]
    return result, places["fused"][2]


def _around(values: list[float], options: LandscapeOptions) -> list[float]:
    margin = options.margin * (max(values) - min(values))
    places: list[float] = np.linspace(min(values) - margin, max(values) + margin, options.points).tolist()
    return places


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.targets[:count])


def _losses(network: Network, weights: Weights, splits: list[Split], task: int) -> list[float]:
    """On the task before the last, and on the last."""
    network.load_state_dict(dict(weights))
    sizes = [head.out_features for head in network.heads]
    own = [logits(network, split).split(sizes, dim=1)[t] for t, split in zip((task - 1, task), splits, strict=True)]
    return [F.cross_entropy(z, split.targets).item() for z, split in zip(own, splits, strict=True)]


def _draw(report: Report, results: Results, lines: list[dict[str, Any]]) -> None:
    setting = describe_setting(report, results, "first seed; contours of the log loss on the last two tasks, dark is low")
    with style.panels(
        paths.report(report.name, "png"), 2 * len(report.experiments), report.title, setting, columns=2, values=""
    ) as axes:
        panels = iter(axes)
        for label in report.experiments:
            own = [line for line in lines if line["label"] == label]
            grid = [line for line in own if not line["model"]]
            x, y = (sorted({line[axis] for line in grid}) for axis in ("x", "y"))
            for key, title in (("old_loss", "task before the last"), ("new_loss", "last task")):
                panel = next(panels)
                heights = np.log([line[key] for line in grid]).reshape(len(y), len(x))
                panel.contour(x, y, heights, levels=14, cmap=style.MAP, linewidths=0.9)
                for line in own:
                    if line["model"]:
                        name = f"{line['model']} model"
                        panel.plot(line["x"], line["y"], PLACES[line["model"]], color=style.INK, ms=6, label=name)
                panel.set(
                    xlabel="From the old to the slow model", ylabel="Across, to the fast one", title=f"{label}, {title}"
                )
