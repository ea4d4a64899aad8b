"""SupSup, supermasks in superposition (Wortsman et al. 2020): one random network that never learns, and a mask a task."""

from __future__ import annotations

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import Fraction


class SupSupOptions(MethodOptions):
    """Supermasks in superposition."""

    kept: Fraction = 0.5  # of each layer's random weights, by the largest scores of a task


METHODS = {
    "supsup": Method(
        (Stage("learn", f"{__name__}.stages:learn", trains=True),),
        SupSupOptions,
        heads=("shared",),
        networks=("mlp",),
        network_of=f"{__name__}.stages:network_of",
    )
}
