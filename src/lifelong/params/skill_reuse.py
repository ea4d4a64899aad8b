"""What a collective tries with heads that its agents have learnt already (SKILL, Sec. 7)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lifelong.params.sections import Count, Fraction, Name, Positive, Section


class Transfer(Section):
    """Two tasks whose classes have similar names: the new one starts from rows of the old one's head."""

    old: Name
    new: Name


class ClassOf(Section):
    """A class of a task, by the task's name and the class's own, up to its first comma."""

    task: Name
    label: str


class Match(Section):
    """A new class and the similar, not identical, old one from whose row it starts."""

    new: ClassOf
    old: ClassOf


class Harvest(Section):
    """A new task of some classes, each from a similar class that some agent has learnt (Fig. 12)."""

    name: Name
    matches: Annotated[list[Match], Field(min_length=2)]


class Head2Toe(Section):
    """A head that sees inner maps too, those with the largest beneficial biases (Sec. 7.3, reading S17)."""

    head: Name  # whose biases choose
    mapper: Name  # that names the task where it is not told
    share: Fraction = 0.01  # of all channels
    width: Count = 8192  # about so many numbers besides the pooled features
    learning_rate: Positive = 0.001
    batch_size: Count = 32
    epochs: Count = 100
    patience: Count = 10


class Reuse(Section):
    """What is tried with heads that are there already (Sec. 7)."""

    variant: Name  # whose packets and mapper the correction by names uses
    pairs: Annotated[list[Name], Field(min_length=2)]  # tasks of which every two are learnt as one (Fig. 11)
    transfers: list[Transfer] = []  # Tab. 3
    harvests: list[Harvest] = []  # Fig. 12
    shots: list[Count] = [10, 5, 3]  # images a class, beside all of them
    similarity: Annotated[float, Field(gt=0, lt=1)] = 0.8  # above which names count as similar
    epochs: Count = 30
    learning_rate: Positive = 0.001
    batch_size: Count = 32
