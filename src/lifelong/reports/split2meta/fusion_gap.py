"""What fusing slow and fast model costs: losses along alpha (paper Fig. 6; reading M22) and the gap (Fig. 4 c; M24)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong.data.tensors import Split
from lifelong.evaluation.answers import logits
from lifelong.evaluation.results import Quantity
from lifelong.methods.split2meta.fusion import fuse_weights, slow_share
from lifelong.networks.base import Network
from lifelong.params import Experiment, Report, Settings
from lifelong.params.split2meta_reports import FusionGapOptions
from lifelong.pipeline.inputs import Inputs
from lifelong.pipeline.states import read_state
from lifelong.reports.cells import Cell, cell_over_seeds, write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import format_value
from lifelong.reports.results import Results
from lifelong.runtime import paths

NOTES = """\
Mean cross-entropy on the validation images, each task under its own head; mean ± sample deviation over seeds. Linear:
alpha W_slow + (1 - alpha) W_fast. Meta: alpha (A / a) W_slow + (1 - alpha) ((1 - A) / (1 - a)) W_fast with a the mean of A,
which is the learnt fusion at alpha = a. Gap: how much the loss on earlier tasks is above the slow model's, and that on the
new task above the fast model's, after linear fusion with alpha = 1 - 1/t, over all tasks from the second on.
"""
COLUMNS = [
    "row",
    "metric",
    "mean",
    "deviation",
    "n",
    "x",
    "verdict",
    "seed",
    "task",
    "path",
    "alpha",
    "old_loss",
    "new_loss",
]
"""Lines of the gaps over the seeds first, then the losses of each seed."""

LOSSES = ("old_loss", "new_loss")


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """The losses of slow and fast models and of what lies between them: at alpha (x), after a task (y), on either path."""
    assert isinstance(report.options, FusionGapOptions)
    alphas = [i / (report.options.points - 1) for i in range(report.options.points)]
    result = []
    for label, name in report.single().items():
        experiment = settings.experiment(name)
        for seed in experiment.seeds:
            for row in _losses(experiment, seed, alphas):
                for loss in LOSSES:
                    metric, place = f"{row['path']}/{loss}", (row["alpha"], float(row["task"]))
                    result.append(Quantity(report.name, label, name, seed, *place, metric, row[loss]))
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write gaps and losses."""
    at: dict[Any, dict[str, Any]] = {}
    for one in results.quantities(report):
        path, _, loss = one.metric.partition("/")
        place = {"row": one.row, "seed": one.seed, "task": int(one.y or 0), "path": path, "alpha": one.x}
        at.setdefault(tuple(place.values()), place)[loss] = one.value
    rows = list(at.values())
    gaps = {label: _gaps(rows, label) for label in report.experiments}
    cells = [asdict(cell) for result in gaps.values() for cell in result]
    lines = [{key: cell[key] for key in COLUMNS if key in cell} for cell in cells] + rows
    write_csv(paths.report(report.name, "csv"), COLUMNS, lines, ".4f")
    _draw(report, results, rows)
    body = [
        [label, *(format_value(c.metric, c.mean, c.deviation, c.n) for c in result), f"{result[0].n}"]
        for label, result in gaps.items()
    ]
    header = ["Method", "Gap of earlier tasks", "Gap of the new task", "Seeds"]
    image = f"![losses along alpha]({report.name.rpartition('/')[2]}.png)"
    text = f"# {report.title}\n\n{image}\n\n{table(header, body)}\n{NOTES}\n{results.made_by(report)}"
    write_page(report, results, text)


def on_meta_path(slow: Tensor, fast: Tensor, share: Tensor, mean: float, alpha: float) -> Tensor:
    """alpha (A / a) slow + (1 - alpha) ((1 - A) / (1 - a)) fast (paper Eq. 15 as in reading M22)."""
    return alpha * (share / mean) * slow + (1 - alpha) * ((1 - share) / (1 - mean)) * fast


