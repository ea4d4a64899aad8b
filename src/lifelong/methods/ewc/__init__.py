"""Elastic weight consolidation (Kirkpatrick et al. 2017) and its online form (Schwarz et al. 2018): a quadratic penalty
weighted by the diagonal of the Fisher information."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.params.methods import Method, MethodOptions, PenaltyStep, Stage
from lifelong.params.sections import Count, NotNegative


class EwcOptions(MethodOptions):
    """Elastic weight consolidation."""

    strength: NotNegative  # lambda in lambda/2 * sum(Fisher * (W - W_old)^2)
    fisher: Literal["exact", "first-sample"] = "exact"  # first-sample: as released, reading B1
    fisher_batch: Count = 500  # images a pass of the exact diagonal; changes memory and speed, not the result
    sample_batch: Count | None = None  # first-sample: of so many images the first alone is used (released: 1000)
    penalty_step: PenaltyStep = "gradient"

    @model_validator(mode="after")
    def _possible(self) -> EwcOptions:
        if (self.fisher == "first-sample") != (self.sample_batch is not None):
            raise ValueError("'sample_batch' goes with 'fisher: first-sample', and only with it")
        return self


class EwcOnlineOptions(MethodOptions):
    """Online elastic weight consolidation."""

    strength: NotNegative  # lambda in lambda/2 * sum(Fisher * (W - W_old)^2)
    gamma: Annotated[float, Field(ge=0, le=1)]  # what is kept of the running Fisher at each new task; 1: all, as in ewc
    fisher_batch: Count = 500  # images a pass; changes memory and speed, not the result
    penalty_step: PenaltyStep = "gradient"


METHODS = {
    "ewc": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("consolidate", f"{__name__}.stages:consolidate"),
        ),
        EwcOptions,
    ),
    "ewc-online": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("consolidate", f"{__name__}.stages:consolidate_online"),
        ),
        EwcOnlineOptions,
    ),
}
