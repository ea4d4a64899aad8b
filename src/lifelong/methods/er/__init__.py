"""Experience replay (Chaudhry et al. 2019): every mini-batch is joined by as many images drawn from the memory."""

from __future__ import annotations

from lifelong.params.methods import OVER_TASKS, REMEMBER, Method, RehearsalOptions, Stage

METHODS = {
    "er": Method((Stage("learn", f"{__name__}.stages:learn", trains=True), REMEMBER), RehearsalOptions, heads=OVER_TASKS)
}
