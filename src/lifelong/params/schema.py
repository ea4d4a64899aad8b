"""What params.yaml may say: its sections, training budgets, experiments and reports as they are written.

Every class is frozen and refuses unknown keys; what a key means stands beside it. The options of a method are in its package
of `lifelong.methods`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lifelong.params.backbones import Backbone
from lifelong.params.datasets import DataSet, Limits
from lifelong.params.methods import Heads
from lifelong.params.networks import Network
from lifelong.params.sections import Count, Name, NotNegative, Positive, Section, Seed, Share
from lifelong.params.sequences import Sequence, Tier
from lifelong.params.skill import Collective


class Training(Section):
    """The optimiser's budget of one task.

    The learning rate falls as a staircase: by `decay_factor` every `decay_every` epochs, or at each of `milestones`.
    """

    optimiser: Literal["sgd", "adam", "radam"] = "sgd"
    learning_rate: Positive
    momentum: Share = 0.0  # of sgd
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count
    epochs: Count
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Count | None = None
    milestones: list[Count] | None = None
    first_task_decay_factor: Annotated[float, Field(gt=0, le=1)] | None = None  # none: decay_factor
    augmentation: Literal["none", "crop-flip"] = (
        "none"  # crop-flip: random crops of the padded image, mirrored half the time
    )

    @model_validator(mode="after")
    def _possible(self) -> Training:
        if self.decay_every is not None and self.milestones is not None:
            raise ValueError("give at most one of 'decay_every' and 'milestones'")
        decays = self.decay_factor != 1 or self.first_task_decay_factor is not None
        if decays and self.decay_every is None and self.milestones is None:
            raise ValueError("a decay factor needs 'decay_every' or 'milestones': the epochs it acts at")
        if self.optimiser != "sgd" and self.momentum:
            raise ValueError(f"'momentum' goes with 'optimiser: sgd'; found {self.optimiser!r}")
        return self


class Grid(Section):
    """Options chosen on the validation split: every combination is run, the best one is taken for all seeds."""

    options: Annotated[dict[str, Annotated[list[object], Field(min_length=1)]], Field(min_length=1)]  # option -> values
    seeds: Count | list[Seed] = 1  # of the runs that are compared
    protocol: Literal["task_incremental", "class_incremental"] = "task_incremental"  # whose mean ACC decides
    tasks: Count | None = None  # they learn so many first tasks alone; none: all


class Branch(Section):
    """The tasks before `task` are those of another experiment, which is not learnt again up to there."""

    experiment: Name
    task: Count


class ExperimentEntry(Section):
    """An experiment as written: names of the parts above, the method and its options."""

    sequence: Name
    network: Name
    training: Name
    method: str
    options: dict[str, object] = {}
    grid: Grid | None = None
    heads: Heads | None = None  # none: the method's usual one
    dropout_at_test: bool = False  # as some released code did (reading N27)
    seeds: Count | list[Seed]
    joint: Name | None = None  # the experiment whose accuracies are m_i in fwt_joint
    may_diverge: bool = False  # training that leaves the finite numbers is a result and not a failure
    branch: Branch | None = None  # none: every task is its own


def _as_list(written: object) -> object:
    return [written] if isinstance(written, str) else written


class ReportEntry(Section):
    """A report as written, reports/<section>/<name>: its kind, and by label the experiments it shows."""

    kind: str = "comparison"
    title: str
    experiments: dict[str, Annotated[list[Name], BeforeValidator(_as_list)]] = {}
    options: dict[str, object] = {}


class Params(Section):
    """The whole of params.yaml."""

    methods: list[str] = []  # modules of your own that declare METHODS, see docs/how-to/new-method.md
    datasets: dict[Name, DataSet] = {}
    limits: Limits = Limits()
    tiers: dict[Name, Tier] = {}
    backbones: dict[Name, Backbone] = {}
    sequences: dict[Name, Sequence] = {}
    networks: dict[Name, Network]
    training: dict[Name, Training]
    experiments: dict[Name, ExperimentEntry]
    collectives: dict[Name, Collective] = {}
    mac_per_byte: NotNegative = 1000.0  # alpha: what sending one byte costs, in multiply-accumulates (SKILL)
    reports: dict[Name, dict[Name, ReportEntry]]
    tracking_uri: str = "sqlite:///mlflow.db"


PARAMS_FILE = Path("params.yaml")
