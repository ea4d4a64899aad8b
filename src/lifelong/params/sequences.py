"""Sequences of tasks one can name in params.yaml, by `kind`: what each task is made of, in the order in which they come."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.params.sections import Count, Fraction, Name, Section, Seed

CLASSES_OF_BUILT_IN = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "cifar100": 100}
TRAINING_IMAGES_OF_BUILT_IN = {"digits": 1348, "mnist": 60000, "fashion-mnist": 60000, "cifar10": 50000, "cifar100": 50000}
SHAPES_OF_BUILT_IN = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
}
"""[channels, height, width]."""


class Validation(Section):
    """Which training images are kept apart for choices: the first `first` of the data set, or a seeded share a class."""

    first: Count | None = None
    fraction: Fraction | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_rule(self) -> Validation:
        if (self.first is None) == (self.fraction is None):
            raise ValueError("give exactly one of 'first' (a count) and 'fraction' (a share of each class)")
        return self


class _OfOneDataSet(Section):
    """Tasks cut from one data set."""

    dataset: Name
    backgrounds: Literal["shared", "distinct"] | None = None  # synthetic ones behind the images, see data/backgrounds
    validation: Validation

    @property
    def datasets(self) -> list[str]:
        """The data sets of all tasks, each once."""
        return [self.dataset]


class Split(_OfOneDataSet):
    """The classes of a data set, some in each task: as many in each, `first` and then `each`, or explicit `sizes`."""

    kind: Literal["split"]
    tasks: Count | None = None
    classes_per_task: Count | None = None
    first: Count | None = None
    each: Count | None = None
    sizes: Annotated[list[Count], Field(min_length=1)] | None = None
    class_order_seed: Seed | None = None  # none: the data set's own order

    @model_validator(mode="after")
    def _possible(self) -> Split:
        ways = {
            "'tasks' and 'classes_per_task'": (self.tasks, self.classes_per_task),
            "'tasks', 'first' and 'each'": (self.tasks, self.first, self.each),
            "'sizes'": (self.sizes,),
        }
        given = {k for k in ("tasks", "classes_per_task", "first", "each", "sizes") if getattr(self, k) is not None}
        if sum(all(value is not None for value in values) for values in ways.values()) != 1 or given not in (
            {"tasks", "classes_per_task"},
            {"tasks", "first", "each"},
            {"sizes"},
        ):
            result = ", ".join(sorted(given)) or "none of them"
            raise ValueError(f"a split sequence needs {', or '.join(ways)}; found {result}")
        known, count = CLASSES_OF_BUILT_IN.get(self.dataset), sum(self.task_sizes())
        if known is not None and count > known:
            sizes = self.task_sizes()
            tasks = f"{len(sizes)} tasks of {sizes[0]}" if len(set(sizes)) == 1 else f"tasks of {sizes}"
            raise ValueError(f"{tasks} classes need {count}; {self.dataset} has {known}; give fewer or smaller tasks")
        return self

    def task_sizes(self) -> list[int]:
        """How many classes each task has."""
        if self.sizes is not None:
            return list(self.sizes)
        if self.classes_per_task is not None:
            return [self.classes_per_task] * (self.tasks or 0)
        return [self.first or 0, *[self.each or 0] * ((self.tasks or 1) - 1)]

    @property
    def count(self) -> int:
        return len(self.task_sizes())


class Permuted(_OfOneDataSet):
    """Every task is the whole data set, its pixels in an order of the task's own."""

    kind: Literal["permuted"]
    tasks: Count
    permutation: Literal["released", "numpy"]
    permutation_seed: Seed | None = None

    @model_validator(mode="after")
    def _possible(self) -> Permuted:
        if (self.permutation == "numpy") != (self.permutation_seed is not None):
            raise ValueError("'permutation_seed' goes with 'permutation: numpy', and only with it")
        return self

    @property
    def count(self) -> int:
        return self.tasks


class Repeated(_OfOneDataSet):
    """Every task is the whole data set as it is, as rounds of one procedure."""

    kind: Literal["repeated"]
    tasks: Count

    @property
    def count(self) -> int:
        return self.tasks


WHOLE = "all"
"""The tier that is all of a data set, which needs no definition."""


class Tier(Section):
    """How much of each data set is used; the choice is by class and seeded, so a smaller tier is part of a larger one."""

    classes: Count | None = None  # at most so many of a data set's classes
    train: Count | None = None  # round(train / classes) images a class, reading S23
    test: Count | None = None
    train_per_class: Count | None = None
    test_per_class: Count | None = None
    seed: Seed = 0


class TaskEntry(Section):
    """One task: a data set, or some of its classes by number or name."""

    name: Name
    dataset: Name
    classes: Annotated[list[int], Field(min_length=2)] | Annotated[list[str], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> TaskEntry:
        twice = [one for number, one in enumerate(self.classes or ()) if one in (self.classes or [])[:number]]
        if twice:
            raise ValueError(f"class {twice[0]!r} is listed twice; it is one class of the task")
        return self


class DataSets(Section):
    """Each task another data set or other classes of one: listed, or the rows of a table over a directory of folders."""

    kind: Literal["data-sets"]
    tier: Name
    validation: Fraction = 0.15  # of each class's training images, for choices
    validation_seed: Seed = 0
    # [channels, height, width] that all images are brought to, for networks that take no other size by themselves
    shape: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = None
    tasks: Annotated[list[TaskEntry], Field(min_length=1)] | None = None
    table: str | None = None  # CSV with a column task_name, looked for in data/raw and LIFELONG_DATA
    rows: Count | None = None  # the first so many
    image_size: Count | None = None  # pixels to which the images of the table's folders are decoded

    @model_validator(mode="after")
    def _one_kind(self) -> DataSets:
        if (self.tasks is None) == (self.table is None):
            raise ValueError("give exactly one of 'tasks' (a list) and 'table' (a CSV file)")
        if (self.table is None) != (self.rows is None) or (self.table is None) != (self.image_size is None):
            raise ValueError("'rows' and 'image_size' go with 'table', and only with it")
        if self.tasks is not None and len({task.name for task in self.tasks}) < len(self.tasks):
            raise ValueError("two tasks have one name; names tell tasks apart in packets and banks")
        return self

    @property
    def count(self) -> int:
        return len(self.tasks) if self.tasks is not None else self.rows or 0

    @property
    def datasets(self) -> list[str]:
        """The data sets of listed tasks, each once."""
        return list(dict.fromkeys(task.dataset for task in self.tasks or ()))


class Dense(Section):
    """A label a pixel: classes that come in order, `first` of them and then `each`, or explicit `sizes` (15-1: 15 and 1)."""

    kind: Literal["dense"]
    dataset: Name
    tasks: Count | None = None
    first: Count | None = None
    each: Count | None = None
    sizes: Annotated[list[Count], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Dense:
        if (self.sizes is None) != (None not in (self.tasks, self.first, self.each)) or (
            self.sizes is not None and {self.tasks, self.first, self.each} != {None}
        ):
            raise ValueError("a dense sequence needs 'tasks', 'first' and 'each', or 'sizes'")
        return self

    def task_sizes(self) -> list[int]:
        """How many classes each task brings, the background not counted."""
        if self.sizes is not None:
            return list(self.sizes)
        return [self.first or 0, *[self.each or 0] * ((self.tasks or 1) - 1)]

    @property
    def count(self) -> int:
        return len(self.task_sizes())

    @property
    def datasets(self) -> list[str]:
        return [self.dataset]


Sequence = Annotated[Split | Permuted | Repeated | DataSets | Dense, Field(discriminator="kind")]
OneDataSet = Split | Permuted | Repeated
