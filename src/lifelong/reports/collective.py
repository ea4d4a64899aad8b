"""A collective of SKILL agents as a report: accuracies without a task oracle, packets, banks, and speed-up over agents."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.methods.skill.measures import measures
from lifelong.params import Report, Settings
from lifelong.params.reports import CollectiveOptions
from lifelong.params.skill import Collective
from lifelong.pipeline.graph import biased_heads
from lifelong.reports import head2toe
from lifelong.reports.cells import Cell, read_csv
from lifelong.reports.claims import describe, find_findings
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_json, write_text

NOTES = """\
No task oracle: the mapper names the task, that task's head the class; an image of a wrong task is an error whatever its
head says. Accuracies are means over tasks without weights, in percent of the test images, mean ± sample deviation over the
seeds. *Oracle*: the task is told. *Normalised*: accuracy after the last task over that just after the task was learnt, mean
over tasks. The head's epoch is chosen on the validation split. Sizes are those of the tensors of a packet.
"""

METRICS = {
    "final": "Accuracy",
    "oracle": "Oracle",
    "mapper": "Task mapper",
    "normalised": "Normalised",
    "first": "First task",
}


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Sizes of packets, agreement of banks, seconds of the longest of x agents, and what Head2Toe adds."""
    assert isinstance(report.options, CollectiveOptions)
    name = report.options.collective
    collective = settings.skill.collective(name)
    tasks = len(settings.skill.tasks(collective.sequence))
    counted = [*_sizes(name, collective), *_longest(name, collective, tasks)]
    result = [Quantity(report.name, row, name, None, x, None, metric, value, n=0) for row, metric, x, value in counted]
    return result + head2toe.measure(report.name, name, collective, tasks)


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md, .csv, .json and .png."""
    assert isinstance(report.options, CollectiveOptions)
    name = report.options.collective
    collective = settings.skill.collective(name)
    tasks = [entry.name for entry in settings.skill.tasks(collective.sequence)]
    result = {variant: measure_variant(results, f"{name}/{variant}") for variant in collective.variants}
    measured = results.quantities(report)
    findings = [one for one in find_findings(results) if one.report == report.name]
    rows = [
        {"variant": variant, "metric": metric, **_spread([one[metric] for one in measured])}
        for variant, measured in result.items()
        for metric in METRICS
    ]
    curves = {v: {k: np.mean([one[k] for one in measured], 0) for k in _CURVES} for v, measured in result.items()}
    write_text(paths.report(report.name, "csv"), _csv(tasks, curves))
    by_seed = {v: {metric: [float(one[metric]) for one in measured] for metric in METRICS} for v, measured in result.items()}
    write_json(paths.report(report.name, "json"), {"variants": by_seed, "claims": [describe(one) for one in findings]})
    draw(report, results)
    parts = [
        f"# {report.title}\n",
        "## Accuracy without a task oracle\n",
        _accuracies(collective, rows),
        f"![curves]({paths.report(report.name, 'png').name})\n",
        *_trend(curves),
        "## What is shared\n",
        *_shared(measured, collective),
        "## Each task\n",
        _each_task(tasks, curves),
        *head2toe.section(measured, collective, tasks),
        "## Agents in parallel\n",
        _speed_up(measured),
        f"## How these were made\n\n{NOTES}\nSeeds: {collective.seeds}. {results.made_by(report)}",
    ]
    write_page(report, results, "\n".join(parts))


def draw(report: Report, results: Results) -> None:
    """First task (Fig. 4), mapper (6), mean (8) after each task, and each task in the end (7), from the report's CSV."""
    lines = read_csv(paths.report(report.name, "csv"))
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    looks = style.looks(list(dict.fromkeys(line["variant"] for line in lines)))
    setting = describe_setting(report, results, "mean over seeds", "the task is not told but where it is said")
    curves = {"first": f"First task ({tasks[0]})", "mapper": "Tasks guessed right", "final": "Mean over tasks"}
    at_end = {"mapper_task": "Tasks guessed right, by task", "oracle_task": "Accuracy by task, task told"}
    with style.panels(
        paths.report(report.name, "png"), 5, report.title, setting, columns=3, height=3.4, values=""
    ) as several:
        for axes, (key, title) in zip(several, (curves | at_end).items(), strict=True):
            series = []
            for variant, look in looks.items():
                own = [line for line in lines if line["variant"] == variant]
                cells = [Cell(variant, key, 100 * float(one[key]), None, 1, float(one["tasks_learnt"])) for one in own]
                series.append((variant, cells, look))
            if key in at_end:
                style.dots(axes, tasks, series)
                axes.tick_params(axis="y", labelsize=7)
                axes.set(title=title, xlabel=QUANTITIES["final"].axis, xlim=(0, 103))
                continue
            for variant, cells, look in series:
                style.line(axes, cells, look, variant)
            axes.set(title=title, ylabel=QUANTITIES["final"].axis, ylim=(0, 103))
            style.count_tasks(axes)


def measure_variant(results: Results, name: str) -> list[dict[str, Any]]:
    """What the scores of one variant (`<collective>/<variant>`) come to, by seed."""
    final, mapper, oracle = (
        results.matrices(name, protocol) for protocol in ("class_incremental", "task_prediction_1", "task_incremental")
    )
    return [
        measures({"final": final[seed], "mapper": mapper[seed], "oracle": oracle[seed][-1].tolist()})
        for seed in sorted(final)
    ]


_CURVES = ("first_curve", "mapper_curve", "final_curve", "normalised_matrix", "mapper_tasks", "oracle_tasks", "final_tasks")


def _spread(values: list[float]) -> dict[str, Any]:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "deviation": deviation}