def _losses(experiment: Experiment, seed: int, alphas: list[float]) -> list[dict[str, Any]]:
    inputs = Inputs(experiment)
    network = inputs.network(seed)
    splits = [inputs.task(task).validation for task in experiment.tasks]
    rows: list[dict[str, Any]] = []
    for task in experiment.tasks[1:]:
        fast_state = read_state(paths.state(experiment.name, seed, task, "fast"))
        fuse_state = read_state(paths.state(experiment.name, seed, task, "fuse"))
        slow, fast = fast_state["slow"], fast_state["network"]

        def add(path: str, alpha: float, weights: Mapping[str, Tensor], task: int = task) -> None:
            old, new = _old_and_new(network, weights, splits[: task + 1])
            rows.append({"task": task + 1, "path": path, "alpha": alpha, "old_loss": old, "new_loss": new})

        for alpha in sorted({*alphas, slow_share(task)}):
            add("linear", alpha, fuse_weights(slow, fast, alpha))
        if shares := fuse_state.get("shares"):
            mean = torch.cat([share.expand_as(slow[name]).flatten() for name, share in shares.items()]).mean().item()
            for alpha in sorted({*alphas, mean}):
                bent = {n: on_meta_path(slow[n], fast[n], share, mean, alpha) for n, share in shares.items()}
                for name in bent:
                    if name.endswith("running_var"):
                        bent[name] = bent[name].clamp_min(0)
                add("meta", alpha, slow | bent)
    return rows


def _old_and_new(network: Network, weights: Mapping[str, Tensor], splits: list[Split]) -> tuple[float, float]:
    """Mean loss over the earlier tasks, and on the last of `splits`."""
    network.load_state_dict(dict(weights))
    result = []
    for task, split in enumerate(splits):
        sizes = [head.out_features for head in network.heads]
        own = logits(network, split).split(sizes, dim=1)[task]
        result.append(F.cross_entropy(own, split.targets).item())
    return statistics.mean(result[:-1]), result[-1]


def _gaps(rows: list[dict[str, Any]], label: str) -> list[Cell]:
    """Of earlier tasks and of the new one: mean and deviation over seeds of the mean over tasks."""
    seeds = sorted({row["seed"] for row in rows if row["row"] == label})
    result: dict[str, list[float]] = {"old": [], "new": []}
    for seed in seeds:
        own = [row for row in rows if (row["row"], row["seed"], row["path"]) == (label, seed, "linear")]
        gaps: dict[str, list[float]] = {"old": [], "new": []}
        for task in sorted({row["task"] for row in own}):
            at = {row["alpha"]: row for row in own if row["task"] == task}
            middle = at[min(at, key=lambda alpha: abs(alpha - slow_share(task - 1)))]
            gaps["old"].append(middle["old_loss"] - at[1.0]["old_loss"])
            gaps["new"].append(middle["new_loss"] - at[0.0]["new_loss"])
        for which, values in gaps.items():
            result[which].append(statistics.mean(values))
    cells = [cell_over_seeds(label, f"gap_{which}", values) for which, values in result.items()]
    return [cell for cell in cells if cell is not None]


def _draw(report: Report, results: Results, rows: list[dict[str, Any]]) -> None:
    """Sum of both losses along alpha after the last task, mean over the seeds."""
    setting = describe_setting(report, results, "after the last task; mean over seeds")
    looks = style.looks(list(report.experiments))
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=6) as (axes,):
        for label in report.experiments:
            own = [row for row in rows if row["row"] == label]
            last = max(row["task"] for row in own)
            for path, dash in (("linear", "--"), ("meta", "-")):
                at: dict[float, list[float]] = {}
                for row in own:
                    if row["task"] == last and row["path"] == path:
                        at.setdefault(round(row["alpha"], 6), []).append(row["old_loss"] + row["new_loss"])
                seeds = max((len(values) for values in at.values()), default=0)
                shared = sorted(alpha for alpha, values in at.items() if len(values) == seeds)
                if shared:
                    means = [float(np.mean(at[alpha])) for alpha in shared]
                    how: dict[str, Any] = {"color": looks[label].colour, "marker": looks[label].marker, "linestyle": dash}
                    axes.plot(shared, means, label=f"{label}, {path}", **how)
        axes.set(xlabel="Share of the slow model (0: fast, 1: slow)", ylabel="Loss on earlier tasks + new one", yscale="log")
