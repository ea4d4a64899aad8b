"""Class-incremental segmentation: images with annotations, the order in which classes come, and what learns them."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.config.sections import Count, Name, NotNegative, Positive, Section, Seed
from lifelong.config.split2meta import NspSpace
from lifelong.errors import did_you_mean

SEGMENTATION_STAGES = {
    "slow": "Learn the classes of one step.",
    "fast": "Go on for a few epochs without projection.",
    "fuse": "Make one model of the slow and the fast one.",
    "project": "Find the input directions that the steps so far do not use.",
}


class SegmentationData(Section):
    """Images with annotations, a directory or a tar."""

    path: str
    # camvid: <split>/<name>.jpg and <split>annot/<name>.png, classes from 0, no background; voc: JPEGImages,
    # SegmentationClassAug or SegmentationClass, ImageSets/Segmentation/{train_aug or train,val}.txt, 0 the background.
    layout: Literal["camvid", "voc"]
    classes: Count  # without the background; other values of an annotation are void
    height: Count  # pixels, to which images and annotations are resized
    width: Count


class SegmentationSteps(Section):
    """Classes that come in order: `first` of them, then `each` in every later step (15-1: 15 and 1)."""

    data: Name
    first: Count
    each: Count

    def sizes(self, classes: int) -> list[int]:
        """How many classes each step brings."""
        later, rest = divmod(classes - self.first, self.each)
        return [self.first, *[self.each] * later, *([rest] if rest else [])]


class SegmentationLearner(Section):
    """What learns a sequence of steps; distillation is PLOP's (Douillard et al. 2021; dossier 4.1)."""

    steps: Name
    widths: Annotated[list[Count], Field(min_length=2)]  # of the network's convolutions; the first two halve the size
    training: Name
    later_rate: Positive = 0.1  # learning rate after the first step, as a multiple of the budget's
    later_epochs: Count | None = None  # after the first step; none: the budget's
    distillation: Literal["none", "plop"] = "plop"
    pod: NotNegative = 0.01  # of local POD on the features ...
    pod_logits: NotNegative = 5e-4  # ... and on the logits
    pod_scales: Annotated[list[Count], Field(min_length=1)] = [1, 2, 4]
    certainty: Positive = 1e-3  # least entropy under which a pseudo-label is taken; a class's median where that is larger
    fusion: Literal["none", "linear"] = "none"  # linear: Split2MetaFusion's slow and fast model, 1 - 1/t of the slow one
    null_space: NspSpace | None = None  # the slow model's updates are projected
    fast_epochs: Count | None = None
    seeds: Count | list[Seed] = 1

    @model_validator(mode="after")
    def _possible(self) -> SegmentationLearner:
        if (self.fusion == "linear") != (self.fast_epochs is not None):
            raise ValueError("'fast_epochs' goes with 'fusion: linear', and only with it")
        return self

    def all_seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)

    def stages(self, step: int, steps: int) -> tuple[str, ...]:
        """The stages of one step: the first has one model alone, after the last nothing is left to project for."""
        found = ["slow"]
        if self.fusion == "linear" and step:
            found += ["fast", "fuse"]
        if self.null_space is not None and step < steps - 1:
            found.append("project")
        return tuple(found)


class Segmentation(Section):
    """The part of params.yaml on segmentation."""

    data: dict[Name, SegmentationData] = {}
    steps: dict[Name, SegmentationSteps] = {}
    learners: dict[Name, SegmentationLearner] = {}

    def faults(self, budgets: Container[str]) -> list[str]:
        """What does not fit together, each with its key."""
        found = []
        for name, steps in self.steps.items():
            at = f"segmentation.steps.{name}"
            if steps.data not in self.data:
                found.append(f"{at}.data: {steps.data!r} is unknown; {did_you_mean(steps.data, self.data)}")
            elif steps.first >= self.data[steps.data].classes:
                found.append(
                    f"{at}.first: found {steps.first}; expected fewer than all {self.data[steps.data].classes} classes"
                )
        for name, learner in self.learners.items():
            at = f"segmentation.learners.{name}"
            if learner.steps not in self.steps:
                found.append(f"{at}.steps: {learner.steps!r} is unknown; {did_you_mean(learner.steps, self.steps)}")
            if learner.training not in budgets:
                found.append(f"{at}.training: {learner.training!r} is unknown")
        return found
