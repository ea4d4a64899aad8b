"""An experiment: a learner on a sequence of tasks, every name resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lifelong.params.datasets import DenseFolder, Folder
from lifelong.params.methods import Heads, Method, MethodOptions, Stage
from lifelong.params.networks import PretrainedNetwork, ResolvedNetwork
from lifelong.params.schema import Grid, Training
from lifelong.params.sequences import WHOLE, DataSets, Dense, Permuted, Repeated, Split, TaskEntry, Tier

WHOLE_TIER = Tier()


@dataclass(frozen=True)
class Experiment:
    """Sequence x network x method x hyper-parameters x seeds, every name resolved."""

    name: str
    sequence_name: str
    sequence: Split | Permuted | Repeated | DataSets | Dense
    datasets: tuple[str, ...]  # of each task
    folders: tuple[tuple[str, Folder | DenseFolder], ...]  # those of them that are not built in, by name
    network: ResolvedNetwork
    heads: Heads
    training: Training
    method_name: str
    method: Method
    options: MethodOptions  # of an experiment with a grid: those of its first candidate, until a choice is made
    seeds: tuple[int, ...]
    joint: str | None
    tier_name: str = WHOLE
    tier: Tier = WHOLE_TIER  # how much of its data sets a sequence of data sets uses
    entries: tuple[TaskEntry, ...] = ()  # its tasks
    dropout_at_test: bool = False
    grid: Grid | None = None
    candidates: tuple[str, ...] = ()  # experiments that the grid chooses from
    may_diverge: bool = False  # a result then, as with candidates of a grid: the seed has no numbers
    trunk: Experiment | None = None  # the experiment whose tasks come first
    branch_task: int = 0  # the first task that is this experiment's own
    stop: int | None = None  # how many tasks are learnt of the sequence; none: all

    @property
    def count(self) -> int:
        """How many tasks are learnt."""
        return self.stop or self.sequence.count

    @property
    def tasks(self) -> range:
        """The tasks that have a model: all, or the last alone for a joint learner."""
        return range(self.count - 1, self.count) if self.method.joint else range(self.count)

    @property
    def features_of(self) -> str | None:
        """The frozen backbone whose features stand for the images; none where images are learnt from."""
        return self.network.name if isinstance(self.network, PretrainedNetwork) and self.network.frozen else None

    def parameters(self) -> dict[str, Any]:
        """All that decides the result of one seed, as JSON values. Names and the list of seeds are not in it."""
        trunk = {"trunk": self.trunk.parameters(), "branch_task": self.branch_task} if self.trunk else {}
        return trunk | {
            "sequence": self.sequence_parameters(),
            "network": self.network.model_dump(),
            "heads": self.heads,
            "training": self.training.model_dump(),
            "method": self.method_name,
            "options": self.options.model_dump(),
            "dropout_at_test": self.dropout_at_test,
            "grid": self.grid.model_dump() if self.grid else None,
        }

    def sequence_parameters(self) -> dict[str, Any]:
        """All that decides its tasks, but for the images."""
        return {
            **self.sequence.model_dump(),
            "tier": self.tier.model_dump(),
            "datasets": {name: folder.model_dump() for name, folder in self.folders},
        }

    def with_options(self, options: dict[str, Any]) -> Experiment:
        """The same experiment with checked options instead of a grid."""
        return replace(self, options=self.method.options.model_validate(options), grid=None, candidates=())

    def stages(self, task: int) -> tuple[Stage, ...]:
        """The stages of one task, in order."""
        skipped = self.method.skipped(self.options, task == 0, task == self.sequence.count - 1)
        return tuple(stage for stage in self.method.stages if stage.name not in skipped)
