"""PLOP (Douillard et al. 2021; reading M30): class-incremental segmentation by pseudo-labels and distillation of pooled
features, alone or under Split2MetaFusion's slow and fast model.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.methods.split2meta import NspSpace
from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import Count, NotNegative, Positive


class PlopOptions(MethodOptions):
    """What learns labels of every pixel."""

    later_rate: Positive = 0.1  # learning rate after the first task, as a multiple of the budget's
    later_epochs: Count | None = None  # after the first task; none: the budget's
    distillation: Literal["none", "plop"] = "plop"
    pod: NotNegative = 0.01  # of local POD on the features ...
    pod_logits: NotNegative = 5e-4  # ... and on the logits
    pod_scales: Annotated[list[Count], Field(min_length=1)] = [1, 2, 4]
    certainty: Positive = 1e-3  # least entropy under which a pseudo-label is taken; a class's median where that is larger
    fusion: Literal["none", "linear"] = "none"  # linear: Split2MetaFusion's slow and fast model, 1 - 1/t of the slow one
    null_space: NspSpace | None = None  # the slow model's updates are projected
    fast_epochs: Count | None = None

    @model_validator(mode="after")
    def _possible(self) -> PlopOptions:
        if (self.fusion == "linear") != (self.fast_epochs is not None):
            raise ValueError("'fast_epochs' goes with 'fusion: linear', and only with it")
        return self


def _skip_unwanted(options: PlopOptions, first: bool, last: bool) -> set[str]:
    """The first task has one model alone; after the last nothing is left to project for."""
    skipped = {"fast", "fuse"} if first or options.fusion == "none" else set()
    return skipped | ({"project"} if last or options.null_space is None else set())


METHODS = {
    "plop": Method(
        (
            Stage("slow", f"{__name__}.stages:slow", trains=True),
            Stage("fast", f"{__name__}.stages:fast", trains=True),
            Stage("fuse", f"{__name__}.stages:fuse"),
            Stage("project", f"{__name__}.stages:project"),
        ),
        PlopOptions,
        heads=("per-task",),
        networks=("dense-conv",),
        skipped=_skip_unwanted,
        adding=("project",),
        sequences=("dense",),
    )
}