def _accuracies(collective: Collective, rows: list[dict[str, Any]]) -> str:
    cells = {(row["variant"], row["metric"]): row for row in rows}
    body = [[v, *(_shown(cells[v, metric]) for metric in METRICS)] for v in collective.variants]
    return table(["Variant", *METRICS.values()], body)


def _shown(row: dict[str, Any]) -> str:
    return f"{row['mean']:.2f}" + ("" if np.isnan(row["deviation"]) else f" ± {row['deviation']:.2f}")


def _trend(curves: dict[str, Any]) -> list[str]:
    """The line through the mapper's accuracy that the paper draws in Fig. 6, and where it meets zero (reading S14)."""
    body = []
    for variant, kept in curves.items():
        y = kept["mapper_curve"]
        slope, offset = np.polyfit(np.arange(1, len(y) + 1), y, 1)
        zero = f"{-offset / slope:.0f}" if slope < 0 else "never"
        body.append([variant, f"{slope:.5f} T + {offset:.4f}", zero])
    return ["Line through the mapper's accuracy (Fig. 6):\n", table(["Variant", "Accuracy", "Zero at T"], body)]


Counted = tuple[str, str, float | None, float]
"""Row, metric, x and value."""


def _sizes(name: str, collective: Collective) -> list[Counted]:
    """Packets and their mean size, of seed 0; how many banks agree with the first of their seed, and what was refused."""
    first = read_result(paths.bank(name, 0, collective.agents[0], 0))
    counted: list[Counted] = []
    for variant, held in first["variants"].items():
        counted += [(variant, "packets", None, len(held["bytes"]))]
        counted += [(variant, "bytes", None, float(np.mean(list(held["bytes"].values()))))]
    agree, refused, banks = 0, 0, 0
    for seed in range(collective.seeds):
        one = read_result(paths.bank(name, seed, collective.agents[0], 0))["variants"]
        for agents in collective.agents:
            for agent in range(agents):
                held = read_result(paths.bank(name, seed, agents, agent))["variants"]
                agree += sum(held[v]["sha256"] == one[v]["sha256"] for v in one)
                refused += sum(len(h["refused"]) for h in held.values())
                banks += len(held)
    total = {"banks": banks, "agree": agree, "refused": refused}
    return [*counted, *(("banks", metric, None, float(number)) for metric, number in total.items())]


def _shared(measured: list[Quantity], collective: Collective) -> list[str]:
    """Sizes of packets, and whether every agent's bank is the same."""
    at = {(one.row, one.metric): one.value or 0.0 for one in measured}
    sizes = [[v, f"{at[v, 'packets']:.0f}", f"{at[v, 'bytes'] / 1e3:.1f}"] for v in collective.variants]
    numbers = ", ".join(map(str, collective.agents))
    banks, agree = at["banks", "banks"], at["banks", "agree"]
    told = "all the same for a seed and variant" if agree == banks else "NOT all the same"
    return [
        table(["Variant", "Packets", "KB a packet, mean"], sizes),
        "Printed, for 2048 features and 49.34 classes a task: GMMC 813 KB, with biases 883; MAHA 1740, with biases 1810.\n",
        f"Banks of N = {numbers} agents: {banks:.0f} compared, {told}; {at['banks', 'refused']:.0f} packets refused.\n",
    ]


def _each_task(tasks: list[str], curves: dict[str, Any]) -> str:
    header = ["Task", *(f"{variant}: mapper / oracle / final" for variant in curves)]
    kinds = ("mapper_tasks", "oracle_tasks", "final_tasks")
    body = [
        [task, *(" / ".join(f"{100 * kept[kind][i]:.1f}" for kind in kinds) for kept in curves.values())]
        for i, task in enumerate(tasks)
    ]
    return table(header, body)


def _longest(name: str, collective: Collective, tasks: int) -> list[Counted]:
    """Seconds of the longest of N agents (x), from the seconds each task took with seed 0; mailing is left out."""
    seconds = np.zeros(tasks)
    for task in range(tasks):
        seconds[task] = sum(read_result(paths.taught_times(name, 0, task))["seconds"].values())
        for head in biased_heads(collective):
            seconds[task] += read_result(paths.biased_times(name, 0, task, head))["seconds"]
    numbers = sorted({*collective.agents, *(n for n in (1, 2, 5, 10, tasks) if n <= tasks)})
    return [("agents", "seconds", n, float(max(seconds[agent::n].sum() for agent in range(n)))) for n in numbers]


def _speed_up(measured: list[Quantity]) -> str:
    """Time of one agent over the longest of N agents."""
    longest = {int(one.x or 0): one.value or 0.0 for one in measured if one.metric == "seconds"}
    speeds = {agents: longest[1] / seconds for agents, seconds in longest.items()}
    body = [[f"{n}", f"{longest[n]:.1f}", f"{speed:.2f}", f"{speed / n:.3f}"] for n, speed in speeds.items()]
    text = "Simulated from the seconds that each task's heads and anchors took here, task t at agent t mod N:\n\n"
    return text + table(["N", "Longest agent, s", "Speed-up", "of N"], body)


def _csv(tasks: list[str], curves: dict[str, Any]) -> str:
    """The figure's numbers: after each task, and for each task in the end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["variant", "tasks_learnt", "task", "first", "mapper", "final", "mapper_task", "oracle_task", "final_task"]
    )
    for variant, kept in curves.items():
        columns = ("first_curve", "mapper_curve", "final_curve", "mapper_tasks", "oracle_tasks", "final_tasks")
        for i, task in enumerate(tasks):
            writer.writerow([variant, i + 1, task, *(f"{kept[column][i]:.6f}" for column in columns)])
    return text.getvalue()
