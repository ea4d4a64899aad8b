"""The tables that a section keeps of what its experiments came to: everything it shows is drawn from them alone.

- `results.csv` (`Row`): accuracies of each seed, after each task on each task.
- `quantities.csv` (`Quantity`): what is no accuracy, or not of one experiment alone: distances, sizes, counts, seconds.
- `imported.csv` (`Imported`): means over seeds of reports that are older than these tables, copied from their CSV.

A table is read whole or refused: a column too many, a value of another type or a line twice names file, line and remedy.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from lifelong.runtime.artifacts import read_bytes, write_text
from lifelong.runtime.errors import UserError

_absent = BeforeValidator(lambda value: None if value == "" else value)
Number = Annotated[float | None, _absent]
Whole = Annotated[int | None, Field(ge=0), _absent]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Row:
    """One accuracy.

    Attributes:
        experiment: as in params.yaml; of a collective `<collective>/<variant>`.
        after_task: tasks learnt, from 1; 0: before any learning.
        on_task: the task asked about, from 1.
        protocol: a name of `evaluation.protocols`.
        metric: `accuracy`, or `iou`: the mean intersection over union of the task's classes.
        value: a share of 1.
        images: how many it is the share of; absent where no file says so.
    """

    experiment: Text
    method: Text
    sequence: Text
    network: Text
    seed: Annotated[int, Field(ge=0)]
    after_task: Annotated[int, Field(ge=0)]
    on_task: Annotated[int, Field(ge=1)]
    split: Literal["test", "validation"]
    protocol: Text
    metric: Literal["accuracy", "iou"]
    value: Annotated[float, Field(ge=0, le=1)]
    images: Whole = None

    file: ClassVar[str] = "results"


@dataclass(frozen=True)
class Quantity:
    """What one row of a report measured at a place (x, y): of one seed, or, imported, a mean over n seeds (seed absent)."""

    report: Text
    row: Text
    experiment: str
    seed: Whole
    x: Number
    y: Number
    metric: Text
    value: Number
    deviation: Number = None
    n: Annotated[int, Field(ge=0)] = 1

    file: ClassVar[str] = "quantities"


@dataclass(frozen=True)
class Imported:
    """A metric of an experiment, in percent or points: of one seed, or over n of them; no mean where a seed diverged."""

    experiment: Text
    protocol: Text
    metric: Text
    seed: Whole
    after_task: Whole
    mean: Number
    deviation: Number
    n: Annotated[int, Field(ge=0)]
    source: Text  # the CSV, as it was published

    file: ClassVar[str] = "imported"


Line = TypeVar("Line", Row, Quantity, Imported)


def write_table(path: Path, lines: Iterable[Row] | Iterable[Quantity] | Iterable[Imported], kind: type[Line]) -> None:
    """Write a table; nothing for an absent value, eight digits for a number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    for line in lines:
        writer.writerow([format(v, ".8g") if isinstance(v, float) else v for v in astuple(line)])
    write_text(path, text.getvalue())


def read_table(path: Path, kind: type[Line]) -> list[Line]:
    """A section's table; no lines where it has none.

    Raises:
        UserError: it is not as written; the message names file, line, column, what was found and what to do.
    """
    if not path.exists():
        return []
    remedy = f"`git checkout -- {path}` brings back what is kept; deleted, `snakemake {path.parent.name}` makes it anew"
    reader = csv.DictReader(io.StringIO(read_bytes(path).decode(errors="replace")), restval="", restkey="more")
    columns = [field.name for field in fields(kind)]
    if reader.fieldnames != columns:
        found = ",".join(reader.fieldnames or [])
        raise UserError(f"{path}: found columns {found!r}; expected {','.join(columns)!r}; {remedy}")
    written = list(reader)
    for number, line in enumerate(written):
        if "more" in line:
            raise UserError(f"{path}, line {number + 2}: found more values than the {len(columns)} columns; {remedy}")
    try:
        lines: list[Line] = TypeAdapter(list[kind]).validate_python(written)  # type: ignore[valid-type]
    except ValidationError as error:
        fault = error.errors()[0]
        number, column = int(fault["loc"][0]), fault["loc"][1]
        expected = fault["msg"].removeprefix("Input should be ")
        raise UserError(
            f"{path}, line {number + 2}: {column}: found {fault['input']!r}; expected {expected}; {remedy}"
        ) from None
    _refuse_twice(path, lines, remedy)
    return lines


def _refuse_twice(path: Path, lines: Sequence[Line], remedy: str) -> None:
    values = {"value", "deviation", "n", "images", "mean", "source"}
    seen: dict[tuple[object, ...], int] = {}
    for number, line in enumerate(lines):
        key = tuple(getattr(line, field.name) for field in fields(line) if field.name not in values)
        if key in seen:
            raise UserError(f"{path}, line {number + 2}: says again what line {seen[key]} says; {remedy}")
        seen[key] = number + 2
