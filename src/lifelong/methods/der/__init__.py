"""Dark experience replay ++ (Buzzega et al. 2020): replayed images keep their labels and the logits they had."""

from __future__ import annotations

from lifelong.params.methods import Method, RehearsalOptions, Stage
from lifelong.params.sections import NotNegative


class DerOptions(RehearsalOptions):
    """DER++; without `beta` DER."""

    alpha: NotNegative = 0.5  # of the squared distance to the logits kept
    beta: NotNegative = 0.5  # of the cross-entropy of the labels kept


METHODS = {
    "der++": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("remember", f"{__name__}.stages:remember"),
        ),
        DerOptions,
        heads=("all-classes", "shared"),
    )
}
