"""How many parameters a network has under several methods while tasks come in (ANPyC Fig. 7a); nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence

from lifelong.data.classes import Classes
from lifelong.evaluation.results import Quantity
from lifelong.networks.base import head_sizes
from lifelong.networks.create import build_network
from lifelong.params import Report, Settings
from lifelong.params.networks import ResolvedNetwork
from lifelong.params.reports import GrowthOptions
from lifelong.reports.cells import of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results, quantity_cells
from lifelong.runtime import paths
from lifelong.runtime.randomness import generator

METHODS = ("HAT", "EWC", "ANPyC", "Joint")

NOTES = """\
Counted on networks built for the purpose; nothing is trained. EWC and ANPyC add a head a task. HAT adds a head and an
embedding of every hidden unit a task. Joint has the heads of all tasks from the start. What a method keeps beside the
network (importances, old weights, masks) is not counted, as in the paper: of ANPyC and EWC that is twice the shared
parameters, whatever the number of tasks."""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Parameters of each method's network after each number of tasks."""
    options = report.options
    assert isinstance(options, GrowthOptions) and report.network is not None
    result = []
    for learnt in range(1, options.tasks + 1):
        sizes = counts(report.network, options.image_shape, options.classes_per_task, learnt, options.tasks)
        for method in METHODS:
            result.append(Quantity(report.name, method, "", None, learnt, None, "parameters", float(sizes[method]), n=0))
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    options = report.options
    assert isinstance(options, GrowthOptions)
    cells = quantity_cells(results.quantities(report))
    setting = f"{options.classes_per_task} classes a task; counted, nothing is trained; EWC and ANPyC have the same"
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=5.5) as (axes,):
        for method, look in style.looks(METHODS).items():
            style.line(axes, of(cells, method, "parameters"), look, method)
        axes.set_ylabel(QUANTITIES["parameters"].axis)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        style.count_tasks(axes)
    few = [1, options.tasks // 2, options.tasks]
    at = {(cell.row, cell.x): format_value("parameters", cell.mean, None, 0) for cell in cells}
    header = ["Method", *(f"{learnt} tasks" if learnt > 1 else "1 task" for learnt in few)]
    body = [[method, *(at[method, float(learnt)] for learnt in few)] for method in METHODS]
    network = options.network
    publish(
        report,
        results,
        cells,
        table(header, body),
        f"Network `{network}`, {options.classes_per_task} classes a task.\n{NOTES}",
    )


def counts(
    network: ResolvedNetwork, image_shape: Sequence[int], classes_per_task: int, learnt: int, tasks: int
) -> dict[str, int]:
    """Parameters of each method's network after `learnt` of `tasks` tasks."""
    grown, embeddings = _sizes(network, image_shape, classes_per_task, learnt)
    whole, _ = _sizes(network, image_shape, classes_per_task, tasks)
    return {"HAT": grown + learnt * embeddings, "EWC": grown, "ANPyC": grown, "Joint": whole}


def _sizes(network: ResolvedNetwork, image_shape: Sequence[int], classes_per_task: int, heads: int) -> tuple[int, int]:
    """Parameters of the network with so many heads, and the hidden units that HAT gives an embedding."""
    sizes = head_sizes("per-task", Classes((classes_per_task,) * heads))
    model = build_network(network, image_shape, sizes, generator(0, "network"))
    return sum(parameter.numel() for parameter in model.parameters()), sum(model.hidden_widths())
