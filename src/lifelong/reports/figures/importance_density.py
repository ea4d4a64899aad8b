"""How the importance of the weights is distributed after the first task, under three measures (ANPyC Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from lifelong.evaluation.results import Quantity
from lifelong.methods.anpyc import AnpycOptions
from lifelong.methods.anpyc.importance import entropy_importance
from lifelong.params import Experiment, Report, Settings
from lifelong.params.reports import DensityOptions
from lifelong.pipeline.choose import apply_choice
from lifelong.pipeline.graph import final_state
from lifelong.pipeline.inputs import Inputs
from lifelong.reports.cells import Cell, of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import DEVIATION, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results, quantity_cells
from lifelong.reports.verdicts import Printed, Sample, judge_cell, printed_table, tolerance
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError
from lifelong.training.importance import fisher_diagonal, output_sensitivity

MEASURES = ("EWC", "MAS", "ANPyC")
BINS = 50
LOW = 0.01  # of the largest importance: below it a weight counts as unimportant
SHAPE = ("kurtosis_fisher", "kurtosis_pearson", "skewness", "low_share")

NOTES = f"""\
For each seed the network that the first task left (with pruning: pruned and retrained by ANPyC's own importance) is given
that task's training images once more, and three importances of its shared weights and biases are measured, dropout off: EWC,
the exact diagonal of the Fisher information; MAS, the mean over images of the magnitude of the gradient of the squared
length of the logits; ANPyC, as its experiment's options say. Each is brought to [0, 1] by its own smallest and largest value
over all weights together (reading N25); {BINS} bins. Pruned weights are counted: under EWC and MAS a weight at 0 may matter,
under ANPyC it cannot, as its importance has the factor W: part of its polarisation is by construction (reading N9). Low
share: weights below {LOW:.0%} of the largest importance. Kurtosis under both definitions: Pearson's is Fisher's + 3. Mean ±
sample deviation over the seeds."""

PRINTED_NOTES = """\
Printed: means of the ten kurtoses that the released code lists (reading N25). They cannot be skewnesses: of the 52 320
weights of 784-64-32 no skewness exceeds the root of their number, 229. Which definition is theirs does not show (reading
N25); Fisher's is taken. *Same*: the 95 % interval of our mean lies within a quarter of the interquartile
range of all measures; *different*: beyond; *undecided*: neither."""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """The shape of each measure's importances and their density in every bin, by seed."""
    result = []
    for label, name in report.single().items():
        experiment = apply_choice(settings.experiment(name))
        for seed in experiment.seeds:
            for kind, values in importances(experiment, seed).items():
                scaled = normalise_values(values, f"{name}, seed {seed}, {kind}")
                heights = np.histogram(scaled, BINS, (0, 1), density=True)[0]
                measured: list[tuple[str, float | None, float]] = [(m, None, v) for m, v in shape(scaled).items()]
                measured += [("density", (bin + 0.5) / BINS, float(height)) for bin, height in enumerate(heights)]
                row = _row(kind, label)
                result += [Quantity(report.name, row, name, seed, x, None, metric, v) for metric, x, v in measured]
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    options = report.options
    assert isinstance(options, DensityOptions)
    measured = quantity_cells(results.quantities(report))
    curves = [cell for cell in measured if cell.metric == "density"]
    shapes = [cell for cell in measured if cell.metric != "density"]
    cells = _beside_printed(shapes, printed_table(options.printed) if options.printed else {})
    _draw(report, results, cells, curves)
    header = ["Importance", *(QUANTITIES[metric].axis for metric in SHAPE)]
    rows = [_row(kind, label) for kind in MEASURES for label in report.experiments]
    body = [[row, *(_shown(of(cells, row, metric)[0]) for metric in SHAPE)] for row in rows]
    publish(report, results, cells, table(header, body), NOTES, _printed_section(cells), curves)


def importances(experiment: Experiment, seed: int) -> dict[str, np.ndarray]:
    """Measure -> importance of every shared parameter to the first task, flattened [weights], after that task."""
    inputs = Inputs(experiment)
    network = inputs.network(seed)
    arrays, _ = read_tensors(final_state(experiment, seed, 0), "state")
    left = {key.removeprefix("network/"): torch.from_numpy(a) for key, a in arrays.items() if key.startswith("network/")}
    network.load_state_dict(left)
    network.eval()
    train = inputs.task(0).train
    options = experiment.options
    assert isinstance(options, AnpycOptions)
    result = {
        "EWC": fisher_diagonal(network, train, 0, batch=500),
        "MAS": output_sensitivity(network, train, 0, batch=1000),
        "ANPyC": entropy_importance(network, train, 0, options),
    }
    return {
        measure: torch.cat([tensor.flatten() for tensor in named.values()]).double().numpy()
        for measure, named in result.items()
    }


def normalise_values(values: np.ndarray, what: str) -> np.ndarray:
    """(v - min) / (max - min), in [0, 1] (reading N25).

    Raises:
        UserError: all values are the same.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise UserError(f"{what}: every weight has importance {low:g}; there is no distribution to show")
    return (values - low) / (high - low)


def shape(values: np.ndarray) -> dict[str, float]:
    """Kurtosis under both definitions, skewness, and the percentage of values below `LOW`, of values in [0, 1]."""
    from scipy import stats

    return {
        "kurtosis_fisher": float(stats.kurtosis(values, fisher=True)),
        "kurtosis_pearson": float(stats.kurtosis(values, fisher=False)),
        "skewness": float(stats.skew(values)),
        "low_share": 100 * float((values < LOW).mean()),
    }


def _row(measure: str, label: str) -> str:
    return f"{measure} ({label})"


def _beside_printed(cells: list[Cell], printed: Mapping[tuple[str, str], Printed]) -> list[Cell]:
    """The cells, those that are printed with the printed mean and a verdict."""
    judged = []
    for cell in cells:
        target = printed.get((cell.row, cell.metric))
        if target is not None:
            ours = [other.mean for other in cells if other.metric == cell.metric]
            word = judge_cell(Sample(cell.mean, cell.deviation, cell.n), target.mean, tolerance(printed, cell.metric, ours))
            cell = replace(cell, printed_mean=target.mean, verdict=word)
        judged.append(cell)
    return judged


def _printed_section(cells: Sequence[Cell]) -> str:
    judged = [cell for cell in cells if cell.printed_mean is not None]
    if not judged:
        return ""
    body = [
        [cell.row, QUANTITIES[cell.metric].label, _shown(cell), f"{cell.printed_mean:,.2f}", cell.verdict] for cell in judged
    ]
    result = table(["Importance", "Metric", "Ours", "Printed", "Verdict"], body)
    return f"## Beside the printed values\n\n{result}\n{PRINTED_NOTES}\n"


def _shown(cell: Cell) -> str:
    return format_value(cell.metric, cell.mean, cell.deviation, cell.n)


def _draw(report: Report, results: Results, cells: Sequence[Cell], curves: Sequence[Cell]) -> None:
    labels, looks = list(report.experiments), style.looks(MEASURES)
    rows = [_row(measure, label) for measure in MEASURES for label in labels]
    with style.panels(
        paths.report(report.name, "png"),
        len(labels) + 2,
        report.title,
        describe_setting(report, results, "after the first task", DEVIATION),
        columns=2,
        values="",
    ) as several:
        for axes, label in zip(several, labels, strict=False):
            for measure, look in looks.items():
                style.steps(axes, of(curves, _row(measure, label), "density"), look, measure)
            axes.set(
                title=label.capitalize(), xlabel="Importance, normalised", ylabel=QUANTITIES["density"].axis, yscale="log"
            )
        top = max((cell.mean + (cell.deviation or 0) for cell in curves), default=1.0)
        low = min((cell.mean for cell in curves if cell.mean > 0), default=0.1)
        for axes in several[: len(labels)]:
            axes.set_ylim(low / 2, top * 2)
        for axes, metric in zip(several[len(labels) :], ("kurtosis_fisher", "skewness"), strict=True):
            found = [of(cells, row, metric)[0] for row in rows]
            shown = [looks[measure] for measure in MEASURES for _ in labels]
            style.dots(axes, rows, [("", found, shown)], [cell.printed_mean for cell in found])
            if metric == "kurtosis_fisher":
                axes.set_xscale("log")
            axes.set_xlabel(QUANTITIES[metric].axis)
