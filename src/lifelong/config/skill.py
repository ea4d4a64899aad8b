"""The SKILL part of params.yaml: frozen backbones, sequences of data sets, and collectives of agents that learn them."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lifelong.config.sections import Count, Fraction, Name, NotNegative, Positive, Section, Seed
from lifelong.config.skill_baselines import Baselines
from lifelong.config.skill_reuse import Head2Toe, Reuse
from lifelong.errors import UserError, did_you_mean
from lifelong.layout import RAW

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Channels3 = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Input(Section):
    """What a backbone wants to see, and how its features are kept."""

    image_size: Count  # pixels, height and width
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0  # the shorter side is resized to image_size / crop, the centre cut out
    mean: Channels3 = [0.5, 0.5, 0.5]  # of pixels in 0..1
    deviation: Channels3 = [0.5, 0.5, 0.5]
    features: Literal["float16", "float32"] = "float32"


class RandomBackbone(_Input):
    """A small random network for tests and the demo: strided convolutions, then depthwise and pointwise ones."""

    kind: Literal["random"]
    widths: Annotated[list[Count], Field(min_length=1)]
    seed: Seed = 0


class PackageBackbone(_Input):
    """A timm model whose weights come inside a Python package, tensor for tensor in the model's own order."""

    kind: Literal["package"]
    model: str
    package: str  # the importable package
    file: str  # path below the package
    sha256: Digest


class FileBackbone(_Input):
    """A timm model with weights from a published file: in data/raw or LIFELONG_DATA, else downloaded and checked."""

    kind: Literal["file"]
    model: str
    url: str
    sha256_prefix: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]  # torch publishes the first digits in the file's name


Backbone = Annotated[RandomBackbone | PackageBackbone | FileBackbone, Field(discriminator="kind")]


class Tier(Section):
    """How much of each data set is used; the choice is by class and seeded, so a smaller tier is part of a larger one."""

    classes: Count | None = None  # at most so many of a data set's classes
    train: Count | None = None  # round(train / classes) images a class, dossier 0.2 item 9
    test: Count | None = None
    train_per_class: Count | None = None
    test_per_class: Count | None = None
    seed: Seed = 0


class TaskEntry(Section):
    """One task: a data set, or some of its classes by number or name."""

    name: Name
    dataset: Name
    classes: Annotated[list[int], Field(min_length=2)] | Annotated[list[str], Field(min_length=2)] | None = None


class Sequence(Section):
    """Tasks in the order in which they are met: listed, or the rows of a table over a directory of image folders."""

    tier: Name
    validation: Fraction = 0.15  # of each class's training images, for choices
    validation_seed: Seed = 0
    tasks: Annotated[list[TaskEntry], Field(min_length=1)] | None = None
    table: str | None = None  # CSV with a column task_name, looked for in data/raw and LIFELONG_DATA
    rows: Count | None = None  # the first so many
    image_size: Count | None = None  # pixels to which the images of the table's folders are decoded

    @model_validator(mode="after")
    def _one_kind(self) -> Sequence:
        if (self.tasks is None) == (self.table is None):
            raise ValueError("give exactly one of 'tasks' (a list) and 'table' (a CSV file)")
        if (self.table is None) != (self.rows is None) or (self.table is None) != (self.image_size is None):
            raise ValueError("'rows' and 'image_size' go with 'table', and only with it")
        if self.tasks is not None and len({task.name for task in self.tasks}) < len(self.tasks):
            raise ValueError("two tasks have one name; names tell tasks apart in packets and banks")
        return self


class _Head(Section):
    """Adam at torch's defaults; the epoch with the best score is kept (dossier 2.1)."""

    learning_rate: Positive = 0.001
    batch_size: Count = 32
    epochs: Count = 100
    patience: Count = 10  # stop after more than so many epochs without a better score
    selection: Literal["validation", "test"] = "validation"  # test: as released, a leak, dossier 2.1


class LinearHead(_Head):
    """One linear layer with bias on the frozen features."""

    kind: Literal["linear"]


class BiasHead(_Head):
    """A linear layer and one bias for each channel behind every convolution, learnt together (Eq. 1)."""

    kind: Literal["beneficial-biases"]
    layout: Literal["channel", "released"] = "channel"  # released: bias index = flat position modulo channels, dossier S1


HeadSettings = Annotated[LinearHead | BiasHead, Field(discriminator="kind")]


