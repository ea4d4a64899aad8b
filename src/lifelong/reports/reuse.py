"""SKILL's Sec. 7 on our tasks: correction by names (Fig. 10), heads put together (Fig. 11), similar classes (Tab. 3)."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from lifelong.evaluation.results import Quantity
from lifelong.params import Report, Settings
from lifelong.params.reports import CollectiveOptions
from lifelong.params.skill_reuse import Reuse
from lifelong.reports.cells import Cell, read_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, write_json, write_tensors, write_text

NOTES = """\
Accuracies are percent of the test images; no epoch is chosen: curves and last values are shown. Names are compared by a
small sentence encoder instead of CLIP's text tower (reading S16), so the thresholds .90 and .95 do not mean quite the same.
Heads are rows divided by their largest entry, without bias (reading S15), {epochs} epochs of Adam at {rate:g}.
"""


def measure(settings: Settings, report: Report) -> list[Quantity]:
    """Accuracy under every rule by names, by seed; the evidence is all that the collective tried, names and curves too."""
    assert isinstance(report.options, CollectiveOptions)
    name = report.options.collective
    tried = [read_result(paths.reused(name, seed)) for seed in range(settings.skill.collective(name).seeds)]
    write_tensors(paths.measured(report.name, "safetensors"), "evidence", {}, {"tried": tried})
    return [
        Quantity(report.name, rule, name, seed, None, None, "accuracy", 100 * float(np.mean(values)))
        for seed, one in enumerate(tried)
        for rule, values in one["names"]["accuracy"].items()
    ]


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<name>.md, .csv, .json and .png."""
    assert isinstance(report.options, CollectiveOptions)
    collective = settings.skill.collective(report.options.collective)
    requested = collective.reuse
    assert requested is not None
    result = results.evidence(report)[1]["tried"]
    curves = {kind: np.mean([[pair[kind] for pair in one["pairs"]] for one in result], 0) for kind in ("reused", "random")}
    transfers = _transfers(result, requested)
    parts = [
        f"# {report.title}\n",
        "## Correction by class names (Sec. 7.1, Fig. 10)\n",
        *_names(result, requested),
        "## Two tasks' heads as one (Sec. 7.2, Fig. 11)\n",
        *_pairs(curves),
        f"![curves]({paths.report(report.name, 'png').name})\n",
        "## A new task from similar classes (Tab. 3)\n",
        *_shots(transfers, result),
        *_harvests(result),
        f"## How these were made\n\n{NOTES.format(epochs=requested.epochs, rate=requested.learning_rate)}\n"
        f"Seeds: {collective.seeds}. {results.made_by(report)}",
    ]
    write_page(report, results, "\n".join(parts))
    write_text(paths.report(report.name, "csv"), _csv(curves))
    pairs = {kind: [_last(one["pairs"], kind) for one in result] for kind in curves}
    rules = result[0]["names"]["accuracy"]
    names = {rule: [100 * float(np.mean(one["names"]["accuracy"][rule])) for one in result] for rule in rules}
    write_json(paths.report(report.name, "json"), {"pairs": pairs, "names": names})
    draw(report, results)


def _last(pairs: list[dict[str, Any]], kind: str) -> float:
    """Mean accuracy of all pairs after the last epoch, in percent."""
    return 100 * float(np.mean([pair[kind][-1] for pair in pairs]))


def _means(found: list[dict[str, Any]]) -> dict[str, float]:
    rules = sorted(found[0]["names"]["accuracy"], key=lambda rule: (rule != "none", rule != "same name", rule))
    return {rule: round(100 * float(np.mean([one["names"]["accuracy"][rule] for one in found])), 3) for rule in rules}


def _names(found: list[dict[str, Any]], wanted: Reuse) -> list[str]:
    means = _means(found)
    body = [[rule, f"{mean:.2f}", f"{mean - means['none']:+.2f}"] for rule, mean in means.items()]
    tasks = found[0]["names"]["tasks"]
    by_task = {rule: 100 * np.mean([one["names"]["accuracy"][rule] for one in found], 0) for rule in means}
    changed = [
        [task, *(f"{by_task[rule][i]:.2f}" for rule in means)]
        for i, task in enumerate(tasks)
        if any(by_task[rule][i] != by_task["none"][i] for rule in means)
    ]
    near = sorted(found[0]["names"]["near"], key=lambda row: -row[-1])
    pairs = ", ".join(f"{a} of {one} = {b} of {two} ({cosine:.2f})" for one, a, two, b, cosine in near[:40])
    return [
        f"{wanted.variant}, mean over tasks; an image of a wrong task counts as right if the answer's name means its own.\n",
        table(["Rule", "Accuracy", "Gain"], body),
        "Tasks that change:\n",
        table(["Task", *means], changed),
        f"Names of different tasks above cosine .90 ({len(near)} pairs): {pairs}.\n",
    ]


