"""ACC over BWT: methods with a threshold compared at equal forgetting, so that a threshold is not taken for a method.

Reading M32: NSP improves by its threshold alone, so TPNSP is held against the curve of NSP over thresholds.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from lifelong.params import Report, Settings
from lifelong.params.split2meta_reports import MatchedOptions, MatchedPart
from lifelong.reports.cells import write_csv
from lifelong.reports.figures import style
from lifelong.reports.figures.setting import TOLD, describe_setting
from lifelong.reports.layout import write_page
from lifelong.reports.markdown import table
from lifelong.reports.results import Results
from lifelong.reports.verdicts import Sample, describe_sign
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError, did_you_mean

NOTES = """\
Task-incremental, percent on the test split, mean ± sample deviation over the seeds. ACC at equal BWT: for each seed, the
first curve's points (its settings, by their BWT) are joined by straight lines and read where the other's BWT lies; the
difference is that of the same seed. "-" where no seed's curve reaches that BWT. *Ahead* or *behind*: the 95 % interval of
the mean difference (Student's t) lies above or below 0; *undecided*: it holds 0; *not judged*: fewer than three seeds.
"""

Point = tuple[float, float]
"""BWT and ACC of one seed, in percent."""


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write the curves, what they say at equal forgetting, and the comparisons one by one."""
    assert isinstance(report.options, MatchedOptions)
    points = {label: _points(results, name) for label, name in report.single().items()}
    parts = [f"# {report.title}\n\n![ACC over BWT]({report.name.rpartition('/')[2]}.png)\n"]
    lines: list[dict[str, Any]] = []
    of_seeds: list[dict[str, Any]] = []
    for title, part in report.options.parts.items():
        _check(report, part)
        text, result, seen = _part(title, part, points)
        parts.append(text)
        lines += result
        of_seeds += seen
    parts.append(f"## How these were made\n\n{NOTES}\n{results.made_by(report)}")
    parts.append(table(["Label", "Experiment in params.yaml"], [[a, b] for a, b in report.single().items()]))
    write_csv(paths.report(report.name, "csv"), COLUMNS, lines + of_seeds, ".4f")
    _draw(report, results, points)
    write_page(report, results, "\n".join(parts))


COLUMNS = ["part", "curve", "row", "seed", "metric", "mean", "deviation", "n", "x", "verdict"]
"""Lines over the seeds first, then those of each seed."""


def at_equal_forgetting(curve: list[Point], bwt: float) -> float | None:
    """ACC of a curve where its BWT is `bwt`, between its points by straight lines; none beyond them."""
    ordered = sorted(curve)
    across, up = zip(*ordered, strict=True)
    if not across[0] <= bwt <= across[-1]:
        return None
    return float(np.interp(bwt, across, up))


def judged(differences: list[float]) -> str:
    """What differences of seeds say by their own 95 % interval."""
    return describe_sign(Sample.of_seeds(dict(enumerate(differences))), ("ahead", "behind"))


def _points(results: Results, name: str) -> dict[int, Point]:
    """Seed -> point, of seeds that did not diverge."""
    bwts, accs = results.by_seed(name, "bwt"), results.by_seed(name, "acc")
    pairs = {seed: (bwt, accs[seed]) for seed, bwt in bwts.items()}
    return {seed: (bwt, acc) for seed, (bwt, acc) in pairs.items() if bwt is not None and acc is not None}


def _check(report: Report, part: MatchedPart) -> None:
    for label in (label for named in (part.curves, part.pairs) for labels in named.values() for label in labels):
        if label not in report.experiments:
            where = f"params.yaml: reports.{report.name.replace('/', '.')}"
            raise UserError(f"{where}: no experiment is labelled {label!r}; {did_you_mean(label, report.experiments)}")


Lines = list[dict[str, Any]]


def _part(title: str, part: MatchedPart, points: dict[str, dict[int, Point]]) -> tuple[str, Lines, Lines]:
    """The text of a part, its lines over the seeds and those of each seed."""
    reference, *_ = part.curves
    of_seed: dict[int, list[Point]] = {}
    for label in part.curves[reference]:
        for seed, point in points[label].items():
            of_seed.setdefault(seed, []).append(point)
    lines: Lines = []
    of_seeds: Lines = []
    body = []
    for curve, labels in part.curves.items():
        for label in labels:
            differences = []
            for seed, (bwt, acc) in points[label].items():
                other = at_equal_forgetting(of_seed[seed], bwt) if curve != reference and seed in of_seed else None
                row = {"part": title, "curve": curve, "row": label, "seed": seed, "n": 1}
                of_seeds += [row | {"metric": "bwt", "mean": bwt}, row | {"metric": "acc", "mean": acc}]
                if other is not None:
                    differences.append(acc - other)
                    of_seeds.append(row | {"metric": "lead", "mean": acc - other})
            accs, bwts = ([point[which] for point in points[label].values()] for which in (1, 0))
            row = {"part": title, "curve": curve, "row": label}
            lines += [row | _line("acc", accs), row | _line("bwt", bwts)]
            lines += [row | _line("lead", differences, judged(differences))] if differences else []
            compared = [_shown(differences, "+"), judged(differences)] if differences else ["-", "-"]
            body.append([curve, label, _shown(accs), _shown(bwts), *compared])
    header = ["Curve", "Setting", "ACC", "BWT", f"ACC - {reference} at equal BWT", "Verdict"]
    text = f"## {title}\n\n{table(header, body)}"
    if part.pairs:
        body = []
        for claim, (ours, theirs) in part.pairs.items():
            seeds = sorted(points[ours].keys() & points[theirs].keys())
            cells = [f"{claim}: {ours} against {theirs}"]
            for which, metric in ((1, "acc_difference"), (0, "bwt_difference")):
                differences = [points[ours][seed][which] - points[theirs][seed][which] for seed in seeds]
                cells += [_shown(differences, "+"), judged(differences)]
                lines.append({"part": title, "row": claim} | _line(metric, differences, judged(differences)))
            body.append(cells)
        text += "\n" + table(["Claim", "ACC difference", "Verdict", "BWT difference", "Verdict"], body)
    return text, lines, of_seeds


def _line(metric: str, values: list[float], verdict: str = "") -> dict[str, Any]:
    """Mean and sample deviation over the seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    result = {"metric": metric, "mean": statistics.mean(values), "deviation": deviation, "n": len(values)}
    return result | {"verdict": verdict}


def _shown(values: list[float], sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f} (n = {len(values)})" if len(values) > 1 else f"{mean} (n = 1)"


def _draw(report: Report, results: Results, points: dict[str, dict[int, Point]]) -> None:
    assert isinstance(report.options, MatchedOptions)
    parts = report.options.parts
    setting = describe_setting(report, results, TOLD, "mean ± deviation over seeds, both ways")
    looks = style.looks(list(dict.fromkeys(curve for part in parts.values() for curve in part.curves)))
    with style.panels(paths.report(report.name, "png"), len(parts), report.title, setting, width=5, height=3.6) as several:
        for axes, (title, part) in zip(several, parts.items(), strict=True):
            for curve, labels in part.curves.items():
                values = np.array([list(points[label].values()) for label in labels])  # [settings, seeds, 2]
                values = values[np.argsort(values.mean(1)[:, 0])]
                mean, deviation = values.mean(1), values.std(1, ddof=1) if values.shape[1] > 1 else 0 * values.mean(1)
                look, dash = looks[curve], "-" if len(labels) > 1 else "none"
                how: dict[str, Any] = {"fmt": look.marker, "color": look.colour, "linestyle": dash, "elinewidth": 0.9}
                axes.errorbar(mean[:, 0], mean[:, 1], yerr=deviation[:, 1], xerr=deviation[:, 0], label=curve, **how)
            axes.set(title=title, xlabel="BWT (points)", ylabel="ACC (%)")
