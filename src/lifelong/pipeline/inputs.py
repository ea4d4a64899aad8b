"""What the stages of an experiment learn from: its tasks, and new networks that fit them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lifelong.data.classes import Classes
from lifelong.data.sequences import Outline, read_outline
from lifelong.data.tensors import Split, Task, load_task, load_test
from lifelong.networks.base import Network
from lifelong.networks.create import new_network
from lifelong.params.experiment import Experiment
from lifelong.params.networks import PretrainedNetwork
from lifelong.pipeline.graph import source_file
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_info


@dataclass(frozen=True)
class Inputs:
    """The files of an experiment's sequence, read when asked for."""

    experiment: Experiment

    @cached_property
    def outline(self) -> Outline:
        return read_outline(self.tasks_file)

    @property
    def tasks_file(self) -> Path:
        return paths.tasks(self.experiment.sequence_name)

    @property
    def classes(self) -> Classes:
        return Classes(self.outline.sizes)

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """[channels, height, width] that a network is given, or [width] of features."""
        if self.experiment.features_of is not None:
            return (read_info(source_file(self.experiment, 0, "train"), "features")["width"],)
        shape = self._brought_to[0] or self.outline.image_shape
        assert shape is not None  # checked with the parameters
        return shape

    @property
    def _brought_to(self) -> tuple[tuple[int, ...] | None, float]:
        """The shape that images are brought to, and the share of them that the middle cut out is; none: as they are."""
        network = self.experiment.network
        if isinstance(network, PretrainedNetwork):
            size = network.backbone.image_size
            return (None, 1.0) if network.frozen else ((3, size, size), network.backbone.crop)
        shape = getattr(self.experiment.sequence, "shape", None)
        return (tuple(shape) if shape else None), 1.0

    def task(self, index: int) -> Task:
        """The training and validation images of a task."""
        return load_task(source_file(self.experiment, index, "train"), self.tasks_file, index, *self._brought_to)

    def test(self, index: int) -> Split:
        """The test images of a task, for evaluation alone."""
        return load_test(source_file(self.experiment, index, "test"), self.tasks_file, index, *self._brought_to)

    def network(self, seed: int) -> Network:
        """A new network, which depends on the seed and its own shape alone."""
        return new_network(self.experiment, self.image_shape, self.classes, seed)
