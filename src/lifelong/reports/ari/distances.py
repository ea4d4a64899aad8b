"""Distances of the task models to their base over the epochs of the last task: ARI's Fig. 9 (reading A16).

The supplement's argument for them is checked beside: rows of dif* mix models to one point when all of them are mixed
(Eq. 11), whatever the regulariser does; Algorithm 2 starts them anew from the base instead (reading A15).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params import Report, Settings
from lifelong.pipeline.states import read_curve
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results, quantity_cells
from lifelong.runtime import paths

MIXING = "random models, mixed"
MODELS, PARAMETERS, ROUNDS = 6, 1000, 5

NOTES = """\
Mean |phi_i - phi_base| over all parameters, averaged over the mini-batches of an epoch and over the seeds that all runs
have, in units of 1e-6. A task model starts from the base in every mini-batch, so its distance is how far the steps of one
mini-batch take it: it falls with the learning rate and the gradients. What the regulariser of Eq. 7 adds is the difference
between the rows with and without.
"""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Distance of each task's model (y) in every epoch (x), in 1e-6, and its learning rate, of seeds that all runs have."""
    result = []
    seeds = sorted(set.intersection(*(set(settings.experiment(name).seeds) for name in report.single().values())))
    for label, name in report.single().items():
        experiment = settings.experiment(name)
        for task in experiment.tasks:
            for seed in seeds:
                for epoch, (distance, rate) in enumerate(zip(*_curve(name, seed, experiment.tasks[-1], task), strict=True)):
                    place = (report.name, label, name, seed, epoch, task + 1)
                    result.append(Quantity(*place, "distance", 1e6 * distance))
                    result.append(Quantity(*place, "learning_rate", rate))
    return result + _mixing(report.name)


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write first and last epoch's distances, every epoch as CSV, and the curves."""
    rows: list[dict[str, Any]] = []
    body = []
    measured = results.quantities(report)
    curves: dict[str, list[list[float]]] = {}
    for label in report.experiments:
        own = [one for one in measured if one.row == label]
        for task in sorted({int(one.y or 0) for one in own}):
            cells = quantity_cells(one for one in own if one.y == task)
            mean = [cell.mean for cell in cells if cell.metric == "distance"]
            rate = [cell.mean for cell in cells if cell.metric == "learning_rate"]
            curves.setdefault(label, []).append(mean)
            rows += [
                {"row": label, "task": task, "epoch": epoch, "distance": value, "learning_rate": r}
                for epoch, (value, r) in enumerate(zip(mean, rate, strict=True))
            ]
            ratio = (mean[-1] / mean[0]) / (rate[-1] / rate[0])
            numbers = [f"{mean[0]:.2f}", f"{mean[-1]:.2f}", f"{mean[-1] / mean[0]:.3f}", f"{ratio:.3f}"]
            body.append([label, str(task), *numbers, str(cells[0].n)])
    _draw(report, results, curves)
    write_csv(paths.report(report.name, "csv"), ["row", "task", "epoch", "distance", "learning_rate"], rows, ".4f")
    header = ["Run", "Task", "First epoch", "Last epoch", "Last / first", "Of it, beyond the learning rate's fall", "Seeds"]
    argument = _argument([one for one in measured if one.row == MIXING])
    text = f"# {report.title}\n\n{table(header, body)}\n{NOTES}\n{argument}\n{results.made_by(report)}"
    write_page(report, results, text)


def _draw(report: Report, results: Results, curves: dict[str, list[list[float]]]) -> None:
    setting = describe_setting(report, results, "mean over the task models of the last task")
    looks = style.looks(list(curves))
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=5.5) as (axes,):
        for label, of_tasks in curves.items():
            mean = np.mean(of_tasks, 0)
            axes.plot(range(1, len(mean) + 1), mean, label=label, color=looks[label].colour, marker=looks[label].marker)
        axes.set_ylabel("Mean distance to the base, 1e-6")
        axes.set_ylim(bottom=0)
        style.count_tasks(axes, "Epoch")


def _curve(name: str, seed: int, session: int, task: int) -> tuple[list[float], list[float]]:
    """Distance of one task's model and learning rate, epoch by epoch."""
    curve = read_curve(paths.state(name, seed, session, "learn"))
    return [row[f"distance_{task}"] for row in curve], [row["learning_rate"] for row in curve]


def _mixing(report: str) -> list[Quantity]:
    """The supplement's Eqs. 11 and 12 in numbers: random models, dif* made of their own distances each round (x)."""
    import torch

    from lifelong.methods.ari.fusion import distance_matrix, softmax_weights

    now = torch.randn(MODELS, PARAMETERS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = []
    for number in range(ROUNDS + 1):
        dif = distance_matrix(now)
        mix = softmax_weights(dif, PARAMETERS, "relative")
        place = (report, MIXING, "", 0, number, None)
        result.append(Quantity(*place, "largest", float(dif.max())))
        result.append(Quantity(*place, "error", float((mix.sum(1) - 1).abs().max())))
        now = mix @ now
    return result


def _argument(measured: list[Quantity]) -> str:
    at = {(one.metric, int(one.x or 0)): one.value for one in measured}
    body = [[str(n), f"{at['largest', n]:.3e}", f"{at['error', n]:.1e}"] for n in range(ROUNDS + 1)]
    header = ["Round", "Largest distance between two models", "Largest error of a row's sum"]
    return (
        f"## The supplement's argument\n\n{MODELS} random models of {PARAMETERS} parameters, all replaced by dif* times all "
        f"of them each round, without any regulariser or training:\n\n{table(header, body)}\n"
        "They meet in one point because any mixing with positive rows that sum to 1 does that. Algorithm 2 does not mix the "
        "task models: it throws them away, so the argument does not cover it.\n"
    )
