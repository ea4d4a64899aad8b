"""Hard attention to the task (Serra et al. 2018): each task learns which hidden units it attends to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import NotNegative, Positive


class HatOptions(MethodOptions):
    """Hard attention to the task."""

    strength: NotNegative = 0.75  # lambda of the share of free units that a task attends to
    scale_max: Annotated[float, Field(gt=1)] = 400.0  # s_max: gates are sigmoid(s * embedding), s from 1/s_max to s_max
    embedding_bound: Positive = 6.0  # embeddings are kept within +- this


METHODS = {
    "hat": Method(
        (Stage("learn", f"{__name__}.stages:learn", trains=True),), HatOptions, heads=("per-task",), networks=("mlp",)
    )
}
