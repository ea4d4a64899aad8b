"""Learners that SKILL's agents are held against: one network, one task after the other, on the same frozen features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.config.sections import Count, Fraction, Name, Positive, Section

HeadKind = Literal["per-task", "shared", "all-classes"]


class PspOptions(Section):
    """Parameter superposition has no options: its keys are drawn by seed."""


class SupSupOptions(Section):
    """Supermasks in superposition."""

    kept: Fraction = 0.5  # of each layer's random weights, by the largest scores of a task


class ReplayOptions(Section):
    """Experience replay with a memory that grows."""

    per_class: Count = 10  # images kept of each class for good, dossier 2.4


class Baseline(Section):
    """One learner. A grid's options are chosen on the validation split of the first tasks, with the task told."""

    method: str
    heads: HeadKind | None = None  # none: the method's usual one
    options: dict[str, object] = {}
    grid: dict[str, Annotated[list[object], Field(min_length=1)]] = {}


class Baselines(Section):
    """One network and one budget for all learners (dossier 2.4: unknown in the paper, so shared and published here)."""

    network: Literal["perceptron", "backbone"] = "perceptron"  # on the frozen features, or the whole backbone learns
    hidden: list[Count] = []  # widths of the perceptron
    learning_rate: Positive = 0.001  # of Adam
    batch_size: Count = 32
    epochs: Count = 30
    tuning_tasks: Count = 5  # on so many first tasks a grid's options are compared
    learners: Annotated[dict[Name, Baseline], Field(min_length=1)]

    @model_validator(mode="after")
    def _possible(self) -> Baselines:
        if (self.network == "perceptron") != bool(self.hidden):
            raise ValueError("'hidden' (one width or more) goes with 'network: perceptron', and only with it")
        return self
