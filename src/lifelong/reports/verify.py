"""Holds results made anew against the kept ones, row by row.

Bytes of models are the same on one kind of processor alone, so a reproduction elsewhere needs another judgement: the same
number, the same but for rounding, no further apart than two seeds are, or different.
"""

from __future__ import annotations

import csv
import math
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lifelong.evaluation.results import Quantity, Row, read_table
from lifelong.reports.collect import TIMES
from lifelong.reports.markdown import table
from lifelong.reports.provenance import Made, read_made
from lifelong.runtime import paths
from lifelong.runtime.errors import UserError

Verdict = Literal["same", "rounding", "noise", "different", "missing", "new"]
VERDICTS: dict[Verdict, str] = {
    "same": "Same",
    "rounding": "Rounding",
    "noise": "Seed noise",
    "different": "Different",
    "missing": "Missing",
    "new": "New",
}
FAILING: tuple[Verdict, ...] = ("different", "missing")
ROUNDING = 5e-5
"""Of an accuracy as a share, and of any other number relative to its size: equal to four decimals."""
NOISE = 2 * math.sqrt(2)
"""Deviations between seeds: two seeds are further apart in one pair of twenty."""


@dataclass(frozen=True)
class Compared:
    """One number of both sides; `about` is what the line of the table says it is of, and `noise` a deviation over seeds."""

    name: str
    about: tuple[object, ...]
    kept: float | None
    found: float | None
    noise: float | None

    @property
    def apart(self) -> float:
        return abs(self.found - self.kept) if self.found is not None and self.kept is not None else math.nan

    @property
    def verdict(self) -> Verdict:
        if self.kept is None:
            return "new"
        if self.found is None:
            return "missing"
        if self.found == self.kept or (math.isnan(self.found) and math.isnan(self.kept)):
            return "same"
        if self.apart <= ROUNDING * max(1.0, abs(self.kept)):
            return "rounding"
        return "noise" if self.noise is not None and self.apart <= NOISE * self.noise else "different"


def compare_sections(found: Path, kept: Path) -> list[Compared]:
    """Every number of the tables of two folders, but for times."""
    result: list[Compared] = []
    for read in (_accuracies, _quantities):
        sides = [read(folder) for folder in (found, kept)]
        noise = _noise(sides[1])
        for key in dict.fromkeys([*sides[1], *sides[0]]):
            result.append(Compared(key[0], key[1:], sides[1].get(key), sides[0].get(key), noise.get(_pool(key))))
    return result


Key = tuple[str, int | None, tuple[object, ...], tuple[object, ...]]
"""Experiment or row of a report, seed, what is pooled over seeds, and the place within that."""
Pool = tuple[str, tuple[object, ...]]


def _accuracies(folder: Path) -> dict[Key, float]:
    return {
        (one.experiment, one.seed, (one.protocol, one.split, one.metric), (one.after_task, one.on_task)): one.value
        for one in read_table(folder / "results.csv", Row)
    }


def _quantities(folder: Path) -> dict[Key, float]:
    return {
        (f"{one.report}: {one.row}", one.seed, (one.metric,), (one.experiment, one.x, one.y)): one.value
        for one in read_table(folder / "quantities.csv", Quantity)
        if one.metric not in TIMES and one.value is not None
    }


def _pool(key: Key) -> Pool:
    return key[0], key[2]


def _noise(numbers: Mapping[Key, float]) -> dict[Pool, float]:
    """The deviation between seeds, pooled over the places of an experiment's metric; none of a single seed."""
    places: dict[tuple[Pool, tuple[object, ...]], list[float]] = defaultdict(list)
    for key, value in numbers.items():
        if key[1] is not None and math.isfinite(value):
            places[_pool(key), key[3]].append(value)
    squares: dict[Pool, list[tuple[float, int]]] = defaultdict(list)
    for (pool, _), values in places.items():
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares[pool].append((math.fsum((v - mean) ** 2 for v in values), len(values) - 1))
    return {pool: math.sqrt(sum(s for s, _ in parts) / sum(n for _, n in parts)) for pool, parts in squares.items()}


