"""Collectives: SKILL's agents, which learn the tasks of a sequence apart on one frozen backbone and share packets."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lifelong.params.backbones import Backbone
from lifelong.params.sections import Count, Name, NotNegative, Positive, Section
from lifelong.params.sequences import DataSets, TaskEntry, Tier
from lifelong.params.skill_reuse import Head2Toe, Reuse
from lifelong.runtime.errors import UserError, did_you_mean
from lifelong.runtime.places import RAW


class _Head(Section):
    """Adam at torch's defaults; the epoch with the best score is kept (reading S20)."""

    learning_rate: Positive = 0.001
    batch_size: Count = 32
    epochs: Count = 100
    patience: Count = 10  # stop after more than so many epochs without a better score
    selection: Literal["validation", "test"] = "validation"  # test: as released, a leak, reading S20


class LinearHead(_Head):
    """One linear layer with bias on the frozen features."""

    kind: Literal["linear"]


class BiasHead(_Head):
    """A linear layer and one bias for each channel behind every convolution, learnt together (Eq. 1)."""

    kind: Literal["beneficial-biases"]
    layout: Literal["channel", "released"] = "channel"  # released: bias index = flat position modulo channels, reading S1


HeadSettings = Annotated[LinearHead | BiasHead, Field(discriminator="kind")]


class Gmmc(Section):
    """Gaussian mixture classifier: k diagonal Gaussians a task (Eqs. 3, 4)."""

    kind: Literal["gmmc"]
    components: Count = 25
    covariance_floor: Positive = 1e-6  # scikit-learn's reg_covar, reading S3
    decision: Literal["component", "mixture"] = "component"  # the nearest component, or the likeliest task, reading S6


class Mahalanobis(Section):
    """Class means and one tied covariance (Eq. 5)."""

    kind: Literal["mahalanobis"]
    samples: Count = 5  # m shared images a class
    shrinkage: Literal["none", "ledoit-wolf"] | Annotated[float, Field(gt=0, le=1)] = "none"  # reading S4


Mapper = Annotated[Gmmc | Mahalanobis, Field(discriminator="kind")]


class Variant(Section):
    """One lightweight learner: which head and which task mapper it shares."""

    head: Name
    mapper: Name


class Collective(Section):
    """Agents that learn a sequence apart and share packets."""

    sequence: Name
    backbone: Name
    seeds: Count
    agents: Annotated[list[Count], Field(min_length=1)]  # numbers of agents whose banks are made and compared
    heads: dict[Name, HeadSettings]
    mappers: dict[Name, Mapper]
    variants: Annotated[dict[Name, Variant], Field(min_length=1)]
    reuse: Reuse | None = None
    head2toe: Head2Toe | None = None


class Skill(Section):
    """What the stages of collectives are given: their own settings and those of what they name."""

    backbones: dict[Name, Backbone] = {}
    tiers: dict[Name, Tier] = {}
    sequences: dict[Name, DataSets] = {}
    collectives: dict[Name, Collective] = {}
    mac_per_byte: NotNegative = 1000.0  # alpha: what sending one byte costs, in multiply-accumulates

    @model_validator(mode="after")
    def _names_known(self) -> Skill:
        for name, collective in self.collectives.items():
            where = f"collectives.{name}"
            _known(f"{where}.sequence", collective.sequence, self.sequences)
            _known(f"{where}.backbone", collective.backbone, self.backbones)
            for label, variant in collective.variants.items():
                _known(f"{where}.variants.{label}.head", variant.head, collective.heads)
                _known(f"{where}.variants.{label}.mapper", variant.mapper, collective.mappers)
            tasks = self.sequences[collective.sequence].tasks
            if collective.head2toe is not None:
                biased = {label: head for label, head in collective.heads.items() if head.kind == "beneficial-biases"}
                _known(f"{where}.head2toe.head", collective.head2toe.head, biased)
                _known(f"{where}.head2toe.mapper", collective.head2toe.mapper, collective.mappers)
            if collective.reuse is not None:
                _known(f"{where}.reuse.variant", collective.reuse.variant, collective.variants)
                requested = [*collective.reuse.pairs, *(n for t in collective.reuse.transfers for n in (t.old, t.new))]
                matches = [match for harvest in collective.reuse.harvests for match in harvest.matches]
                requested += [one.task for match in matches for one in (match.new, match.old)]
                for task in requested if tasks is not None else ():
                    _known(f"{where}.reuse", task, {entry.name: entry for entry in tasks or ()})
            if tasks is not None and max(collective.agents) > len(tasks):
                raise ValueError(f"{where}.agents: found {max(collective.agents)} agents for {len(tasks)} tasks")
        return self

    def collective(self, name: str) -> Collective:
        return _named(self.collectives, name, "collective")

    def tasks(self, sequence: str) -> tuple[TaskEntry, ...]:
        """The tasks of a sequence in order; those of a table are folders beside it, named after its rows."""
        result = self.sequences[sequence]
        if result.tasks is not None:
            return tuple(result.tasks)
        assert result.table is not None and result.rows is not None
        return tuple(TaskEntry(name=name, dataset=name) for name in list(_table(result.table))[: result.rows])

    def folders(self, learnt: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
        """Path and image size of the data sets that the tables of sequences in use name: folders beside the table.

        `learnt` are sequences that experiments learn.
        """
        result: dict[str, dict[str, Any]] = {}
        for name in sorted({*learnt, *(collective.sequence for collective in self.collectives.values())}):
            sequence = self.sequences.get(name)
            if sequence is not None and sequence.table is not None:
                beside, written = Path(sequence.table).parent, _table(sequence.table)
                for task in self.tasks(name):
                    folder = {"path": str(beside / written[task.name]), "image_size": sequence.image_size}
                    if result.setdefault(task.dataset, folder) != folder:
                        raise UserError(
                            f"sequences.{name}: another table's folder is called {task.dataset!r} too; rename it"
                        )
        return result


def _known(where: str, name: str, known: dict) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is unknown; {did_you_mean(name, known)}")


def _named(known: dict, name: str, what: str) -> Collective:
    if name not in known:
        raise UserError(f"params.yaml has no {what} {name!r}; {did_you_mean(name, known)}")
    result: Collective = known[name]
    return result


@cache
def _table(path: str) -> dict[str, str]:
    """The folders that a table names, by a name that may become a file's.

    Raises:
        UserError: it has no such column, or two rows come out as one name.
    """
    result: dict[str, str] = {}
    with open(table_file(path), newline="") as handle:
        for row in csv.DictReader(handle):
            if "task_name" not in row:
                raise UserError(f"{path}: has no column 'task_name'; found {', '.join(map(str, row))}")
            written = row["task_name"]
            name = re.sub(r"[^\w-]", "_", written)
            if name in result:
                raise UserError(f"{path}: {result[name]!r} and {written!r} both become {name!r}; rename one of the two")
            result[name] = written
    return result


def table_file(path: str) -> Path:
    """Where the table of a sequence lies.

    Raises:
        UserError: neither in data/raw nor in a directory of LIFELONG_DATA.
    """
    from lifelong.runtime.places import search_directories

    places = [RAW, *search_directories()]
    for place in places:
        if (place / path).is_file():
            return place / path
    raise UserError(
        f"no table {path!r} in {', '.join(map(str, places))}; put it there, or set LIFELONG_DATA to the directory that "
        "holds it"
    )
