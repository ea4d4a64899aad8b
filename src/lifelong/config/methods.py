"""The methods one can name in params.yaml: their options, their stages and the module that holds them.

Nothing here imports torch: Snakemake asks this file for the shape of its graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lifelong.config.schema import Heads
from lifelong.config.sections import Count, Fraction, NotNegative, Positive, Section
from lifelong.config.split2meta import ConnectorOptions, NspOptions, Split2MetaOptions, TpnspOptions


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


class RehearsalOptions(Section):
    """An exemplar memory."""

    memory: Count = 2000  # images in all, shared out equally among the classes seen
    selection: Literal["first", "herding"] = "first"  # first: in the order of the data set, as ARI released


class GemOptions(RehearsalOptions):
    """GEM, gradient episodic memory."""

    margin: NotNegative = 0.5  # lower bound on the multipliers, the released memory strength


class AgemOptions(RehearsalOptions):
    """A-GEM, averaged gradient episodic memory."""

    reference_batch: Count = 256  # images a reference gradient


class IcarlOptions(RehearsalOptions):
    """iCaRL."""

    selection: Literal["first", "herding"] = "herding"


class AriOptions(RehearsalOptions):
    """ARI, anti-retroactive interference: task-specific models, their fusion, the background attack (dossier 1.5)."""

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


Stage = Literal[
    "learn", "prune", "consolidate", "slow", "fast", "dream", "fuse", "project", "metatrain", "remember", "adapt"
]


@dataclass(frozen=True)
class StageKind:
    """What a stage does, and whether it trains and so leaves a learning curve. A new one needs no rule of its own."""

    text: str
    trains: bool


STAGES: dict[str, StageKind] = {
    "learn": StageKind("Learn one task from the state the last one left.", trains=True),
    "prune": StageKind("Prune what one task does not need, in rounds with retraining.", trains=True),
    "consolidate": StageKind("Add the importance of one task's weights to that of the earlier tasks.", trains=False),
    "slow": StageKind("Learn one task by updates projected on what earlier tasks do not use.", trains=True),
    "fast": StageKind("Learn one task without projection, beside the slow model.", trains=True),
    "dream": StageKind("Make images that the network answers as one task asks, from the network alone.", trains=False),
    "fuse": StageKind("Make one model of the slow and the fast one.", trains=False),
    "project": StageKind("Find the input directions that the tasks so far do not use.", trains=False),
    "metatrain": StageKind("Train the base model on the exemplars of all tasks seen.", trains=True),
    "remember": StageKind("Choose the exemplars that one task leaves in the memory.", trains=False),
    "adapt": StageKind("Tune copies of the base model to each task's exemplars, for testing.", trains=False),
}

OVER_TASKS: tuple[Heads, ...] = ("all-classes", "per-task", "shared")
REHEARSAL: tuple[Stage, ...] = ("learn", "remember")
TASK_MODELS: tuple[Stage, ...] = ("learn", "metatrain", "remember", "adapt")


@dataclass(frozen=True)
class Method:
    """How a method takes part in the graph of stages."""

    module: str
    stages: tuple[Stage, ...]  # of one task, in order
    options: type[Section] = NoOptions
    heads: tuple[Heads, ...] = ("per-task", "shared", "all-classes")  # the first is the default
    joint: bool = False  # learns all tasks at once, as one last task
    networks: tuple[str, ...] = ()  # the kinds it works with; none named: all
    skipped: Callable[[Any, bool, bool], set[Stage]] = lambda options, first, last: set()  # of the first or last task
    adding: tuple[Stage, ...] = ()  # also given what the same stage left for the task before, to add to


def _unpruned(options: AnpycOptions, first: bool, last: bool) -> set[Stage]:
    """The last task is not pruned: no task comes to use the freed weights."""
    return set() if options.prunes and not last else {"prune"}


def _unrehearsed(options: AriOptions, first: bool, last: bool) -> set[Stage]:
    """Training on the memory is an option."""
    return set() if options.meta_epochs else {"metatrain"}


def _unsplit(options: Section, first: bool, last: bool) -> set[Stage]:
    """The first task has one model alone; after the last no projection is needed; linear fusion needs no dreams."""
    skipped: set[Stage] = {"fast", "fuse"} if first else set()
    if isinstance(options, Split2MetaOptions) and options.fusion.kind == "linear":
        skipped.add("dream")
    return skipped | ({"project"} if last else set())


_SPLIT: dict[str, Any] = {"heads": ("per-task",), "skipped": _unsplit, "adding": ("project",)}

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
    "anpyc": Method("lifelong.methods.anpyc.stages", ("learn", "prune", "consolidate"), AnpycOptions, skipped=_unpruned),
    "anpyc-compression": Method("lifelong.methods.anpyc.compression", ("learn",), CompressionOptions, heads=("shared",)),
    "nsp": Method("lifelong.methods.split2meta.slow", ("slow", "project"), NspOptions, **_SPLIT),
    "tpnsp": Method("lifelong.methods.split2meta.slow", ("slow", "project"), TpnspOptions, **_SPLIT),
    "connector": Method(
        "lifelong.methods.split2meta.connector", ("slow", "fast", "fuse", "project"), ConnectorOptions, **_SPLIT
    ),
    "split2meta": Method(
        "lifelong.methods.split2meta.stages", ("slow", "fast", "dream", "fuse", "project"), Split2MetaOptions, **_SPLIT
    ),
    "er": Method("lifelong.methods.baselines.er", REHEARSAL, RehearsalOptions, heads=OVER_TASKS),
    "gem": Method("lifelong.methods.baselines.gem", REHEARSAL, GemOptions, heads=OVER_TASKS),
    "agem": Method("lifelong.methods.baselines.agem", REHEARSAL, AgemOptions, heads=OVER_TASKS),
    "icarl": Method("lifelong.methods.baselines.icarl", REHEARSAL, IcarlOptions, heads=("all-classes",)),
    "ari": Method(
        "lifelong.methods.ari.stages",
        TASK_MODELS,
        AriOptions,
        heads=("all-classes",),
        networks=("attention-mlp", "attention-resnet18"),
        skipped=_unrehearsed,
    ),
    "itaml": Method("lifelong.methods.ari.stages", TASK_MODELS, ItamlOptions, heads=("all-classes",), skipped=_unrehearsed),
}
