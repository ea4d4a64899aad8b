"""The page of a section: a template of `lifelong/reports/pages` whose numbers come from the section's other reports alone.

A template is Jinja2. It names reports as params.yaml does within the section, and has these functions:

- `cell(report, row, metric, protocol=, x=)`: `98.34 ± 0.15`, from the report's CSV, or `diverged`;
- `has(report, row, metric, ...)`: whether there is such a cell;
- `verdict(report, row, metric, ...)`: the verdict on that cell's printed value;
- `side_by_side(a, b, metrics)`: a table of two comparisons of the same rows beside the printed values;
- `claims(report)`: what the paper says of a table or figure, our numbers and verdicts;
- `outcomes(paper)`: how many claims of the paper have which outcome, in words;
- `scoreboard(paper)`: how many claims of each table and figure have which outcome;
- `matrix(paper)`: all that the paper says of its tables and figures, with every verdict and what was not attempted;
- `printed(report, row, metric, ...)`: that cell's printed value;
- `fits(report, row, metric)`: the protocols under which ours is the printed value, or the nearest one;
- `off(report, row, metric, ...)`: by how much the printed value lies above or below ours;
- `gain(report, label, protocol, metric=)`: what one part changes, of a report of paired differences;
- `tally(report, label, metric=)`: under which protocols it is more, less or undecided;
- `counts(*reports)`: how many claims and printed cells have which verdict, doubtful cells left out;
- `doubts(*reports)`: how many those are;
- `spread(report, path)`: mean ± deviation of the values by seed at a path of the report's JSON, `variants/MAHA/final`;
- `mean(report, path)`: their mean as a number, to compare;
- `lost(report)`: rows with fewer seeds than the report's others, because training diverged with the rest;
- `image(report)`, `link(report)`: the figure, and a link to the report, by its title.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from typing import Any

import jinja2
import numpy as np

from lifelong.params import Report, Settings
from lifelong.params.reports import PAPER, PageOptions
from lifelong.reports.cells import Cell, read_csv
from lifelong.reports.claims import count_outcomes, describe, find_findings, read_claims, read_papers
from lifelong.reports.figures.paired import decided, interval
from lifelong.reports.layout import join_words, link_terms
from lifelong.reports.markdown import table
from lifelong.reports.quantities import QUANTITIES, format_value
from lifelong.reports.results import Results
from lifelong.reports.verdicts import OUTCOMES, Outcome
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_json, write_text
from lifelong.runtime.errors import UserError, did_you_mean

CELLS = ("same", "different", "undecided", "not judged", "diverged", "tier")
"""Verdicts on printed values."""

PROTOCOL = "task_incremental"


class Numbers:
    """What a template may ask of the section's reports."""

    def __init__(self, reports: dict[str, Report], results: Results) -> None:
        self._reports = reports
        self._results = results
        self._lines = functools.cache(lambda name: read_csv(paths.report(self._report(name).name, "csv")))

    def cell(self, report: str, row: str, metric: str, protocol: str = PROTOCOL, x: float | None = None) -> str:
        """Mean and deviation of one cell."""
        return _shown(self._line(report, row, metric, protocol, x))

    def has(self, report: str, row: str, metric: str, protocol: str = PROTOCOL, x: float | None = None) -> bool:
        """Whether the report has such a cell."""
        return self._find(report, row, metric, protocol, x) is not None

    def verdict(self, report: str, row: str, metric: str, protocol: str = PROTOCOL, x: float | None = None) -> str:
        """The verdict on one cell's printed value."""
        result = self._line(report, row, metric, protocol, x)["verdict"]
        if not result:
            raise UserError(f"verdict: row {row!r}, metric {metric!r} of report {report!r} has no printed value")
        return result

    def printed(self, report: str, row: str, metric: str, protocol: str = PROTOCOL, x: float | None = None) -> str:
        """One cell's printed value."""
        result = self._line(report, row, metric, protocol, x)
        value = result.get("printed_mean") or result.get("printed")
        if not value:
            raise UserError(f"printed: row {row!r}, metric {metric!r} of report {report!r} has no printed value")
        return f"{float(value):{QUANTITIES[metric].digits}}"

    def fits(self, report: str, row: str, metric: str) -> str:
        """The protocols whose verdict is `same`, with our values; where there are none, the nearest."""
        judged = [
            line
            for line in self._lines(report)
            if (line["row"], line["metric"]) == (row, metric) and line.get("protocol") and line["difference"]
        ]
        if not judged:
            raise UserError(f"fits: row {row!r}, metric {metric!r} of report {report!r} has no printed value")
        fitting = [f"{line['protocol']} ({_shown(line)})" for line in judged if line["verdict"] == "same"]
        if fitting:
            return join_words(fitting)
        nearest = min(judged, key=lambda line: abs(float(line["difference"])))
        return (
            f"no protocol; the nearest is {nearest['protocol']} ({_shown(nearest)}), {_off(float(nearest['difference']))} it"
        )

    def off(self, report: str, row: str, metric: str, protocol: str = PROTOCOL, x: float | None = None) -> str:
        """`1.20 points above`: where the printed value lies, seen from ours."""
        line = self._line(report, row, metric, protocol, x)
        if not line["difference"]:
            raise UserError(f"off: row {row!r}, metric {metric!r} of report {report!r} has no printed value")
        return _off(-float(line["difference"]))

    def gain(self, report: str, label: str, protocol: str, metric: str = "acc_difference") -> str:
        """`+1.23 ± 0.40 [0.73, 1.73], more`."""
        cell = self._difference(report, label, protocol, metric)
        return f"{_shown_cell(cell)}{interval(cell)}, {decided(cell)}"

    def tally(self, report: str, label: str, metric: str = "acc_difference") -> str:
        """`more under chunks of 5 and chunks of 20; undecided under task told`."""
        result: dict[str, list[str]] = {}
        for line in self._lines(report):
            start, _, protocol = line["row"].rpartition(", ")
            if (start, line["metric"]) == (label, metric):
                word = decided(self._difference(report, label, protocol, metric))
                result.setdefault(word, []).append(protocol)
        if not result:
            self._line(report, f"{label}, task told", metric, PROTOCOL, None)
        if len(result) == 1:
            return f"{next(iter(result))} under every protocol"
        words = ("more", "less", "undecided", "not judged")
        return "; ".join(f"{word} under {join_words(result[word])}" for word in words if word in result)

    def side_by_side(
        self, first: str, second: str, metrics: list[str], titles: tuple[str, str] = ("As released", "Fair")
    ) -> str:
        """For each row of `first` and each metric: its value, that of `second`, and the printed one, with both verdicts."""
        rows = list(dict.fromkeys(line["row"] for line in self._lines(first)))
        header = ["Method", "Metric", "Printed"]
        for title in titles:
            header += [title, "Verdict"]
        body = []
        for row in rows:
            for metric in metrics:
                lines = [self._find(name, row, metric, PROTOCOL, None) for name in (first, second)]
                known = next((line for line in lines if line is not None), None)
                if known is None:
                    continue  # a metric that this method does not have
                cells = [row, QUANTITIES[metric].label, _printed(known)]
                for line in lines:
                    cells += [_shown(line), line["verdict"] or "-"] if line is not None else ["-", "-"]
                body.append(cells)
        return table(header, body)

    def claims(self, report: str) -> str:
        """The paper's statements on a table or figure."""
        keys = ("statement", "ours", "tested", "verdict")
        body = [[one[key] for key in keys] for one in self._claims(report)]
        return table(["Claim", "Ours", "Difference [95 %]", "Verdict"], body)

    def scoreboard(self, paper: str) -> str:
        """How many claims of each table and figure have which outcome."""
        counted = [(place, count_outcomes(place, find_findings(self._results))) for place in read_papers()[paper]]
        body = [[place.place, *(str(one[word] or "-") for word in OUTCOMES), place.tier or "-"] for place, one in counted]
        return table(["Where", *(word.capitalize() for word in OUTCOMES), "Tier"], body)

    def outcomes(self, paper: str) -> str:
        """`41 are supported, 7 contradicted, 44 undecided and 11 not attempted`."""
        found = find_findings(self._results)
        total = sum((count_outcomes(place, found) for place in read_papers()[paper]), Counter[Outcome]())
        told = [f"{total[word]} {word}" for word in OUTCOMES]
        return join_words([told[0].replace(" ", " are "), *told[1:]])

    def matrix(self, paper: str) -> str:
        """Every claim of the paper: a line for each report of this section that tests it, or why it is not attempted."""
        findings: dict[tuple[str, str], list[str]] = {}
        for one in find_findings(self._results):
            told = f"{describe(one)['verdict']}, [{one.report.partition('/')[2]}]({one.report.partition('/')[2]}.md)"
            findings.setdefault((one.place, one.claim.statement), []).append(told)
        body = []
        for place in read_papers()[paper]:
            for claim in read_claims(place.claims):
                elsewhere = ", ".join(place.reports) or "no report"
                absent = f"not attempted: {claim.untested or f'{elsewhere} would test it; nothing is kept here'}"
                verdicts = findings.get((place.place, claim.statement), [absent])
                body.append([place.place, claim.statement, "; ".join(verdicts)])
        return table(["Where", "Claim", "Verdict"], body)

    def counts(self, *reports: str) -> str:
        """How many verdicts of each kind the reports hold together."""
        claims = Counter(_outcome(one["verdict"]) for report in reports for one in self._claims(report))
        cells = Counter(word for report in reports for word, doubted in self._verdicts(report) if not doubted)
        kinds = {"claims": (claims, OUTCOMES), "cells": (cells, CELLS)}
        told = [
            f"{kind}: " + ", ".join(f"{counted[word]} {word}" for word in words if counted[word])
            for kind, (counted, words) in kinds.items()
            if counted
        ]
        return "; ".join(told) or "no verdict"

    def doubts(self, *reports: str) -> int:
        """How many printed cells are doubtful in themselves."""
        return sum(doubted for report in reports for _, doubted in self._verdicts(report))

    def spread(self, report: str, path: str) -> str:
        """`72.80 ± 0.51` of values by seed."""
        values = self._by_seed(report, path)
        return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else " (n = 1)")

    def mean(self, report: str, path: str) -> float:
        """The mean of values by seed."""
        return float(np.mean(self._by_seed(report, path)))

    def lost(self, report: str) -> str:
        """`ARI, literal (2 of 5 seeds)`."""
        seeds = {line["row"]: int(line["n"]) for line in self._lines(report) if line["metric"] == "acc"}
        most = max(seeds.values(), default=0)
        return join_words([f"{row} ({most - n} of {most} seeds)" for row, n in seeds.items() if n < most])

    def image(self, report: str) -> str:
        result = self._report(report)
        if "png" not in result.kind.writes:
            raise UserError(f"image: report {report!r} is a {result.kind_name}, which has no figure")
        return f"![{result.title}]({report}.png)"

    def link(self, report: str) -> str:
        return f"[{self._report(report).title}]({report}.md)"

    def _report(self, name: str) -> Report:
        if name not in self._reports:
            raise UserError(f"the section has no report {name!r}; {did_you_mean(name, self._reports)}")
        return self._reports[name]

    def _find(self, report: str, row: str, metric: str, protocol: str, x: float | None) -> dict[str, str] | None:
        for line in self._lines(report):
            here = line["row"] == row and line["metric"] == metric and line.get("protocol", protocol) == protocol
            if here and (x is None or (line["x"] and float(line["x"]) == x)):
                return line
        return None

    def _line(self, report: str, row: str, metric: str, protocol: str, x: float | None) -> dict[str, str]:
        result = self._find(report, row, metric, protocol, x)
        if result is not None:
            return result
        at = "" if x is None else f" at x = {x:g}"
        rows = did_you_mean(row, {line["row"] for line in self._lines(report)})
        metrics = ", ".join(sorted({line["metric"] for line in self._lines(report)}))
        raise UserError(
            f"report {report!r} has no cell of row {row!r}, metric {metric!r}, {protocol}{at}; "
            f"rows {rows} Metrics: {metrics}"
        )

    def _difference(self, report: str, label: str, protocol: str, metric: str) -> Cell:
        line = self._line(report, f"{label}, {protocol}", metric, PROTOCOL, None)
        deviation = float(line["deviation"]) if line["deviation"] else None
        return Cell(line["row"], metric, float(line["mean"]), deviation, int(line["n"]))

    def _json(self, report: str) -> dict[str, Any]:
        result: dict[str, Any] = read_json(paths.report(self._report(report).name, "json"))
        return result

    def _by_seed(self, report: str, path: str) -> list[float]:
        result: Any = self._json(report)
        for key in path.split("/"):
            if not isinstance(result, dict) or key not in result:
                known = did_you_mean(key, result) if isinstance(result, dict) else "nothing is below it"
                raise UserError(f"report {report!r} has no {path!r}: {key!r} is unknown; {known}")
            result = result[key]
        if not isinstance(result, list):
            raise UserError(f"report {report!r}: {path!r} is no list of values by seed")
        return result

    def _claims(self, report: str) -> list[dict[str, str]]:
        name = self._report(report).name
        return [describe(one) for one in find_findings(self._results) if one.report == name]

    def _verdicts(self, report: str) -> list[tuple[str, bool]]:
        """Every verdict on a printed value, and whether what is printed is doubtful in itself."""
        lines = [
            line for line in self._lines(report) if line.get("verdict") and line.get("printed_mean", line.get("printed"))
        ]
        return [(line["verdict"], bool(line.get("doubt"))) for line in lines]


