"""Learning without forgetting (Li and Hoiem 2016): distillation of the old network on the new images."""

from __future__ import annotations

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import NotNegative, Positive


class LwfOptions(MethodOptions):
    """Learning without forgetting."""

    strength: NotNegative  # lambda in lambda * T^2 * distillation, summed over the old heads
    temperature: Positive = 2.0  # T, by which the logits of old and new network are divided


METHODS = {"lwf": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), LwfOptions)}
