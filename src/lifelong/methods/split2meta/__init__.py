"""Split2MetaFusion, and what it is built on: NSP, TPNSP and Connector (readings M1 to M32).

A slow model whose updates are projected on what earlier tasks do not use, a fast model without projection, and their fusion.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lifelong.params.methods import Method, MethodOptions, Stage
from lifelong.params.sections import Count, NotNegative, Positive, Section


class _NullSpace(Section):
    """Which input directions of a layer count as unused by earlier tasks, and how updates are projected on them."""

    keep: Literal["energy", "ratio"] = "energy"  # reading M3; ratio: as released
    threshold: Positive  # energy: share of the moment's trace given up; ratio: a in eigenvalue <= a * smallest
    across_tasks: Literal["nested", "anew"] = "nested"  # nested: what was taken out stays out; anew: as released
    step: Literal["projected", "normalised"] = "projected"  # normalised: divided by ||P|| as released, reading M4
    moment_batch: Count = 32  # images a pass

    @model_validator(mode="after")
    def _possible(self) -> _NullSpace:
        if self.keep == "energy" and self.threshold >= 1:
            raise ValueError(f"'keep: energy' needs a threshold below 1, a share; found {self.threshold}")
        if self.keep == "ratio" and self.threshold < 1:
            raise ValueError(f"'keep: ratio' needs a threshold of at least 1; found {self.threshold}")
        return self


class NspSpace(_NullSpace):
    """NSP: second moments of the layer's inputs."""

    kind: Literal["nsp"] = "nsp"
    average: Literal["batch-mean", "per-position"] = "batch-mean"  # batch-mean: as released, reading M26


class TpnspSpace(_NullSpace):
    """TPNSP: second moments of the layer's inputs with the gradients of its outputs."""

    kind: Literal["tpnsp"] = "tpnsp"
    reading: Literal["literal", "per-position", "per-batch", "per-sample"] = "per-batch"  # reading M1
    labels: Literal["true", "model"] = "model"  # model: drawn from the network's answer, reading M2


NullSpace = Annotated[NspSpace | TpnspSpace, Field(discriminator="kind")]


class SlowOptions(MethodOptions):
    """The slow model: updates projected on what earlier tasks do not use."""

    null_space: NullSpace
    head_rate: Positive = 1.0  # learning rates as multiples of the budget's: of the head (released: 10) ...
    norm_rate: Positive = 1.0  # ... of batch-norm's scale and shift (released: 5) ...
    later_rate: Positive = 1.0  # ... and of the other shared parameters after the first task (released: 0.5)
    norm_strength: NotNegative = 100.0  # of EWC on batch-norm's scale and shift


class NspOptions(SlowOptions):
    """NSP alone."""

    null_space: NspSpace


class TpnspOptions(SlowOptions):
    """TPNSP alone."""

    null_space: TpnspSpace


class ConnectorOptions(SlowOptions):
    """Connector: NSP, and a fast model from the last task's that is averaged with it."""

    null_space: NspSpace
    feature_distance: NotNegative = 1.0  # of the mean squared distance to the last task's features (fast model)


class Dreams(Section):
    """Images that a trained network is shown to answer for a task, made from the network alone."""

    images: Count = 100  # of each task
    iterations: Count = 2000
    learning_rate: Positive = 0.0125  # of pixels in [0, 1]: 0.05 of DeepInversion's, whose deviation is 1, times 0.25
    statistics: Literal["mean-variance", "mean"] = "mean-variance"  # mean: squared, as paper Eq. 9, reading M14
    statistics_weight: NotNegative = 10.0
    smoothness_weight: NotNegative = 1e-3  # of total variation
    square_weight: NotNegative = 0.0  # of the squared pixels
    jitter: Annotated[int, Field(ge=0)] = 2  # pixels an image may be rolled by, each iteration anew


class LinearFusion(Section):
    """1 - 1/t of the slow and 1/t of the fast model."""

    kind: Literal["linear"]


class MetaFusion(Section):
    """Weights of slow and fast model learnt on dreams."""

    kind: Literal["meta"]
    per: Literal["channel", "layer", "element"] = "channel"  # output channels, reading M10
    start: Literal["linear", "half"] = "linear"  # where all of A starts: 1 - 1/t, or 1/2 (reading M11)
    steps: Count = 200
    learning_rate: Positive = 0.05
    batch: Count | None = None  # dreams of each task a step; none: all
    bank: Literal["all", "last"] = "all"  # dreams of all earlier tasks or of the last alone, reading M13
    norm_statistics: Literal["fused", "dreams"] = "fused"  # batch-norm's running statistics, reading M12


class Split2MetaOptions(SlowOptions):
    """Split2MetaFusion."""

    fast_epochs: Count = 10  # reading M7
    dreams: Dreams = Dreams()
    fusion: Annotated[LinearFusion | MetaFusion, Field(discriminator="kind")]


def _skip_unwanted(options: SlowOptions, first: bool, last: bool) -> set[str]:
    """The first task has one model alone; after the last no projection is needed."""
    return ({"fast", "fuse"} if first else set()) | ({"project"} if last else set())


def _skip_unwanted_dreams(options: Split2MetaOptions, first: bool, last: bool) -> set[str]:
    """Linear fusion needs no dreams either."""
    return _skip_unwanted(options, first, last) | ({"dream"} if options.fusion.kind == "linear" else set())


_SHARED: dict[str, Any] = {"heads": ("per-task",), "skipped": _skip_unwanted, "adding": ("project",)}
_SLOW = Stage("slow", f"{__name__}.slow:slow", trains=True)
_PROJECT = Stage("project", f"{__name__}.slow:project")

METHODS = {
    "nsp": Method((_SLOW, _PROJECT), NspOptions, **_SHARED),
    "tpnsp": Method((_SLOW, _PROJECT), TpnspOptions, **_SHARED),
    "connector": Method(
        (
            Stage("slow", f"{__name__}.connector:slow", trains=True),
            Stage("fast", f"{__name__}.connector:fast", trains=True),
            Stage("fuse", f"{__name__}.connector:fuse"),
            _PROJECT,
        ),
        ConnectorOptions,
        **_SHARED,
    ),
    "split2meta": Method(
        (
            _SLOW,
            Stage("fast", f"{__name__}.stages:fast", trains=True),
            Stage("dream", f"{__name__}.stages:dream"),
            Stage("fuse", f"{__name__}.stages:fuse"),
            _PROJECT,
        ),
        Split2MetaOptions,
        **_SHARED | {"skipped": _skip_unwanted_dreams},
    ),
}
