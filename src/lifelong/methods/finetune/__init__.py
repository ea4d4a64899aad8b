"""Fine-tuning, the lower reference: plain SGD on one task after the other, with one head or a head a task; or features
frozen after the first task (SGD-F)."""

from __future__ import annotations

from lifelong.params.methods import Method, Stage

METHODS = {
    "sgd": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), heads=("shared", "all-classes")),
    "finetune": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), heads=("per-task",)),
    "sgd-f": Method((Stage("learn", f"{__name__}.stages:learn_behind_frozen_features", trains=True),)),
}
