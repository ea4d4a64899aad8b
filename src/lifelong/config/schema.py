"""What params.yaml may say: scenarios, networks, training budgets, experiments and comparisons.

Every class is frozen and refuses unknown keys; what a key means stands beside it. The options of the methods are in
`lifelong.config.methods`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A part of params.yaml: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _plain_name(name: str) -> str:
    if not name or not all(c.isalnum() or c in "-_" for c in name) or name.startswith("-"):
        raise ValueError(f"a name is made of letters, digits, '-' and '_', since it becomes a folder; found {name!r}")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]

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
    kind: Literal["split", "permuted"]
    tasks: Count
    classes_per_task: Count | None = None
    class_order_seed: Seed | None = None  # none: the data set's own order
    permutation: Literal["released", "numpy"] | None = None
    permutation_seed: Seed | None = None
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
            _refuse(self, "classes_per_task", "class_order_seed", why="each permuted task holds all classes")
            if self.permutation is None:
                raise ValueError("a permuted scenario needs 'permutation': released or numpy")
            if (self.permutation == "numpy") != (self.permutation_seed is not None):
                raise ValueError("'permutation_seed' goes with 'permutation: numpy', and only with it")
        return self


def _refuse(section: Section, *keys: str, why: str) -> None:
    for key in keys:
        if getattr(section, key) is not None:
            raise ValueError(f"{key!r} does not fit here: {why}")


class Network(Section):
    """A multi-layer perceptron: ReLU, dropout behind every hidden layer while training, linear heads."""

    kind: Literal["mlp"]
    hidden: Annotated[list[Count], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initialisation: Literal["truncated-normal", "uniform-fan-in"]


class Training(Section):
    """The budget of one task: SGD with a staircase learning rate, lr * decay_factor ** (epoch // decay_every)."""

    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_size: Count
    epochs: Count
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Count = 1
    first_task_decay_factor: Annotated[float, Field(gt=0, le=1)] | None = None  # none: decay_factor


Heads = Literal["per-task", "shared", "all-classes"]


class ExperimentEntry(Section):
    """An experiment as written: names of the parts above, the method and its options."""

    scenario: Name
    network: Name
    training: Name
    method: str
    options: dict[str, object] = {}
    heads: Heads | None = None  # none: the method's usual one
    seeds: Count | list[Seed]
    joint: Name | None = None  # the experiment whose accuracies are m_i in fwt_joint


class Comparison(Section):
    """Experiments set side by side in one table, reports/<section>/<name>: row label -> experiment."""

    title: str
    experiments: Annotated[dict[str, Name], Field(min_length=1)]
    printed: Literal["anpyc-table-1"] | None = None  # the published table set beside ours


class Params(Section):
    """The whole of params.yaml."""

    datasets: dict[Name, Folder] = {}
    scenarios: dict[Name, Scenario]
    networks: dict[Name, Network]
    training: dict[Name, Training]
    experiments: dict[Name, ExperimentEntry]
    reports: dict[Name, dict[Name, Comparison]]
    tracking_uri: str = "sqlite:///mlflow.db"


PARAMS_FILE = Path("params.yaml")
