"""Mean accuracy on the tasks seen so far, after each task (ANPyC Figs. 7b and 10a)."""

from __future__ import annotations

from lifelong.params import Report, Settings
from lifelong.reports.cells import Cell, of
from lifelong.reports.figures import style
from lifelong.reports.figures.publish import publish
from lifelong.reports.figures.setting import DEVIATION, TOLD, describe_setting
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results
from lifelong.runtime import paths

NOTES = """\
After each task t: the mean over the tasks j <= t of R[t, j], the accuracy on task j after task t, in percent on the test
split, task-incremental (the task is told at test). Mean ± sample deviation over the seeds, the band in the figure. The last
epoch's weights are taken; nothing is chosen on the test split."""


def write(settings: Settings, report: Report, results: Results) -> None:
    cells: list[Cell] = []
    for label, name in report.single().items():
        cells += results.curve(label, name)
    tasks = sorted({cell.x for cell in cells if cell.x is not None})
    setting = describe_setting(report, results, TOLD, DEVIATION)
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=5.5) as (axes,):
        for label, look in style.looks(list(report.experiments)).items():
            style.line(axes, of(cells, label, "accuracy"), look, label)
        axes.set_ylabel(QUANTITIES["accuracy"].axis)
        style.count_tasks(axes)
    at = {(cell.row, cell.x): format_value("accuracy", cell.mean, cell.deviation, cell.n) for cell in cells}
    few = tasks if len(tasks) <= 6 else [tasks[0], tasks[len(tasks) // 2 - 1], tasks[-1]]
    header = ["Label", *(f"After task {t:g}" for t in few)]
    body = [[label, *(at.get((label, t), "-") for t in few)] for label in report.experiments]
    publish(report, results, cells, table(header, body), NOTES)
