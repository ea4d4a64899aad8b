"""Learners of one network beside SKILL's variants on the same tasks, the task told and not (Figs. 4b, 5, 8, Table 1)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong.params import Experiment, Report, Settings
from lifelong.params.networks import PretrainedNetwork
from lifelong.params.reports import CollectiveOptions
from lifelong.params.skill import Collective
from lifelong.reports.cells import Cell, read_csv
from lifelong.reports.claims import describe, find_findings
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.reports.verdicts import PRINTED
from lifelong.runtime import paths
from lifelong.runtime.artifacts import write_json, write_text
from lifelong.runtime.errors import UserError

NOTES = """\
Accuracies are means over tasks without weights, in percent of the test images, mean ± sample deviation over the seeds.
*Told*: the classes of the image's own task are the only answers; the paper grants this oracle to its baselines and not to
SKILL. *Not told*: any class of any task so far may be the answer, and for SKILL the mapper names the task. *Normalised*:
accuracy after the last task over that just after the task was learnt, mean over tasks. All see the same training images,
with the same part of them held out.
{networks}
In the paper the baselines train the whole backbone, PSP a ResNet-18 and SupSup a ResNet-50. Options in a grid are chosen by
validation accuracy, the task told.
"""

PERCEPTRON = "The baselines are one perceptron ({widths} hidden units) on the frozen features"
TRAINED = "The baselines train the whole backbone, its normalisation fixed and folded into the convolutions"

TABLE_1 = {
    "ewc": "EWC",
    "ewc-online": "EWC-online",
    "si": "SI",
    "mas": "MAS",
    "lwf": "LwF",
    "er": "ER",
    "psp": "PSP",
    "supsup": "SupSup",
}
"""Methods of Table 1, all with a head a task (PSP and SupSup: what they have instead)."""


@dataclass(frozen=True)
class Line:
    """One learner: R [seeds, T, T] with the task told and, where it can answer, not told; nan where there is none."""

    label: str
    heads: str
    task_incremental: np.ndarray
    class_incremental: np.ndarray | None
    printed: float | None
    ours: bool  # a variant of SKILL


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md, .csv, .json and .png."""
    assert isinstance(report.options, CollectiveOptions)
    collective = settings.skill.collective(report.options.collective)
    name = report.options.collective
    tasks = [entry.name for entry in settings.skill.tasks(collective.sequence)]
    learners = {label: settings.experiment(one) for label, one in report.single().items()}
    for label, learner in learners.items():
        if learner.sequence_name != collective.sequence:
            raise UserError(
                f"reports.{report.name}.experiments.{label}: {learner.name!r} learns {learner.sequence_name!r}; expected "
                f"{collective.sequence!r}, which the collective {name!r} learns"
            )
    lines = [*_variants(results, name, collective), *_learners(results, learners, len(tasks))]
    findings = [one for one in find_findings(results) if one.report == report.name]
    write_text(paths.report(report.name, "csv"), _csv(lines, tasks))
    write_json(
        paths.report(report.name, "json"), {"learners": _by_seed(lines), "claims": [describe(one) for one in findings]}
    )
    draw(report, results)
    notes = NOTES.format(networks=_networks(learners))
    parts = [
        f"# {report.title}\n",
        f"After all {len(tasks)} tasks:\n",
        _accuracies(lines),
        f"![curves]({paths.report(report.name, 'png').name})\n",
        *_choices(results, learners),
        f"## How these were made\n\n{notes}\nSeeds: {collective.seeds}. {results.made_by(report)}",
    ]
    write_page(report, results, "\n".join(parts))


def _printed() -> dict[str, float]:
    with open(PRINTED / "skill-table-1.csv", newline="") as handle:
        return {row["row"]: float(row["accuracy"]) for row in csv.DictReader(handle)}


def _variants(results: Results, name: str, collective: Collective) -> list[Line]:
    """SKILL's heads do not change, so what they answer when the task is told is the same after every task."""
    printed, lines = _printed(), []
    for label, parts in collective.variants.items():
        head, mapper = collective.heads[parts.head], collective.mappers[parts.mapper]
        row = ("BB, " if head.kind != "linear" else "") + {"gmmc": "GMMC", "mahalanobis": "MAHA"}[mapper.kind]
        plain = mapper.kind == "gmmc" or mapper.shrinkage == "none"
        told, free = (
            np.stack(list(results.matrices(f"{name}/{label}", protocol).values()))
            for protocol in ("task_incremental", "class_incremental")
        )
        lines.append(Line(f"SKILL {label}", "per-task", told, free, printed[row] if plain else None, True))
    return lines


def _learners(results: Results, learners: Mapping[str, Experiment], count: int) -> list[Line]:
    printed, lines = _printed(), []
    for label, learner in learners.items():
        told, free = (
            np.array(
                [np.where(np.tri(count, dtype=bool), r, np.nan) for r in results.matrices(learner.name, protocol).values()]
            )
            for protocol in ("task_incremental", "class_incremental")
        )
        row = TABLE_1.get(learner.method_name) if learner.heads != "all-classes" else None
        known = free if len(free) else None
        lines.append(Line(label, learner.heads, told, known, printed[row] if row else None, False))
    return lines


