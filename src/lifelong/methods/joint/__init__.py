"""Joint training on all tasks at once, which no lifelong learner may: the upper reference."""

from __future__ import annotations

from lifelong.params.methods import Method, Stage

METHODS = {"joint": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), joint=True)}
