"""Synaptic intelligence (Zenke et al. 2017): a quadratic penalty weighted by the path integral of the loss."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from lifelong.params.methods import Method, MethodOptions, PenaltyStep, Stage
from lifelong.params.sections import NotNegative, Positive


class SiOptions(MethodOptions):
    """Synaptic intelligence."""

    strength: NotNegative = 0.1  # c in c * sum(importance * (W - W_old)^2)
    damping: Positive = 0.1  # xi in path integral / (distance^2 + xi)
    path: Literal["plain", "regularised", "product"] = "plain"  # which gradients the path integral is of, reading B4
    penalty_step: PenaltyStep = "gradient"

    @model_validator(mode="after")
    def _possible(self) -> SiOptions:
        if self.penalty_step == "proximal" and self.path != "plain":
            raise ValueError("'penalty_step: proximal' has no gradient of the penalty; it goes with 'path: plain'")
        return self


METHODS = {"si": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), SiOptions)}
