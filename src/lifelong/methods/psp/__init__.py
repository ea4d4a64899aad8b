"""PSP, parameter superposition (Cheung et al. 2019): all tasks' networks lie in one, told apart by keys."""

from __future__ import annotations

from lifelong.params.methods import Method, Stage

METHODS = {
    "psp": Method(
        (Stage("learn", f"{__name__}.stages:learn", trains=True),),
        heads=("shared",),
        networks=("mlp",),
        network_of=f"{__name__}.stages:network_of",
    )
}
