"""RWalk, Riemannian walk (Chaudhry et al. 2018): a quadratic penalty weighted by a running Fisher diagonal and a path
score."""

from __future__ import annotations

from lifelong.params.methods import Method, MethodOptions, PenaltyStep, Stage
from lifelong.params.sections import Count, NotNegative, Positive, Share


class RwalkOptions(MethodOptions):
    """Riemannian walk."""

    strength: NotNegative  # lambda in lambda * sum((Fisher + score) * (W - W_old)^2), both brought to a maximum of 1
    keep: Share = 0.9  # of the running Fisher at each step
    interval: Count = 50  # steps whose path is scored together
    damping: Positive = 1e-3  # epsilon in the score's denominator
    penalty_step: PenaltyStep = "gradient"


METHODS = {"rwalk": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), RwalkOptions)}