@contextmanager
def kept_tables(section: str, against: str) -> Iterator[Path]:
    """A folder with the tables of a section as they are in a folder of reports or at a revision of git.

    Raises:
        UserError: neither a folder nor a revision, or nothing is kept there of the section.
    """
    if Path(against).is_dir():
        _refuse_nothing(Path(against) / section, against)
        yield Path(against) / section
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / section
        place.mkdir()
        for file in ("results.csv", "quantities.csv", "provenance.json"):
            name = f"{against}:./reports/{section}/{file}"
            shown = subprocess.run(["git", "show", name], capture_output=True, check=False)
            if shown.returncode == 0:
                (place / file).write_bytes(shown.stdout)
        _refuse_nothing(place, against)
        yield place


def _refuse_nothing(folder: Path, against: str) -> None:
    if not (folder / "provenance.json").exists():
        raise UserError(
            f"--against {against}: found no provenance.json of {folder.name!r} there; expected a folder of reports or a "
            "revision of git (HEAD, a tag, a commit) that holds it"
        )


def describe_comparison(section: str, compared: list[Compared], found: Path, kept: Path) -> str:
    """A table with a line an experiment, the machines and versions of both sides, and the verdict in a sentence."""
    by_name: dict[str, list[Compared]] = defaultdict(list)
    for one in compared:
        by_name[one.name].append(one)
    body = []
    for name, numbers in by_name.items():
        counts = [sum(one.verdict == verdict for one in numbers) for verdict in VERDICTS]
        largest = max((one.apart for one in numbers if not math.isnan(one.apart)), default=math.nan)
        body.append([name, str(len(numbers)), *(str(count or "") for count in counts), f"{largest:.4g}"])
    header = ["Of", "Numbers", *VERDICTS.values(), "Furthest apart"]
    total = {verdict: sum(one.verdict == verdict for one in compared) for verdict in VERDICTS}
    said = ", ".join(f"{count} {VERDICTS[verdict].lower()}" for verdict, count in total.items() if count)
    fails = any(total[verdict] for verdict in FAILING)
    verdict = "not reproduced" if fails or not compared else "reproduced"
    sides = "".join(f"{which}: {_made_by(read_made(folder))}\n" for which, folder in (("Kept", kept), ("Found", found)))
    return f"{table(header, body)}\n{sides}{section}: {verdict}; of {len(compared)} numbers {said}.\n"


def _made_by(made: Mapping[str, Made]) -> str:
    machines = dict.fromkeys(one.machine for one in made.values() if one.machine)
    versions = dict.fromkeys(", ".join(f"{k} {v}" for k, v in one.versions.items()) for one in made.values() if one.versions)
    return "; ".join([*machines, *versions]) or "not recorded"


def write_rows(path: Path, compared: list[Compared]) -> None:
    """Every number with its verdict, as CSV."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["of", "about", "kept", "found", "noise", "verdict"])
        for one in compared:
            about = " ".join(str(part) for part in one.about)
            writer.writerow([one.name, about, one.kept, one.found, one.noise, one.verdict])


def verify_section(section: str, against: str, rows: Path | None = None) -> tuple[str, bool]:
    """The comparison in words, and whether the section is reproduced.

    Raises:
        UserError: a side has no tables, or damaged ones.
    """
    found = paths.section(section, "results.csv").parent
    if not (found / "provenance.json").exists():
        raise UserError(f"{found}: nothing is made of {section!r}; `snakemake {section}` makes it")
    with kept_tables(section, against) as kept:
        compared = compare_sections(found, kept)
        if rows is not None:
            write_rows(rows, compared)
        failed = not compared or any(one.verdict in FAILING for one in compared)
        return describe_comparison(section, compared, found, kept), not failed
