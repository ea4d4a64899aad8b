"""Synaptic intelligence (Zenke et al. 2017): a quadratic penalty weighted by the path integral of the loss."""

from __future__ import annotations

from typing import Literal

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import NotNegative, Positive


class SiOptions(MethodOptions):
    """Synaptic intelligence."""

    strength: NotNegative = 0.1  # c in c * sum(importance * (W - W_old)^2)
    damping: Positive = 0.1  # xi in path integral / (distance^2 + xi)
    path: Literal["plain", "regularised", "product"] = "plain"  # which gradients the path integral is of, reading B4


METHODS = {"si": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), SiOptions)}
