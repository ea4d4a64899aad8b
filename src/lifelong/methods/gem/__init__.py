"""Gradient episodic memory (Lopez-Paz and Ranzato 2017) and A-GEM (Chaudhry et al. 2019): no step may raise the loss on
exemplars of earlier tasks."""

from __future__ import annotations

from lifelong.params.methods import OVER_TASKS, REMEMBER, Method, RehearsalOptions, Stage
from lifelong.params.sections import Count, NotNegative


class GemOptions(RehearsalOptions):
    """GEM, gradient episodic memory."""

    margin: NotNegative = 0.5  # lower bound on the multipliers, the released memory strength


class AgemOptions(RehearsalOptions):
    """A-GEM, averaged gradient episodic memory."""

    reference_batch: Count = 256  # images a reference gradient


METHODS = {
    "gem": Method((Stage("learn", f"{__name__}.gem:learn", trains=True), REMEMBER), GemOptions, heads=OVER_TASKS),
    "agem": Method((Stage("learn", f"{__name__}.agem:learn", trains=True), REMEMBER), AgemOptions, heads=OVER_TASKS),
}
