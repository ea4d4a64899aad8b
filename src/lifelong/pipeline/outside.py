"""Pictures from outside, brought to what the network of an experiment was given while it learnt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor, nn

from lifelong.data.pictures import read_picture
from lifelong.data.tensors import bring_to_shape
from lifelong.methods.skill.features import pool_features
from lifelong.networks.backbones.load import load_backbone
from lifelong.params.datasets import Folder, Limits
from lifelong.params.networks import PretrainedNetwork
from lifelong.pipeline.inputs import Inputs
from lifelong.runtime.device import to_device
from lifelong.runtime.places import RAW, search_directories


@dataclass(frozen=True)
class Outside:
    """Reads pictures as the experiment's data sets were read, then resizes them or takes their features."""

    inputs: Inputs
    limits: Limits

    def read(self, path: Path) -> Tensor:
        """uint8 [1, C, H, W], or features float32 [1, d].

        Raises:
            FileNotFoundError, ValueError: it is absent, or cannot be read; the message is the reason alone.
        """
        picture = read_picture(path, "L" if self._grey else "RGB", self.limits)
        if (size := self._size) is not None:
            picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
        pixels = np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)[None].copy()
        if self._frozen is not None:
            network, settings = self._frozen
            return to_device(pool_features(network, settings.backbone, pixels).astype(np.float32))
        tensor = to_device(pixels)
        shape = self.inputs.image_shape
        return tensor if tuple(tensor.shape[1:]) == shape else bring_to_shape(tensor, shape, self._crop)

    @property
    def _folders(self) -> list[Folder]:
        return [folder for _, folder in self.inputs.experiment.folders if isinstance(folder, Folder)]

    @property
    def _own_alone(self) -> bool:
        """Whether no task is of a built-in data set, whose images may have another shape."""
        experiment = self.inputs.experiment
        return len(self._folders) == len(set(experiment.datasets))

    @property
    def _grey(self) -> bool:
        shape = self.inputs.outline.image_shape
        if self._own_alone:
            return all(folder.channels == "grey" for folder in self._folders)
        return shape is not None and shape[0] == 1

    @property
    def _size(self) -> tuple[int, int] | None:
        """Width and height that all the experiment's data sets were decoded to; none where they differ."""
        sizes = {folder.image_size for folder in self._folders}
        if self._own_alone and len(sizes) == 1:
            return (size := sizes.pop()), size
        shape = self.inputs.outline.image_shape
        return (shape[2], shape[1]) if shape and len(set(self.inputs.experiment.datasets)) == 1 else None

    @property
    def _crop(self) -> float:
        network = self.inputs.experiment.network
        return network.backbone.crop if isinstance(network, PretrainedNetwork) else 1.0

    @cached_property
    def _frozen(self) -> tuple[nn.Module, PretrainedNetwork] | None:
        """The backbone whose features stand for the images, where one does."""
        network = self.inputs.experiment.network
        if not isinstance(network, PretrainedNetwork) or not network.frozen:
            return None
        return load_backbone(network.name, network.backbone, RAW, search_directories()), network