def _pairs(curves: dict[str, np.ndarray]) -> list[str]:
    """Means over pairs, and how many epochs random heads need to get where the reused ones are after one."""
    epochs = curves["reused"].shape[1]
    shown = [epoch for epoch in (0, 1, 2, 3, 5, 10, 20, 30) if epoch < epochs]
    body = [[kind, *(f"{100 * curve[:, epoch].mean():.2f}" for epoch in shown)] for kind, curve in curves.items()]
    better = float((curves["reused"][:, 1] > curves["random"][:, 1]).mean())
    mean = curves["random"].mean(0)
    reached = np.flatnonzero(mean >= curves["reused"].mean(0)[1])
    when = f"after {reached[0]} epochs" if len(reached) else f"not within {epochs - 1} epochs"
    return [
        f"Mean over {len(curves['reused'])} pairs of tasks, accuracy after so many epochs:\n",
        table(["Start", *map(str, shown)], body),
        f"After one epoch the reused heads are ahead in {100 * better:.0f} % of the pairs; random heads reach the "
        f"reused ones' accuracy after one epoch {when}. Printed, 190 pairs: 1 to 2 epochs against up to 30.\n",
    ]


def _transfers(found: list[dict[str, Any]], wanted: Reuse) -> list[dict[str, Any]]:
    rows = []
    for i, transfer in enumerate(wanted.transfers):
        for kind in ("random", "reused"):
            results = [one["transfers"][i]["shots"] for one in found]
            last = {
                shots: 100 * np.mean([result[shots][kind][-1] for result in results])
                for shots in ("all", *map(str, wanted.shots))
            }
            rows.append({"old": transfer.old, "new": transfer.new, "kind": kind, "last": last})
    return rows


def _shots(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    shots = list(rows[0]["last"])
    body = [[r["old"], r["new"], r["kind"], *(f"{r['last'][s]:.2f}" for s in shots)] for r in rows]
    matched = "; ".join(
        f"{t['old']} to {t['new']}: " + (", ".join(f"{new} from {old}" for new, old in t["matched"]) or "none")
        for t in found[0]["transfers"]
    )
    return [
        table(["Old task", "New task", "Start", *(f"{s} shot" if s != "all" else "All" for s in shots)], body),
        "Printed, MIT indoor scenes from house rooms: .86/.77/.73/.52 random, .89/.83/.80/.71 reused.\n",
        f"Classes matched by name: {matched}.\n",
    ]


def _harvests(found: list[dict[str, Any]]) -> list[str]:
    """Fig. 12: classes whose rows come from similar ones of several tasks."""
    body, matched = [], []
    for i, harvest in enumerate(found[0]["harvests"]):
        for kind in ("random", "reused"):
            curve = 100 * np.mean([one["harvests"][i][kind] for one in found], 0)
            near = int((curve >= curve.max() - 1).argmax())
            body.append([harvest["name"], kind, f"{curve[1]:.2f}", f"{curve[-1]:.2f}", str(near)])
        matched.append(f"{harvest['name']}: " + ", ".join(f"{new} from {old}" for new, old in harvest["matched"]))
    if not body:
        return []
    header = ["New task", "Start", "After one epoch", "In the end", "Epochs to within 1 % of the best"]
    return [
        "## A new task from similar classes of several tasks (Fig. 12)\n",
        table(header, body),
        "Printed, sketches of 5 classes: .98 reused after 3 epochs, .93 random after 4.\n",
        f"Classes matched by hand, in place of CLIP (reading S16). {'; '.join(matched)}.\n",
    ]


def _csv(curves: dict[str, np.ndarray]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "reused", "random"])
    for epoch, (one, two) in enumerate(zip(curves["reused"].mean(0), curves["random"].mean(0), strict=True)):
        writer.writerow([epoch, f"{one:.6f}", f"{two:.6f}"])
    return text.getvalue()


def draw(report: Report, results: Results) -> None:
    """Two tasks' heads as one (Fig. 11), from the report's CSV."""
    lines = read_csv(paths.report(report.name, "csv"))
    setting = describe_setting(report, results, "two tasks learnt as one, mean over pairs and seeds")
    looks = style.looks(["reused heads", "random heads"])
    with style.panels(paths.report(report.name, "png"), 1, report.title, setting, width=5.5) as (axes,):
        for label, look in looks.items():
            kind = label.partition(" ")[0]
            cells = [Cell(label, "final", 100 * float(one[kind]), None, 1, float(one["epoch"])) for one in lines]
            style.line(axes, cells, look, label)
        axes.set(ylabel=QUANTITIES["final"].axis, ylim=(0, 100))
        style.count_tasks(axes, "Epoch")
