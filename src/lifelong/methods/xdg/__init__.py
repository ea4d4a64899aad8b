"""Context-dependent gating (Masse et al. 2018): each task closes a random share of the hidden units."""

from __future__ import annotations

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import Fraction


class XdgOptions(MethodOptions):
    """Context-dependent gating."""

    fraction_off: Fraction  # of each hidden layer's units, closed while a task is learnt or asked about


METHODS = {"xdg": Method((Stage("learn", f"{__name__}.stages:learn", trains=True),), XdgOptions, networks=("mlp",))}
