"""The methods one can name in params.yaml: their options, their stages and the module that holds them.

Nothing here imports torch: Snakemake asks this file for the shape of its graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.config.schema import Heads
from lifelong.config.sections import Count, Fraction, NotNegative, Positive, Section


class NoOptions(Section):
    """A method without options."""


class EwcOptions(Section):
    """Elastic weight consolidation."""

    strength: NotNegative  # lambda in lambda/2 * sum(Fisher * (W - W_old)^2)
    fisher: Literal["exact", "first-sample"] = "exact"  # first-sample: as released, dossier 5.1
    fisher_batch: Count = 500  # images a pass of the exact diagonal; changes memory and speed, not the result
    sample_batch: Count | None = None  # first-sample: of so many images the first alone is used (released: 1000)

    @model_validator(mode="after")
    def _possible(self) -> EwcOptions:
        if (self.fisher == "first-sample") != (self.sample_batch is not None):
            raise ValueError("'sample_batch' goes with 'fisher: first-sample', and only with it")
        return self


class EwcOnlineOptions(Section):
    """Online elastic weight consolidation."""

    strength: NotNegative  # lambda in lambda/2 * sum(Fisher * (W - W_old)^2)
    gamma: Annotated[float, Field(ge=0, le=1)]  # what is kept of the running Fisher at each new task; 1: all, as in ewc
    fisher_batch: Count = 500  # images a pass; changes memory and speed, not the result


class MasOptions(Section):
    """Memory aware synapses."""

    strength: NotNegative  # lambda in lambda * sum(Omega * (W - W_old)^2); the released lambda is twice this
    sensitivity: Literal["exact", "released"] = "exact"  # each image's magnitude, or that of a batch's sum, dossier 5.1
    sensitivity_batch: Count = 1000  # images a pass (released: 1000); the result of `exact` does not depend on it


class SiOptions(Section):
    """Synaptic intelligence."""

    strength: NotNegative = 0.1  # c in c * sum(importance * (W - W_old)^2)
    damping: Positive = 0.1  # xi in path integral / (distance^2 + xi)
    path: Literal["plain", "regularised", "product"] = "plain"  # which gradients the path integral is of, dossier 5.1


class LwfOptions(Section):
    """Learning without forgetting."""

    strength: NotNegative  # lambda in lambda * T^2 * distillation, summed over the old heads
    temperature: Positive = 2.0  # T, by which the logits of old and new network are divided


class XdgOptions(Section):
    """Context-dependent gating."""

    fraction_off: Fraction  # of each hidden layer's units, closed while a task is learnt or asked about


class HatOptions(Section):
    """Hard attention to the task."""

    strength: NotNegative = 0.75  # lambda of the share of free units that a task attends to
    scale_max: Annotated[float, Field(gt=1)] = 400.0  # s_max: gates are sigmoid(s * embedding), s from 1/s_max to s_max
    embedding_bound: Positive = 6.0  # embeddings are kept within +- this


class AnpycOptions(Section):
    """Adversarial neural pruning and synaptic consolidation."""

    strength: NotNegative  # lambda in lambda * sum(importance * (W - W_old)^2), dossier N1
    first_order: Literal["plus", "minus", "absolute"] = "plus"  # sign of g*W, dossier N4
    curvature: Literal["batch-sum", "per-sample"] = "batch-sum"  # what stands for the Hessian's diagonal, dossier N5
    importance_batch: Count = 100  # the first-order term grows with it, the second with its square, dossier N5
    measure: Literal["entropy", "sensitivity"] = "entropy"  # sensitivity: MAS's instead, the ablation of Fig. 7
    accumulation: Literal["sum", "max"] = "sum"
    pretraining: bool = True  # false: rounds of pruning start at once, the ablation of Fig. 8a
    # random-gates: no pruning, each task closes a random share of the units instead (Fig. 8a). Schedules: dossier N3.
    pruning: Literal["released", "constant", "none", "random-gates"] = "released"
    fraction_off: Fraction | None = None  # of each hidden layer's units, closed by random-gates
    prune_percent: Annotated[int, Field(ge=1, le=99)] | None = None
    prune_step: Annotated[int, Field(ge=1, le=99)] = 10  # percent a round
    budget: Literal["each-phase", "shared"] = "each-phase"  # learning and every round: the epochs each (released), or in all

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


class CompressionOptions(Section):
    """Rounds of pruning one network on one data set by ANPyC's importance (Table IV)."""

    thresholds: Annotated[list[Fraction], Field(min_length=1)] = [0.8, 0.7, 0.5, 0.4, 0.1]  # share pruned in each round
    importance_batch: Count = 100


Stage = Literal["learn", "prune", "consolidate"]


@dataclass(frozen=True)
class StageKind:
    """What a stage does, and whether it trains and so leaves a learning curve. A new one needs no rule of its own."""

    text: str
    trains: bool


STAGES: dict[str, StageKind] = {
    "learn": StageKind("Learn one task from the state the last one left.", trains=True),
    "prune": StageKind("Prune what one task does not need, in rounds with retraining.", trains=True),
    "consolidate": StageKind("Add the importance of one task's weights to that of the earlier tasks.", trains=False),
}


@dataclass(frozen=True)
class Method:
    """How a method takes part in the graph of stages."""

    module: str
    stages: tuple[Stage, ...]  # of one task, in order
    options: type[Section] = NoOptions
    heads: tuple[Heads, ...] = ("per-task", "shared", "all-classes")  # the first is the default
    joint: bool = False  # learns all tasks at once, as one last task
    networks: tuple[str, ...] = ()  # the kinds it works with; none named: all


METHODS: dict[str, Method] = {
    "sgd": Method("lifelong.methods.baselines.finetune", ("learn",), heads=("shared", "all-classes")),
    "finetune": Method("lifelong.methods.baselines.finetune", ("learn",), heads=("per-task",)),
    "sgd-f": Method("lifelong.methods.baselines.frozen", ("learn",)),
    "joint": Method("lifelong.methods.baselines.joint", ("learn",), joint=True),
    "ewc": Method("lifelong.methods.baselines.ewc", ("learn", "consolidate"), EwcOptions),
    "ewc-online": Method("lifelong.methods.baselines.ewc_online", ("learn", "consolidate"), EwcOnlineOptions),
    "mas": Method("lifelong.methods.baselines.mas", ("learn", "consolidate"), MasOptions),
    "si": Method("lifelong.methods.baselines.si", ("learn",), SiOptions),
    "lwf": Method("lifelong.methods.baselines.lwf", ("learn",), LwfOptions),
    "xdg": Method("lifelong.methods.baselines.xdg", ("learn",), XdgOptions, networks=("mlp",)),
    "hat": Method("lifelong.methods.baselines.hat", ("learn",), HatOptions, heads=("per-task",), networks=("mlp",)),
    "anpyc": Method("lifelong.methods.anpyc.stages", ("learn", "prune", "consolidate"), AnpycOptions),
    "anpyc-compression": Method("lifelong.methods.anpyc.compression", ("learn",), CompressionOptions, heads=("shared",)),
}