class Gmmc(Section):
    """Gaussian mixture classifier: k diagonal Gaussians a task (Eqs. 3, 4)."""

    kind: Literal["gmmc"]
    components: Count = 25
    covariance_floor: Positive = 1e-6  # scikit-learn's reg_covar, dossier S3
    decision: Literal["component", "mixture"] = "component"  # the nearest component, or the likeliest task, dossier S6


class Mahalanobis(Section):
    """Class means and one tied covariance (Eq. 5)."""

    kind: Literal["mahalanobis"]
    samples: Count = 5  # m shared images a class
    shrinkage: Literal["none", "ledoit-wolf"] | Annotated[float, Field(gt=0, le=1)] = "none"  # dossier S4


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
    baselines: Baselines | None = None  # what learners of one network, one task after the other, make of the same tasks


class TrainedBackbone(Section):
    """The network of baselines that train the whole backbone."""

    kind: Literal["backbone"] = "backbone"
    name: Name
    backbone: Backbone


class Skill(Section):
    """All of `skill:` in params.yaml."""

    backbones: dict[Name, Backbone] = {}
    tiers: dict[Name, Tier] = {}
    sequences: dict[Name, Sequence] = {}
    collectives: dict[Name, Collective] = {}
    mac_per_byte: NotNegative = 1000.0  # alpha: what sending one byte costs, in multiply-accumulates

    @model_validator(mode="after")
    def _names_known(self) -> Skill:
        for name, sequence in self.sequences.items():
            _known(f"sequences.{name}.tier", sequence.tier, self.tiers)
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
                wanted = [*collective.reuse.pairs, *(n for t in collective.reuse.transfers for n in (t.old, t.new))]
                matches = [match for harvest in collective.reuse.harvests for match in harvest.matches]
                wanted += [one.task for match in matches for one in (match.new, match.old)]
                for task in wanted if tasks is not None else ():
                    _known(f"{where}.reuse", task, {entry.name: entry for entry in tasks or ()})
            if tasks is not None and max(collective.agents) > len(tasks):
                raise ValueError(f"{where}.agents: found {max(collective.agents)} agents for {len(tasks)} tasks")
        return self

    def collective(self, name: str) -> Collective:
        return _named(self.collectives, name, "collective")

    def tasks(self, sequence: str) -> tuple[TaskEntry, ...]:
        """The tasks of a sequence in order; those of a table are folders beside it, named after its rows."""
        found = self.sequences[sequence]
        if found.tasks is not None:
            return tuple(found.tasks)
        assert found.table is not None and found.rows is not None
        return tuple(TaskEntry(name=name, dataset=name) for name in list(_table(found.table))[: found.rows])

    def folders(self) -> dict[str, dict[str, Any]]:
        """Path and image size of the data sets that the tables of sequences in use name: folders beside the table."""
        found: dict[str, dict[str, Any]] = {}
        for name in sorted({collective.sequence for collective in self.collectives.values()}):
            sequence = self.sequences[name]
            if sequence.table is not None:
                beside, written = Path(sequence.table).parent, _table(sequence.table)
                for task in self.tasks(name):
                    found[task.dataset] = {"path": str(beside / written[task.name]), "image_size": sequence.image_size}
        return found

    def faults(self, datasets: set[str]) -> list[str]:
        """Data sets that sequences name and nobody defines."""
        return [
            f"skill.sequences.{name}.tasks.{task.name}.dataset: {task.dataset!r} is unknown; "
            f"{did_you_mean(task.dataset, datasets)}"
            for name, sequence in self.sequences.items()
            for task in sequence.tasks or ()
            if task.dataset not in datasets
        ]


def _known(where: str, name: str, known: dict) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is unknown; {did_you_mean(name, known)}")


def _named(known: dict, name: str, what: str) -> Collective:
    if name not in known:
        raise UserError(f"params.yaml has no {what} {name!r}; {did_you_mean(name, known)}")
    found: Collective = known[name]
    return found


@cache
def _table(path: str) -> dict[str, str]:
    """The folders that a table names, by a name that may become a file's."""
    with open(table_file(path), newline="") as handle:
        return {re.sub(r"[^\w-]", "_", row["task_name"]): row["task_name"] for row in csv.DictReader(handle)}


def table_file(path: str) -> Path:
    """Where the table of a sequence lies.

    Raises:
        UserError: neither in data/raw nor in a directory of LIFELONG_DATA.
    """
    from lifelong.data.catalog import search_directories

    places = [RAW, *search_directories()]
    for place in places:
        if (place / path).is_file():
            return place / path
    raise UserError(
        f"no table {path!r} in {', '.join(map(str, places))}; put it there, or set LIFELONG_DATA to the directory that "
        "holds it"
    )
