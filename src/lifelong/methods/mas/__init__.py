"""Memory aware synapses (Aljundi et al. 2018): a quadratic penalty weighted by how far each weight moves the outputs."""

from __future__ import annotations

from typing import Literal

from lifelong.params.methods import Method, MethodOptions, PenaltyStep, Stage
from lifelong.params.sections import Count, NotNegative


class MasOptions(MethodOptions):
    """Memory aware synapses."""

    strength: NotNegative  # lambda in lambda * sum(Omega * (W - W_old)^2); the released lambda is twice this
    sensitivity: Literal["exact", "released"] = "exact"  # each image's magnitude, or that of a batch's sum, reading B3
    sensitivity_batch: Count = 1000  # images a pass (released: 1000); the result of `exact` does not depend on it
    penalty_step: PenaltyStep = "gradient"


METHODS = {
    "mas": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("consolidate", f"{__name__}.stages:consolidate"),
        ),
        MasOptions,
    )
}
