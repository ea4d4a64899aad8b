"""ARI, anti-retroactive interference: background attack, task-specific models, adaptive fusion, a small exemplar memory.

iTAML is the same without attack and with plain averaging."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lifelong.params.methods import REMEMBER, Method, RehearsalOptions, Stage
from lifelong.params.sections import Count, NotNegative, Positive


class AriOptions(RehearsalOptions):
    """ARI, anti-retroactive interference: task-specific models, their fusion, the background attack (reading A21)."""

    fusion: Literal["paper", "intent", "literal", "average"] = "paper"
    rate: Literal["constant", "exponential"] = (
        "constant"  # what is taken of the fused model: gamma, or exp(-beta * session / tasks), A7
    )
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    beta: NotNegative = 1.0
    distance: Literal["relative", "mean", "raw"] = "relative"  # fusion paper: what the softmax is of, A4
    granularity: Literal["model", "tensor"] = "model"  # fusion paper: one weight a model, or one a tensor, A5
    regulariser: NotNegative = 0.0  # coefficient of Eq. 7's distances, A2; released: none
    attack: Literal["none", "one-minus", "one-minus-square", "reciprocal"] = "one-minus-square"  # mask B of Eq. 1
    epsilon: Positive = 8 / 255  # in units of images in [0, 1]
    perturbation: Literal["paper", "released"] = "paper"  # released: random start, clamped to epsilon, A11, A12
    updates: Literal["clean-then-attacked", "attacked-only"] = "clean-then-attacked"  # attacked-only: Algorithm 1, A8
    attack_model: Literal["updated", "base"] = "updated"  # after the clean update (released), or before, all tasks at once
    statistics: Literal["training", "released"] = "training"  # released: the attack's own pass moves batch statistics too
    meta_epochs: Annotated[int, Field(ge=0)] = 0  # of a lasting pass over the memory behind each task, A10
    adapt_epochs: Count = 1
    adapt_rate: Positive = 1e-3
    adapt_batch: Count = 64


class ItamlOptions(AriOptions):
    """iTAML: ARI without attack and with plain averaging."""

    fusion: Literal["paper", "intent", "literal", "average"] = "average"
    rate: Literal["constant", "exponential"] = "exponential"
    attack: Literal["none"] = "none"


def _skip_unwanted(options: AriOptions, first: bool, last: bool) -> set[str]:
    """Training on the memory is an option."""
    return set() if options.meta_epochs else {"metatrain"}


_SHARED: dict[str, Any] = {"heads": ("all-classes",), "skipped": _skip_unwanted}
_STAGES = (
    Stage("learn", f"{__name__}.stages:learn", trains=True),
    Stage("metatrain", f"{__name__}.stages:metatrain", trains=True),
    REMEMBER,
    Stage("adapt", f"{__name__}.stages:adapt"),
)

METHODS = {
    "ari": Method(_STAGES, AriOptions, networks=("attention-mlp", "attention-resnet18"), **_SHARED),
    "itaml": Method(_STAGES, ItamlOptions, **_SHARED),
}
