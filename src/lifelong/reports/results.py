"""What reports read: the tables that their section keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lifelong.evaluation.metrics import all_metrics, over_seeds
from lifelong.evaluation.results import Imported, Quantity, Row, read_table
from lifelong.params import Report, Settings
from lifelong.reports.cells import Cell, cell_over_seeds
from lifelong.reports.provenance import Made, describe, read_provenance
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_tensors
from lifelong.runtime.errors import UserError

METRIC_NOTES = """\
Values are percent on the test split, task-incremental (the task is told at test), mean ± sample deviation over the seeds.
R[i, j] is the accuracy on task j after task i: ACC = mean of R[T, j]; BWT = mean of R[T, j] - R[j, j] over j < T; FWT
(against joint) = mean of R[j, j] - m[j] over j > 1, with m the accuracies of joint training with the same seed. The last
epoch's weights are taken; nothing is chosen on the test split."""

TOLD = "task_incremental"


class Results:
    """A section's tables, asked by experiment, protocol and metric. Values are percent; tasks count from 1."""

    def __init__(self, settings: Settings, section: str) -> None:
        self.settings = settings
        self.section = section
        self.judged: list[Any] | None = None  # what `claims` has found of it
        self.made: dict[str, Made] = read_provenance(section)
        self._quantities = read_table(paths.section(section, "quantities.csv"), Quantity)
        self._imported: dict[tuple[str, str, str, int | None, int | None], Imported] = {}
        for one in read_table(paths.section(section, "imported.csv"), Imported):
            self._imported.setdefault((one.experiment, one.protocol, one.metric, one.seed, one.after_task), one)
        self._rows: dict[tuple[str, str, str], dict[int, list[Row]]] = {}
        for row in read_table(paths.section(section, "results.csv"), Row):
            by_seed = self._rows.setdefault((row.experiment, row.split, row.protocol), {})
            by_seed.setdefault(row.seed, []).append(row)

    def of(self, name: str) -> Made:
        """How an experiment was made.

        Raises:
            UserError: the section keeps nothing of it.
        """
        if name not in self.made:
            raise UserError(
                f"{paths.section(self.section, 'provenance.json')}: nothing is kept of {name!r}; `snakemake {self.section}` "
                f"runs what is missing"
            )
        return self.made[name]

    def matrices(self, name: str, protocol: str = TOLD, split: str = "test") -> dict[int, np.ndarray]:
        """Seed -> R [T, T], shares of 1, NaN where there is no answer; seeds that diverged are left out."""
        found = self._rows.get((name, split, protocol), {})
        count = max((row.on_task for rows in found.values() for row in rows), default=0)
        result = {}
        for seed, rows in found.items():
            r = np.full((count, count), np.nan)
            for row in rows:
                if row.after_task:
                    r[row.after_task - 1, row.on_task - 1] = row.value
            result[seed] = r
        return result

    def has(self, name: str, protocol: str) -> bool:
        """Whether the experiment was asked under a protocol."""
        return (name, "test", protocol) in self._rows or any(key[:2] == (name, protocol) for key in self._imported)

    def is_imported(self, name: str) -> bool:
        return self.of(name).imported is not None

    def by_seed(self, name: str, metric: str, protocol: str = TOLD, split: str = "test") -> dict[int, float | None]:
        """A metric of `evaluation.metrics`; none of a seed that diverged, or where the experiment cannot give it."""
        made = self.of(name)
        if made.imported is not None:
            return self.imported_seeds(name, metric, protocol)
        matrices = self.matrices(name, protocol, split)
        joint = self.matrices(made.joint, protocol) if made.joint else {}
        result: dict[int, float | None] = {}
        for seed in made.seeds:
            if seed not in matrices:
                result[seed] = None
                continue
            first = [row for row in self._rows[name, split, protocol][seed] if row.after_task == 0]
            initial = [row.value for row in sorted(first, key=lambda row: row.on_task)]
            last = joint[seed][-1] if seed in joint else None
            known = last is not None and not np.isnan(last).any()
            values = all_metrics(
                matrices[seed].tolist(),
                initial if len(initial) == len(matrices[seed]) else None,
                list(last) if known and last is not None else None,
            )
            value = values[metric]
            result[seed] = None if value is None else 100 * value
        return result

    def imported_seeds(self, name: str, metric: str, protocol: str) -> dict[int, float | None]:
        """Seed -> an imported value."""
        keys = [key for key in self._imported if key[:3] == (name, protocol, metric)]
        return {key[3]: self._imported[key].mean for key in keys if key[3] is not None}

    def spread(self, name: str, metric: str, protocol: str = TOLD, finite: bool = False) -> dict[str, Any]:
        """Mean, deviation and n over the seeds; none where a seed has no value, unless the `finite` ones are asked for."""
        if self.is_imported(name):
            one = self._imported.get((name, protocol, metric, None, None))
            if one is None:
                return {"mean": None, "deviation": None, "n": 0}
            return {"mean": one.mean, "deviation": one.deviation, "n": one.n}
        values = list(self.by_seed(name, metric, protocol).values())
        return over_seeds([value for value in values if value is not None] if finite else values)

    def cell(self, row: str, name: str, metric: str, x: float | None = None) -> Cell | None:
        """A metric of an experiment, task-incremental; none where the experiment cannot give it."""
        result = self.spread(name, metric)
        if result["mean"] is None:
            return None
        return Cell(row, metric, result["mean"], result["deviation"], result["n"], x, name)

    def differences(self, one: str, other: str, metric: str, protocol: str = TOLD) -> dict[int, float]:
        """Seed -> the metric of one less that of another, where both have it."""
        a, b = self.by_seed(one, metric, protocol), self.by_seed(other, metric, protocol)
        pairs = {seed: (a[seed], b[seed]) for seed in a if seed in b}
        return {seed: x - y for seed, (x, y) in pairs.items() if x is not None and y is not None}

    def difference_cell(self, row: str, one: str, other: str, metric: str, protocol: str) -> Cell | None:
        """Mean and deviation of the differences; imported ones lie under `ONE - OTHER`."""
        kind = f"{metric}_difference"
        imported = self._imported.get((f"{one} - {other}", protocol, kind, None, None))
        if imported is not None and imported.mean is not None:
            return Cell(row, kind, imported.mean, imported.deviation, imported.n)
        if not (self.has(one, protocol) and self.has(other, protocol)):
            return None
        return cell_over_seeds(row, kind, list(self.differences(one, other, metric, protocol).values()))

    def curves(self, name: str, protocol: str = TOLD) -> dict[int, np.ndarray]:
        """Seed -> mean accuracy on the tasks seen so far, after each task [T]; NaN where there is no model."""
        return {
            seed: np.array([100 * r[t, : t + 1].mean() for t in range(len(r))])
            for seed, r in self.matrices(name, protocol).items()
        }

    def curve(self, row: str, name: str, protocol: str = TOLD, finite: bool = False) -> list[Cell]:
        """`curves` over the seeds: a cell after each task that all seeds, or the `finite` ones, have an accuracy after."""
        if self.is_imported(name):
            found = [one for key, one in self._imported.items() if key[:4] == (name, protocol, "accuracy", None)]
            return [
                Cell(row, "accuracy", one.mean, one.deviation, one.n, float(one.after_task or 0), name)
                for one in found
                if one.mean is not None
            ]
        if self.lost_seeds(name)[0] and not finite:
            return []
        values = np.array(list(self.curves(name, protocol).values()))
        cells = [
            cell_over_seeds(row, "accuracy", [None if np.isnan(v) else float(v) for v in column], t + 1.0, name)
            for t, column in enumerate(values.T)
        ]
        return [cell for cell in cells if cell is not None]

    def lost_seeds(self, name: str) -> tuple[int, int]:
        """How many of the experiment's seeds diverged, and how many it has."""
        count = len(self.of(name).seeds)
        if self.is_imported(name):
            one = self._imported.get((name, TOLD, "acc", None, None))
            return (count - one.n if one is not None else 0), count
        return count - len(self.matrices(name)), count

    def diverged(self, names: Sequence[str], therefore: str = "and a cross on the axis therefore") -> str:
        """Which of the experiments have seeds whose training diverged, as a sentence; empty where none has."""
        counts = {name: self.lost_seeds(name) for name in names}
        result = [f"`{name}` ({lost} of {seeds} seeds)" for name, (lost, seeds) in counts.items() if lost]
        return f"Diverged, {therefore}: {', '.join(result)}.\n" if result else ""

    def quantities(self, report: Report) -> list[Quantity]:
        """What the report measured, in the order written.

        Raises:
            UserError: nothing is kept of it.
        """
        found = [one for one in self._quantities if one.report == report.name]
        if not found:
            raise UserError(
                f"{paths.section(self.section, 'quantities.csv')}: nothing is kept of report {report.name!r}; "
                f"`snakemake {self.section}` runs what is missing"
            )
        return found

    def evidence(self, report: Report) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Images, and texts as a JSON object."""
        return read_tensors(paths.evidence(report.name), "evidence")

    def keeps_picture(self, report: Report) -> bool:
        """Whether the picture stays as published, since what it was drawn from was not kept."""
        return self.of(report.name).imported is not None

    def made_by(self, report: Report) -> str:
        """The page's words on machine, versions, and numbers that are imported or of older code."""
        collective = getattr(report.options, "collective", None)
        names: Iterable[str] = [report.name, *report.all_experiments(), *([collective] if collective else [])]
        return describe(self.settings, self.section, self.made, names)


def quantity_cells(quantities: Iterable[Quantity]) -> list[Cell]:
    """Quantities over the seeds: a cell a row, metric and place x."""
    groups: dict[tuple[str, str, float | None, str], list[Quantity]] = {}
    for one in quantities:
        groups.setdefault((one.row, one.metric, one.x, one.experiment), []).append(one)
    cells: list[Cell] = []
    for (row, metric, x, experiment), found in groups.items():
        first = found[0]
        if len(found) == 1 and first.seed is None:
            if first.value is not None:
                cells.append(Cell(row, metric, first.value, first.deviation, first.n, x, experiment))
            continue
        cell = cell_over_seeds(row, metric, [one.value for one in found], x, experiment)
        cells += [cell] if cell is not None else []
    return cells
