"""What params.yaml may say: scenarios, networks, training budgets, experiments and comparisons.

Every class is frozen and refuses unknown keys; what a key means stands beside it. The options of the methods are in
`lifelong.config.methods`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lifelong.config.networks import Network
from lifelong.config.sections import Count, Fraction, Name, Positive, Section, Seed, Share
from lifelong.config.segmentation import Segmentation
from lifelong.config.skill import Skill

CLASSES_OF_BUILT_IN = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "cifar100": 100}


class Folder(Section):
    """A data set of one's own: a directory or tar of images, `<split>/<class>/<image>` or `<class>/<image>`."""

    path: str
    image_size: Count
    channels: Literal["grey", "colour"] = "colour"
    test_fraction: Fraction | None = None
    split_seed: Seed = 0
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Validation(Section):
    """Which training images are kept apart for choices: the first `first` of the data set, or a seeded share a class."""

    first: Count | None = None
    fraction: Fraction | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_rule(self) -> Validation:
        if (self.first is None) == (self.fraction is None):
            raise ValueError("give exactly one of 'first' (a count) and 'fraction' (a share of each class)")
        return self


class Scenario(Section):
    """A data set cut into a sequence of tasks."""

    dataset: Name
    kind: Literal["split", "permuted", "repeated"]  # repeated: every task is the whole data set, as rounds of one procedure
    tasks: Count
    classes_per_task: Count | None = None
    class_order_seed: Seed | None = None  # none: the data set's own order
    permutation: Literal["released", "numpy"] | None = None
    permutation_seed: Seed | None = None
    backgrounds: Literal["shared", "distinct"] | None = None  # synthetic ones behind the images, see data/backgrounds
    validation: Validation

    @model_validator(mode="after")
    def _possible(self) -> Scenario:
        if self.kind == "split":
            _refuse(self, "permutation", "permutation_seed", why="a split scenario permutes no pixels")
            if self.classes_per_task is None:
                raise ValueError("a split scenario needs 'classes_per_task'")
            known = CLASSES_OF_BUILT_IN.get(self.dataset)
            if known is not None and self.tasks * self.classes_per_task > known:
                raise ValueError(
                    f"{self.tasks} tasks of {self.classes_per_task} classes want {self.tasks * self.classes_per_task} "
                    f"classes; {self.dataset} has {known}"
                )
        else:
            _refuse(self, "classes_per_task", "class_order_seed", why=f"each {self.kind} task holds all classes")
            if self.kind == "repeated":
                _refuse(self, "permutation", "permutation_seed", why="a repeated scenario permutes no pixels")
            elif self.permutation is None:
                raise ValueError("a permuted scenario needs 'permutation': released or numpy")
            if (self.permutation == "numpy") != (self.permutation_seed is not None):
                raise ValueError("'permutation_seed' goes with 'permutation: numpy', and only with it")
        return self


def _refuse(section: Section, *keys: str, why: str) -> None:
    for key in keys:
        if getattr(section, key) is not None:
            raise ValueError(f"{key!r} does not fit here: {why}")


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


Heads = Literal["per-task", "shared", "all-classes"]


class Grid(Section):
    """Options chosen on the validation split: every combination is run, the best one is taken for all seeds."""

    options: Annotated[dict[str, Annotated[list[object], Field(min_length=1)]], Field(min_length=1)]  # option -> values
    seeds: Count | list[Seed] = 1  # of the runs that are compared
    protocol: Literal["task_incremental", "class_incremental"] = "task_incremental"  # whose mean ACC decides


class Branch(Section):
    """The tasks before `task` are those of another experiment, which is not learnt again up to there."""

    experiment: Name
    task: Count


class ExperimentEntry(Section):
    """An experiment as written: names of the parts above, the method and its options."""

    scenario: Name
    network: Name
    training: Name
    method: str
    options: dict[str, object] = {}
    grid: Grid | None = None
    heads: Heads | None = None  # none: the method's usual one
    dropout_at_test: bool = False  # as some released code did (dossier 3.1)
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

    datasets: dict[Name, Folder] = {}
    scenarios: dict[Name, Scenario]
    networks: dict[Name, Network]
    training: dict[Name, Training]
    experiments: dict[Name, ExperimentEntry]
    skill: Skill = Skill()
    segmentation: Segmentation = Segmentation()
    reports: dict[Name, dict[Name, ReportEntry]]
    tracking_uri: str = "sqlite:///mlflow.db"


PARAMS_FILE = Path("params.yaml")