def _networks(learners: Mapping[str, Experiment]) -> str:
    """What the learners train, and how long."""
    result: dict[str, None] = {}
    for learner in learners.values():
        network, budget = learner.network, learner.training
        if isinstance(network, PretrainedNetwork) and network.frozen:
            what = PERCEPTRON.format(widths=", ".join(map(str, network.hidden)) or "no")
        else:
            what = TRAINED
        result[f"{what}, {budget.epochs} epochs a task of {budget.optimiser} at {budget.learning_rate:g}."] = None
    return "\n".join(result)


def measures(r: np.ndarray) -> dict[str, np.ndarray]:
    """In percent, for each seed [n] of R [n, T, T]: accuracy and normalised accuracy in the end, and the first task."""
    learnt = np.diagonal(r, axis1=1, axis2=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(learnt > 0, r[:, -1] / learnt, np.nan)
    unknown = np.isnan(learnt).any(1)  # a joint learner has no accuracy just after a task
    normalised = np.array([np.nan if none else np.nanmean(row) for none, row in zip(unknown, ratio, strict=True)])
    return {"accuracy": 100 * r[:, -1].mean(1), "normalised": 100 * normalised, "first": 100 * r[:, -1, 0]}


def _accuracies(lines: Sequence[Line]) -> str:
    body = []
    for line in lines:
        told = measures(line.task_incremental)
        free = measures(line.class_incremental) if line.class_incremental is not None else {}
        cells = [format_spread(told[key]) for key in ("accuracy", "normalised", "first")]
        cells += [format_spread(free[key]) if free else "" for key in ("accuracy", "normalised", "first")]
        printed = f"{line.printed:.2f}, {'not told' if line.ours else 'told'}" if line.printed is not None else ""
        body.append([line.label, line.heads, *cells, printed])
    columns = [f"{key}, {how}" for how in ("told", "not told") for key in ("Accuracy", "normalised", "first task")]
    return table(["Learner", "Heads", *columns, "Printed, 102 tasks"], body)


def format_spread(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return ""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def _choices(results: Results, learners: Mapping[str, Experiment]) -> list[str]:
    """What every grid was and what was chosen from it."""
    body = []
    for label, learner in learners.items():
        if learner.grid is None:
            continue
        choice = results.of(learner.name).choice
        assert choice is not None
        tasks = learner.grid.tasks or learner.count
        for candidate in choice["candidates"]:
            options = ", ".join(f"{key} {candidate['options'][key]}" for key in choice["varied"])
            value = "diverged" if candidate["acc"] is None else f"{100 * candidate['acc']:.2f}"
            body.append([label, options, value, str(tasks), "chosen" if candidate["options"] == choice["options"] else ""])
    if not body:
        return []
    return ["## Options chosen\n", table(["Learner", "Options", "Validation", "First tasks", ""], body)]


def _by_seed(lines: Sequence[Line]) -> dict[str, dict[str, list[float]]]:
    """Accuracies after all tasks of every learner, the task told and not."""
    return {
        line.label: {
            how: measures(r)["accuracy"].tolist()
            for how, r in (("task_incremental", line.task_incremental), ("class_incremental", line.class_incremental))
            if r is not None
        }
        for line in lines
    }


def _curves(r: np.ndarray) -> dict[str, np.ndarray]:
    """Means over seeds after 1..T tasks, nan where there is no row: the first task, and the mean over tasks so far."""
    mean = r.mean(0)
    seen = np.tri(len(mean), dtype=bool)
    return {"first": mean[:, 0], "mean": np.where(seen, mean, 0).sum(1) / np.arange(1, len(mean) + 1)}


def _csv(lines: Sequence[Line], tasks: list[str]) -> str:
    """The figure's numbers, after each task."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learner", "told", "tasks_learnt", "task", "first", "mean"])
    for line in lines:
        for how, r in (("yes", line.task_incremental), ("no", line.class_incremental)):
            if r is None:
                continue
            kept = _curves(r)
            for i, task in enumerate(tasks):
                values = ["" if np.isnan(kept[key][i]) else f"{kept[key][i]:.6f}" for key in ("first", "mean")]
                writer.writerow([line.label, how, i + 1, task, *values])
    return text.getvalue()


def draw(report: Report, results: Results) -> None:
    """As printed, SKILL not told and the baselines told: first task (Fig. 4b), mean (8); all not told; from the CSV."""
    lines = read_csv(paths.report(report.name, "csv"))
    looks = style.looks(list(dict.fromkeys(line["learner"] for line in lines)))
    first = lines[0]["task"]
    shown = {
        f"First task ({first}), baselines told": ("first", "yes"),
        "Mean over tasks, baselines told": ("mean", "yes"),
        "Mean over tasks, none told": ("mean", "no"),
    }
    setting = describe_setting(report, results, "mean over seeds; SKILL is never told the task")
    with style.panels(paths.report(report.name, "png"), 3, report.title, setting, height=3.4) as several:
        for axes, (title, (key, baselines_told)) in zip(several, shown.items(), strict=True):
            for label, look in looks.items():
                told = "no" if label.startswith("SKILL") else baselines_told
                own = [one for one in lines if (one["learner"], one["told"]) == (label, told) and one[key]]
                cells = [Cell(label, key, 100 * float(one[key]), None, 1, float(one["tasks_learnt"])) for one in own]
                style.line(axes, cells, look, label)
            axes.set(title=title, ylabel=QUANTITIES["final"].axis, ylim=(0, 103))
            style.count_tasks(axes)
