"""The dreams of every task side by side (paper Fig. 3), and what the bank of them takes."""

from __future__ import annotations

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params import Report, Settings
from lifelong.pipeline.graph import final_state, stages_of
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors, write_tensors
from lifelong.runtime.errors import UserError

COLUMNS = 20
"""Dreams of a task that are shown."""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Number and bytes of the dreams of each task (x) of the first seed; the evidence is a sheet of the first of them."""
    sheets, result = {}, []
    for label, name in report.single().items():
        experiment = settings.experiment(name)
        seed, last = experiment.seeds[0], experiment.tasks[-1]
        if "dream" not in stages_of(experiment, last):
            raise UserError(f"params.yaml: reports.{report.name.replace('/', '.')}: {name} makes no dreams")
        arrays, _ = read_tensors(final_state(experiment, seed, last), "state")
        images = {key: array for key, array in sorted(arrays.items()) if key.startswith("dreams/images/")}
        for key, array in images.items():
            task = int(key.rpartition("/")[2])
            place = (report.name, label, name, seed, task + 1, None)
            taken = array.nbytes + arrays[f"dreams/logits/{task:03d}"].nbytes
            result += [Quantity(*place, "dreams", len(array)), Quantity(*place, "bytes", taken)]
        sheets[label] = np.concatenate([_row(array) for array in images.values()])
    write_tensors(paths.measured(report.name, "safetensors"), "evidence", sheets, {"report": report.name})
    return result


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write a sheet with a row of dreams for each task of the first seed of each experiment, and the banks' sizes."""
    if not results.keeps_picture(report):
        sheets, _ = results.evidence(report)
        _draw(report, results, {label: sheets[label] for label in report.experiments})
    at: dict[tuple[str, int], dict[str, float]] = {}
    for one in results.quantities(report):
        at.setdefault((one.row, int(one.x or 0)), {})[one.metric] = one.value or 0
    lines = [{"label": label, "task": task} | {k: int(v) for k, v in kept.items()} for (label, task), kept in at.items()]
    write_csv(paths.report(report.name, "csv"), ["label", "task", "dreams", "bytes"], lines, ".4f")
    body = [[label, f"{task}", f"{kept['dreams']:.0f}", f"{kept['bytes'] / 1024:.1f}"] for (label, task), kept in at.items()]
    text = (
        f"# {report.title}\n\n![dreams]({report.name.rpartition('/')[2]}.png)\n\nA row a task, of the first seed, by the "
        f"model that had just learnt it; classes in turn.\n\n"
        f"{table(['Experiment', 'Task', 'Dreams', 'KiB with logits'], body)}\n{results.made_by(report)}"
    )
    write_page(report, results, text)


def _draw(report: Report, results: Results, sheets: dict[str, np.ndarray]) -> None:
    tall = max(9 * sheet.shape[0] / sheet.shape[1] + 0.3 for sheet in sheets.values())
    setting = describe_setting(report, results, "first seed; a row a task")
    with style.panels(
        paths.report(report.name, "png"), len(sheets), report.title, setting, columns=1, width=9, height=tall, values=""
    ) as several:
        for axes, (label, sheet) in zip(several, sheets.items(), strict=True):
            style.picture(axes, sheet, cmap="grey", vmin=0, vmax=255)
            axes.set_title(label)


def _row(images: np.ndarray) -> np.ndarray:
    """uint8 [n, C, H, W] -> the first of them side by side, [H, COLUMNS * W] or with colours [..., 3]."""
    count, channels, height, width = images.shape
    shown = min(count, COLUMNS)
    blank = np.full((COLUMNS, channels, height, width), 255, np.uint8)
    blank[:shown] = images[:shown]
    row = blank.transpose(2, 0, 3, 1).reshape(height, COLUMNS * width, channels)
    return row if channels == 3 else row[..., 0]
