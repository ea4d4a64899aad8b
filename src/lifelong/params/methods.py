"""What a method is to the pipeline: its options and its stages. Each package of `lifelong.methods` declares its own.

Nothing here imports torch: Snakemake asks for the shape of its graph. Further methods come from packages that name a module
by an entry point of the group `lifelong.methods`, or from modules that `methods:` in params.yaml names.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal

from lifelong.params.sections import Count, Section
from lifelong.runtime.errors import UserError

Heads = Literal["per-task", "shared", "all-classes"]
OVER_TASKS: tuple[Heads, ...] = ("all-classes", "per-task", "shared")
OF_IMAGES = ("split", "permuted", "repeated", "data-sets")
"""The kinds of sequences whose labels are of whole images."""

PenaltyStep = Literal["gradient", "proximal"]
"""How a quadratic penalty on the weights acts (reading B16)."""

GROUP = "lifelong.methods"


class MethodOptions(Section):
    """The options of a method; this one has none."""


class RehearsalOptions(MethodOptions):
    """An exemplar memory."""

    memory: Count = 2000  # images in all, shared out equally among the classes seen
    per_class: Count | None = None  # instead: so many images of every class, kept for good
    # first: in the order of the data set, as ARI released; herding: nearest to the mean of features; random: by the seed
    selection: Literal["first", "herding", "random"] = "first"


@dataclass(frozen=True)
class Stage:
    """One step of a method on one task: a job of its own that leaves a file.

    Attributes:
        entry: `module:function`, called as function(job, options, state) -> state.
        trains: whether it leaves a learning curve too.
        text: what it does, for the command line; stages of the usual names need none.
    """

    name: str
    entry: str
    trains: bool = False
    text: str = ""

    @property
    def function(self) -> Callable[..., Any]:
        module, _, name = self.entry.partition(":")
        result: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return result

    @property
    def help(self) -> str:
        return self.text or USUAL.get(self.name, f"The stage {self.name} of one task.")


USUAL = {
    "learn": "Learn one task from the state the last one left.",
    "prune": "Prune what one task does not need, in rounds with retraining.",
    "consolidate": "Add the importance of one task's weights to that of the earlier tasks.",
    "slow": "Learn one task by updates projected on what earlier tasks do not use.",
    "fast": "Learn one task without projection, beside the slow model.",
    "dream": "Make images that the network answers as one task asks, from the network alone.",
    "fuse": "Make one model of the slow and the fast one.",
    "project": "Find the input directions that the tasks so far do not use.",
    "metatrain": "Train the base model on the exemplars of all tasks seen.",
    "remember": "Choose the exemplars that one task leaves in the memory.",
    "adapt": "Tune copies of the base model to each task's exemplars, for testing.",
}

REMEMBER = Stage("remember", "lifelong.training.rehearsal:remember")


@dataclass(frozen=True)
class Method:
    """How a method takes part in the graph of stages.

    Attributes:
        stages: of one task, in order.
        heads: the arrangements of outputs it works with; the first is the default.
        joint: learns all tasks at once, as one last task.
        networks: the kinds it works with; none named: all.
        skipped: (options, first task, last task) -> names of stages that are left out.
        adding: names of stages that are also given what they left for the task before, to add to.
        sequences: the kinds of sequences it learns.
        network_of: `module:function`, (setup, options, state, task) -> the network that answers once that task is told, for
            methods whose tasks do not share one network's weights.
    """

    stages: tuple[Stage, ...]
    options: type[MethodOptions] = MethodOptions
    heads: tuple[Heads, ...] = ("per-task", "shared", "all-classes")
    joint: bool = False
    networks: tuple[str, ...] = ()
    skipped: Callable[[Any, bool, bool], set[str]] = lambda options, first, last: set()
    adding: tuple[str, ...] = ()
    sequences: tuple[str, ...] = OF_IMAGES
    network_of: str = ""

    def why_not(self, kind: str) -> str:
        """Why a kind of sequence is not learnt."""
        if kind == "dense":
            return ": its loss is of whole images, not of pixels"
        return ": its loss is of pixels, not of whole images" if self.sequences == ("dense",) else ""

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def modules(self) -> list[str]:
        """The modules of its stages."""
        return list(dict.fromkeys(stage.entry.partition(":")[0] for stage in self.stages))


@functools.cache
def shipped_methods() -> dict[str, Method]:
    """Those of `lifelong.methods`, and of installed packages that name a module of theirs by an entry point."""
    import lifelong.methods

    known: dict[str, Method] = {}
    for info in pkgutil.iter_modules(lifelong.methods.__path__):
        _add(known, importlib.import_module(f"lifelong.methods.{info.name}"))
    for point in sorted(entry_points(group=GROUP)):
        _add(known, importlib.import_module(point.value))
    return known


def load_methods(modules: Iterable[str] = ()) -> dict[str, Method]:
    """The shipped methods and those of further modules.

    Raises:
        UserError: a module cannot be imported, declares no methods, or one whose name is taken.
    """
    known = dict(shipped_methods())
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"methods: {name!r} cannot be imported ({error}); is it installed, or on PYTHONPATH?") from None
        if not getattr(module, "METHODS", None):
            raise UserError(f"methods: module {name!r} has no METHODS; expected a mapping of names to Method objects")
        _add(known, module)
    return known


def stage_table(methods: Mapping[str, Method]) -> dict[str, Stage]:
    """Each name of a stage once; stages of one name must agree on whether they train, as they share a rule."""
    table: dict[str, Stage] = {}
    for name, method in methods.items():
        for stage in method.stages:
            other = table.setdefault(stage.name, stage)
            if other.trains != stage.trains:
                raise UserError(
                    f"method {name!r}: its stage {stage.name!r} has trains={stage.trains} where {other.entry} has "
                    f"trains={other.trains}; give one of them another name"
                )
    return table


def _add(known: dict[str, Method], module: ModuleType) -> None:
    methods: Mapping[str, Method] = getattr(module, "METHODS", {})
    for name, method in methods.items():
        if known.get(name, method) is not method:
            raise UserError(f"{module.__name__}: there is a method {name!r} already; choose another name")
        known[name] = method
