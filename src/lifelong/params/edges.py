"""What an experiment cannot be, told from params.yaml alone: before any image is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lifelong.params.datasets import DenseFolder, Folder
from lifelong.params.experiment import Experiment
from lifelong.params.methods import RehearsalOptions
from lifelong.params.networks import AttentionResNet18Network, LeNetNetwork, ResolvedNetwork, SmallConvNetwork
from lifelong.params.sequences import CLASSES_OF_BUILT_IN, SHAPES_OF_BUILT_IN, DataSets, Dense, Split


def list_edges(experiment: Experiment, options: Sequence[Any]) -> Iterator[str]:
    """Each fault as `key: what was found; what to do`; `options` are those of every point of a grid."""
    sizes = _class_counts(experiment)
    if 1 in sizes and experiment.heads != "all-classes" and not isinstance(experiment.sequence, Dense):
        yield (
            f"sequence: task {sizes.index(1)} has one class, whose head of heads: {experiment.heads} gives the right answer "
            f"unlearnt; take heads: all-classes where the method has them, or more classes a task"
        )
    for one in options:
        least = sum(size or 1 for size in sizes)
        if isinstance(one, RehearsalOptions) and one.per_class is None and one.memory < least:
            yield f"options.memory: found {one.memory} for {least} classes or more; give at least one image a class"
        share = getattr(one, "fraction_off", None)
        closed = [width for width in getattr(experiment.network, "hidden", []) if share and round(share * width) == width]
        if closed:
            yield f"options.fraction_off: {share} closes all {closed[0]} units of a layer; take less, or a wider layer"
    shape = _image_shape(experiment)
    if shape is not None and (reason := find_misfit(experiment.network, shape)):
        yield f"network: {reason}"


def find_misfit(network: ResolvedNetwork, shape: tuple[int, int, int]) -> str | None:
    """Why a network cannot take images [channels, height, width]; none: it can."""
    channels, *sides = shape
    normalise = getattr(network, "normalise", None)
    if normalise is not None and len(normalise.mean) != channels:
        return f"'normalise' is of {len(normalise.mean)} channels; the images have {channels}"
    least, what = 1, ""
    if isinstance(network, LeNetNetwork):
        least, what = 4, "two poolings"
    elif isinstance(network, SmallConvNetwork):
        least, what = 2 ** (len(network.widths) - 1), f"{len(network.widths) - 1} poolings between its convolutions"
    elif isinstance(network, AttentionResNet18Network):
        least, what = network.shrink * (4 if network.shape == "narrow" else 1), "its shrinking and poolings"
    if min(sides) < least:
        return f"too deep for images of {sides[0]}x{sides[1]} pixels: {what} need {least}; take fewer or larger images"
    return None


def _class_counts(experiment: Experiment) -> list[int | None]:
    """Of each task; none where only the images say."""
    sequence = experiment.sequence
    if isinstance(sequence, Split | Dense):
        return list(sequence.task_sizes())
    if isinstance(sequence, DataSets):
        known = [len(e.classes) if e.classes else CLASSES_OF_BUILT_IN.get(e.dataset) for e in experiment.entries]
        most = experiment.tier.classes
        return [min(count, most or count) if count is not None else None for count in known]
    return [CLASSES_OF_BUILT_IN.get(sequence.dataset)] * sequence.count


def _image_shape(experiment: Experiment) -> tuple[int, int, int] | None:
    sequence = experiment.sequence
    if isinstance(sequence, DataSets):
        channels, height, width = sequence.shape or (0, 0, 0)
        return (channels, height, width) if sequence.shape else None
    folder = dict(experiment.folders).get(sequence.dataset)
    if isinstance(folder, DenseFolder):
        return 3, folder.height, folder.width
    if isinstance(folder, Folder):
        return 1 if folder.channels == "grey" else 3, folder.image_size, folder.image_size
    return SHAPES_OF_BUILT_IN.get(sequence.dataset)