def write(settings: Settings, report: Report, results: Results) -> None:
    """Write reports/<section>/<name>.md.

    Raises:
        UserError: the template is faulty or asks for what the reports do not have; it is named with the line.
    """
    assert isinstance(report.options, PageOptions)
    others = {
        name.partition("/")[2]: settings.report(name)
        for name in settings.sections()[report.section]
        if name != report.name and settings.report(name).kind_name != "page"
    }
    text = rendered(report.options.template, Numbers(others, results), report.title)
    write_text(paths.report(report.name, "md"), link_terms(text))


def rendered(template: str, numbers: Numbers, title: str) -> str:
    """The template's text with every number in place."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAPER / "pages"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    helpers = {name: method for name, method in inspect.getmembers(numbers, callable) if not name.startswith("_")}
    try:
        return environment.get_template(f"{template}.md").render(title=title, **helpers)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"pages/{template}.md, line {error.lineno}: {error.message}") from None
    except (UserError, jinja2.UndefinedError, TypeError) as error:
        raise UserError(f"pages/{template}.md{_line_of(error, template)}: {error}") from None


def _line_of(error: BaseException, template: str) -> str:
    """The template's line that an error was raised in; Jinja2 puts it into the traceback."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(f"{template}.md"):
            number = trace.tb_lineno
        trace = trace.tb_next
    return f", line {number}" if number else ""


def _shown(line: dict[str, str]) -> str:
    if not line["mean"]:
        return "diverged"
    deviation = float(line["deviation"]) if line["deviation"] else None
    return format_value(line["metric"], float(line["mean"]), deviation, int(line["n"]))


def _outcome(verdict: str) -> str:
    """A claim's outcome without its tier or reason."""
    return verdict.partition(" (")[0].partition(":")[0]


def _off(points: float) -> str:
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"


def _shown_cell(cell: Cell) -> str:
    return format_value(cell.metric, cell.mean, cell.deviation, cell.n)


def _printed(line: dict[str, str]) -> str:
    if not line["printed_mean"]:
        return "-"
    deviation = f" ± {float(line['printed_deviation']):.2f}" if line.get("printed_deviation") else ""
    return f"{float(line['printed_mean']):.2f}{deviation}{' †' if line.get('doubt') else ''}"
