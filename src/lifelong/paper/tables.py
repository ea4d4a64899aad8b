"""Experiments side by side: one table as Markdown, CSV and JSON, with protocol, seeds, deviation, machine and verdict."""

from __future__ import annotations

import csv
import io
import os
import platform
from pathlib import Path
from typing import Any

from lifelong import layout
from lifelong.artifacts import read_json, write_json, write_text
from lifelong.config import Report, Settings
from lifelong.config.reports import ComparisonOptions
from lifelong.paper.verdicts import Printed, Value, printed_table, verdict

REFERENCE = "Fine-tuning"
"""The row whose side of a value a trend is judged by."""

METRICS = {
    "acc": "ACC",
    "bwt": "BWT",
    "fwt_joint": "FWT (against joint)",
    "fwt_gem": "FWT (GEM)",
}

NOTES = """\
Values are percent on the test split: mean ± sample deviation over the seeds. Task-incremental: the task is told at test.
Class-incremental: it is not, the answer is the best of all classes seen; a head that tasks share cannot give it. R[i, j] is
the accuracy on task j after task i: ACC = mean of R[T, j]; BWT = mean of R[T, j] - R[j, j]; FWT (against joint) = mean of
R[j, j] - m[j] for j > 1, with m the accuracies of joint training with the same seed; FWT (GEM) = mean of R[j-1, j] - b[j],
with b those of the untrained network. Dropout is off at test. The last epoch's weights are taken; nothing is chosen on the
test split.
"""

VERDICTS = """\
Verdict: *reproduced* when ours is within one point of the printed mean or within twice the joint deviation; *trend only*
when it is not, but lies on the same side of fine-tuning's as the printed one does, by more than the larger deviation;
*contradicted* otherwise. A printed value marked † is doubtful in itself, as said below the table.
"""


def write(settings: Settings, report: Report) -> None:
    """Write reports/<name>.md, .csv and .json from the summaries of the report's experiments."""
    name = report.name
    summaries = {row: read_json(layout.summary(e)) for row, e in report.experiments.items()}
    cells = _cells(report, summaries)
    write_text(layout.report(name, "csv"), _csv(cells))
    write_json(layout.report(name, "json"), _metrics(summaries))
    markdown = _markdown(report, summaries, cells)
    write_text(layout.report(name, "md"), markdown)


def _cells(report: Report, summaries: dict[str, Any]) -> list[dict[str, Any]]:
    """One record a row, protocol and metric; values in percent; printed ones only under the papers' own protocol."""
    assert isinstance(report.options, ComparisonOptions)
    printed = printed_table(report.options.printed) if report.options.printed else {}
    cells = []
    for row, summary in summaries.items():
        for protocol in ("task_incremental", "class_incremental"):
            for metric in METRICS:
                found = _percent(summary, protocol, metric)
                if found["mean"] is None:
                    continue
                cell = {
                    "row": row,
                    "experiment": summary["experiment"],
                    "heads": summary["heads"],
                    "protocol": protocol,
                    "metric": metric,
                    **found,
                }
                target = printed.get((row, metric)) if protocol == "task_incremental" else None
                cells.append(cell | (_judged(found, target, summaries, printed, metric) if target else {}))
    return cells


def _percent(summary: dict[str, Any], protocol: str, metric: str) -> dict[str, Any]:
    found = summary["test"][protocol][metric]
    return {
        "mean": None if found["mean"] is None else 100 * found["mean"],
        "deviation": None if found["deviation"] is None else 100 * found["deviation"],
        "n": found["n"],
    }


def _judged(
    found: dict[str, Any],
    target: Printed,
    summaries: dict[str, Any],
    printed: dict[tuple[str, str], Printed],
    metric: str,
) -> dict[str, Any]:
    reference = _percent(summaries[REFERENCE], "task_incremental", metric) if REFERENCE in summaries else None
    return {
        "printed_mean": target.mean,
        "printed_deviation": target.deviation,
        "difference": found["mean"] - target.mean,
        "verdict": verdict(
            _value(found),
            target,
            _value(reference) if reference and reference["mean"] is not None else None,
            printed.get((REFERENCE, metric)),
        ),
        "doubt": target.doubt,
    }


def _value(found: dict[str, Any]) -> Value:
    return Value(found["mean"], found["deviation"] or 0.0)


COLUMNS = [
    *("row", "experiment", "heads", "protocol", "metric", "mean", "deviation", "n"),
    *("printed_mean", "printed_deviation", "difference", "verdict", "doubt"),
]


def _csv(cells: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in cell.items()})
    return text.getvalue()


def _metrics(summaries: dict[str, Any]) -> dict[str, Any]:
    """Means by row, protocol and metric, in percent: what `dvc metrics` shows."""
    return {
        row: {
            protocol: {m: round(v, 4) for m in METRICS if (v := _percent(summary, protocol, m)["mean"]) is not None}
            for protocol in ("task_incremental", "class_incremental")
        }
        for row, summary in summaries.items()
    }


def _markdown(report: Report, summaries: dict[str, Any], cells: list[dict[str, Any]]) -> str:
    by_key = {(c["row"], c["protocol"], c["metric"]): c for c in cells}
    parts = [f"# {report.title}\n"]
    for protocol in ("task_incremental", "class_incremental"):
        shown = [m for m in METRICS if any((row, protocol, m) in by_key for row in summaries)]
        header = ["Method", "Heads", *(METRICS[m] for m in shown)]
        body = [
            [row, summary["heads"], *(_shown(by_key.get((row, protocol, m))) for m in shown)]
            for row, summary in summaries.items()
        ]
        parts.append(f"## {protocol.replace('_', '-').capitalize()}\n\n{table(header, body)}")
    judged = [c for c in cells if "verdict" in c]
    if judged:
        header = ["Method", "Metric", "Ours", "Printed", "Difference", "Verdict"]
        body = [
            [
                c["row"],
                METRICS[c["metric"]],
                _shown(c),
                f"{c['printed_mean']:.2f} ± {c['printed_deviation']:.2f}{' †' if c['doubt'] else ''}",
                f"{c['difference']:+.2f}",
                c["verdict"],
            ]
            for c in judged
        ]
        doubts = "".join(f"- † {c['row']}, {METRICS[c['metric']]}: {c['doubt']}.\n" for c in judged if c["doubt"])
        parts.append(f"## Beside the printed table (task-incremental)\n\n{table(header, body)}\n{VERDICTS}\n{doubts}")
    seeds = sorted({f"{len(s['seeds'])}" for s in summaries.values()})
    parts.append(f"## How these were made\n\n{NOTES}\nSeeds a row: {', '.join(seeds)}. Machine: {machine()}.\n")
    parts.append(table(["Row", "Experiment in params.yaml"], [[r, s["experiment"]] for r, s in summaries.items()]))
    return "\n".join(parts)


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    deviation = f" ± {cell['deviation']:.2f}" if cell["deviation"] is not None else f" (n = {cell['n']})"
    return f"{cell['mean']:.2f}{deviation}"


def table(header: list[str], body: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "".join("| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |\n" for line in lines)


def machine() -> str:
    """CPU model and number of cores."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"
