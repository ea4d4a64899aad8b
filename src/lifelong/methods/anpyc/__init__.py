"""ANPyC, adversarial neural pruning and synaptic consolidation, its use for compression (Table IV), and its importance
beside the measured effect of removing weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.params.methods import Method, MethodOptions, PenaltyStep, Stage
from lifelong.params.sections import Count, Fraction, NotNegative


class AnpycOptions(MethodOptions):
    """Adversarial neural pruning and synaptic consolidation."""

    strength: NotNegative  # lambda in lambda * sum(importance * (W - W_old)^2), reading N1
    first_order: Literal["plus", "minus", "absolute"] = "plus"  # sign of g*W, reading N4
    clamp: Literal["batch", "total"] = "batch"  # where what is below 0 is cut off, reading N32
    # What stands for the Hessian's diagonal, reading N5.
    curvature: Literal["batch-sum", "per-sample", "fisher"] = "batch-sum"
    importance_batch: Count = 100  # the first-order term grows with it, the second with its square, reading N5
    measure: Literal["entropy", "sensitivity"] = "entropy"  # sensitivity: MAS's instead, the ablation of Fig. 7
    accumulation: Literal["sum", "max"] = "sum"
    pretraining: bool = True  # false: rounds of pruning start at once, the ablation of Fig. 8a
    # random-gates: no pruning, each task closes a random share of the units instead (Fig. 8a). Schedules: reading N3.
    pruning: Literal["released", "constant", "none", "random-gates"] = "released"
    fraction_off: Fraction | None = None  # of each hidden layer's units, closed by random-gates
    prune_percent: Annotated[int, Field(ge=1, le=99)] | None = None
    prune_step: Annotated[int, Field(ge=1, le=99)] = 10  # percent a round
    prune_from: Literal["freed", "unprotected", "all"] = "freed"  # which weights may go, a percentage of them, reading N33
    zero_importance: Literal["extra", "counted"] = "extra"  # weights of importance 0 beside or within it, reading N34
    # Epochs of learning and of every round: the training's each (released), in all, or for learning and again for the
    # rounds in all (reading N29).
    budget: Literal["each-phase", "shared", "equal-learning"] = "each-phase"
    penalty_step: PenaltyStep = "gradient"

    @model_validator(mode="after")
    def _possible(self) -> AnpycOptions:
        if (self.pruning == "constant") != (self.prune_percent is not None):
            raise ValueError("'prune_percent' goes with 'pruning: constant', and only with it")
        if (self.pruning == "random-gates") != (self.fraction_off is not None):
            raise ValueError("'fraction_off' goes with 'pruning: random-gates', and only with it")
        if not self.pretraining and not self.prunes:
            raise ValueError(
                "without 'pretraining' a task is learnt in rounds of pruning alone; 'pruning' says there are none"
            )
        return self

    @property
    def prunes(self) -> bool:
        """Whether there are rounds of pruning."""
        return self.pruning in ("released", "constant")


class CompressionOptions(MethodOptions):
    """Rounds of pruning one network on one data set by ANPyC's importance (Table IV)."""

    thresholds: Annotated[list[Fraction], Field(min_length=1)] = [0.8, 0.7, 0.5, 0.4, 0.1]  # share pruned in each round
    biases: Literal["with-weights", "own"] = "with-weights"  # own: the share of each bias tensor by itself, reading N23
    importance_batch: Count = 100


class RemovalOptions(MethodOptions):
    """What single weights' removal does, beside their importances (readings N4, N5, N32)."""

    weights_per_layer: Count = 250
    images: Count = 2000  # of the training images, the first, on which effects are measured
    importance_batch: Count = 100


def _skip_unwanted(options: AnpycOptions, first: bool, last: bool) -> set[str]:
    """The last task is not pruned: no task comes to use the freed weights."""
    return set() if options.prunes and not last else {"prune"}


METHODS = {
    "anpyc": Method(
        (
            Stage("learn", f"{__name__}.stages:learn", trains=True),
            Stage("prune", f"{__name__}.stages:prune", trains=True),
            Stage("consolidate", f"{__name__}.stages:consolidate"),
        ),
        AnpycOptions,
        skipped=_skip_unwanted,
    ),
    "anpyc-compression": Method(
        (Stage("learn", f"{__name__}.compression:learn", trains=True),), CompressionOptions, heads=("shared",)
    ),
    "anpyc-removal": Method(
        (
            Stage("learn", f"{__name__}.removal:learn", trains=True),
            Stage(
                "measure",
                f"{__name__}.removal:measure",
                text="Remove single weights and measure what that does, beside their importances.",
            ),
        ),
        RemovalOptions,
    ),
}
