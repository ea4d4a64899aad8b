"""Distances of the task models to their base over the epochs of the last task: ARI's Fig. 9 (reading A16).

The supplement's argument for them is checked beside: rows of dif* mix models to one point when all of them are mixed
(Eq. 11), whatever the regulariser does; Algorithm 2 starts them anew from the base instead (reading A15).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong.params import Report, Settings
from lifelong.pipeline.states import read_curve
from lifelong.reports.cells import write_csv
from lifelong.reports.drawing import write_figure
from lifelong.reports.markdown import machine, table
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_text

NOTES = """\
Mean |phi_i - phi_base| over all parameters, averaged over the mini-batches of an epoch and over the seeds that all runs
have, in units of 1e-6. A task model starts from the base in every mini-batch, so its distance is how far the steps of one
mini-batch take it: it falls with the learning rate and the gradients. What the regulariser of Eq. 7 adds is the difference
between the rows with and without.
"""


def write(settings: Settings, report: Report) -> None:
    """Write first and last epoch's distances, every epoch as CSV, and the curves."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.5 * len(report.experiments), 4), layout="constrained")
    panels = figure.subplots(1, len(report.experiments), sharey=True, squeeze=False)[0]
    rows: list[dict[str, Any]] = []
    body = []
    seeds = sorted(set.intersection(*(set(settings.experiment(name).seeds) for name in report.single().values())))
    for axes, (label, name) in zip(panels, report.single().items(), strict=True):
        experiment = settings.experiment(name)
        last = experiment.tasks[-1]
        for task in experiment.tasks:
            curves = [_curve(name, seed, last, task) for seed in seeds]
            mean, rate = np.mean([curve for curve, _ in curves], axis=0), curves[0][1]
            axes.plot(range(len(mean)), mean, label=f"task {task + 1}")
            rows += [
                {"row": label, "task": task + 1, "epoch": epoch, "distance": 1e6 * value, "learning_rate": r}
                for epoch, (value, r) in enumerate(zip(mean, rate, strict=True))
            ]
            ratio = (mean[-1] / mean[0]) / (rate[-1] / rate[0])
            cells = [f"{1e6 * mean[0]:.2f}", f"{1e6 * mean[-1]:.2f}", f"{mean[-1] / mean[0]:.3f}", f"{ratio:.3f}"]
            body.append([label, str(task + 1), *cells, str(len(curves))])
        axes.set(title=label, xlabel="Epoch", ylabel="Mean distance to the base", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize="x-small")
    write_figure(paths.report(report.name, "png"), figure)
    write_csv(paths.report(report.name, "csv"), ["row", "task", "epoch", "distance", "learning_rate"], rows, ".4f")
    header = ["Run", "Task", "First epoch", "Last epoch", "Last / first", "Of it, beyond the learning rate's fall", "Seeds"]
    text = f"# {report.title}\n\n{table(header, body)}\n{NOTES}\n{_mixing()}\nMachine: {machine()}.\n"
    write_text(paths.report(report.name, "md"), text)


def _curve(name: str, seed: int, session: int, task: int) -> tuple[list[float], list[float]]:
    """Distance of one task's model and learning rate, epoch by epoch."""
    curve = read_curve(paths.state(name, seed, session, "learn"))
    return [row[f"distance_{task}"] for row in curve], [row["learning_rate"] for row in curve]


def _mixing(models: int = 6, parameters: int = 1000, rounds: int = 5) -> str:
    """The supplement's Eqs. 11 and 12 in numbers: random models, dif* made of their own distances each round."""
    import torch

    from lifelong.methods.ari.fusion import distance_matrix, softmax_weights

    now = torch.randn(models, parameters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    body = []
    for number in range(rounds + 1):
        dif = distance_matrix(now)
        mix = softmax_weights(dif, parameters, "relative")
        body.append([str(number), f"{dif.max():.3e}", f"{(mix.sum(1) - 1).abs().max():.1e}"])
        now = mix @ now
    header = ["Round", "Largest distance between two models", "Largest error of a row's sum"]
    return (
        f"## The supplement's argument\n\n{models} random models of {parameters} parameters, all replaced by dif* times all "
        f"of them each round, without any regulariser or training:\n\n{table(header, body)}\n"
        "They meet in one point because any mixing with positive rows that sum to 1 does that. Algorithm 2 does not mix the "
        "task models: it throws them away, so the argument does not cover it.\n"
    )
