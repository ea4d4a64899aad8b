"""iCaRL (Rebuffi et al. 2017): distillation over a memory chosen by herding, and the nearest mean of exemplars."""

from __future__ import annotations

from typing import Literal

from lifelong.params.methods import Method, RehearsalOptions, Stage


class IcarlOptions(RehearsalOptions):
    """iCaRL."""

    selection: Literal["first", "herding", "random"] = "herding"


METHODS = {
    "icarl": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("remember", f"{__name__}.stages:remember"),
        ),
        IcarlOptions,
        heads=("all-classes",),
    )
}
