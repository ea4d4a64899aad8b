"""The networks one can name in params.yaml, by `kind`. Each has a module of `lifelong.networks` that builds it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.params.backbones import Backbone
from lifelong.params.sections import Count, Name, Positive, Section, Share

Initialisation = Literal["truncated-normal", "uniform-fan-in"]


class MlpNetwork(Section):
    """A multi-layer perceptron: ReLU and dropout behind every hidden layer, linear heads."""

    kind: Literal["mlp"]
    hidden: Annotated[list[Count], Field(min_length=1)]
    dropout: Share | list[Share] = 0.0  # of every hidden layer, or one share a layer
    initialisation: Initialisation

    @model_validator(mode="after")
    def _one_share_a_layer(self) -> MlpNetwork:
        if isinstance(self.dropout, list) and len(self.dropout) != len(self.hidden):
            raise ValueError(f"'dropout' has {len(self.dropout)} shares; expected one for each of {len(self.hidden)} layers")
        return self


class LeNetNetwork(Section):
    """Two 5x5 convolutions of 32 and 64 channels with pooling, hidden layers of 512 and 256, linear heads (reading N23)."""

    kind: Literal["lenet"]
    dropout: Share = 0.0  # behind the fully connected hidden layers
    initialisation: Initialisation


class PreActResNetNetwork(Section):
    """ResNet-18 with pre-activation for small images (reading M25)."""

    kind: Literal["preact-resnet"]
    width: Count = 64  # channels of the first stage; each of the other three doubles them


class SmallConvNetwork(Section):
    """3x3 convolutions with batch normalisation, ReLU and 2x2 max pooling between, mean over the map, linear heads."""

    kind: Literal["small-conv"]
    widths: Annotated[list[Count], Field(min_length=1)]


class Normalisation(Section):
    """Channel means and deviations of images in [0, 1]: the network itself subtracts and divides."""

    mean: Annotated[list[float], Field(min_length=1)]
    deviation: Annotated[list[Positive], Field(min_length=1)]

    @model_validator(mode="after")
    def _same_channels(self) -> Normalisation:
        if len(self.mean) != len(self.deviation):
            raise ValueError(
                f"found {len(self.mean)} means and {len(self.deviation)} deviations; give one of each a channel"
            )
        return self


class AttentionMlpNetwork(Section):
    """ARI's network for MNIST: spatial attention on the image, then a perceptron (reading A19)."""

    kind: Literal["attention-mlp"]
    hidden: Annotated[list[Count], Field(min_length=1)]
    normalise: Normalisation | None = None


class AttentionResNet18Network(Section):
    """ResNet-18 with spatial attention behind its first convolution (reading A19)."""

    kind: Literal["attention-resnet18"]
    shape: Literal["narrow", "usual"]  # narrow: ARI's for small images; usual: for 224 px
    widths: Annotated[list[Count], Field(min_length=4, max_length=4)]  # of the stages; released: 21, 42, 85, 170
    shrink: Count = 1  # images are averaged over squares of so many pixels first
    normalise: Normalisation | None = None


class DenseConvNetwork(Section):
    """A small fully convolutional network for labels of every pixel."""

    kind: Literal["dense-conv"]
    widths: Annotated[list[Count], Field(min_length=2)]  # of its convolutions; the first two halve the size


class BackboneNetwork(Section):
    """A pre-trained backbone: frozen, with a perceptron on its features, which are computed once; or learning as a whole."""

    kind: Literal["backbone"]
    backbone: Name
    frozen: bool = True
    hidden: list[Count] = []  # of the perceptron on frozen features

    @model_validator(mode="after")
    def _possible(self) -> BackboneNetwork:
        if self.hidden and not self.frozen:
            raise ValueError("'hidden' are layers on frozen features; a backbone that learns has none")
        return self


class PretrainedNetwork(Section):
    """A `BackboneNetwork` with its backbone's settings."""

    kind: Literal["backbone"]
    name: Name
    backbone: Backbone
    frozen: bool
    hidden: list[Count]


Network = Annotated[
    MlpNetwork
    | LeNetNetwork
    | PreActResNetNetwork
    | SmallConvNetwork
    | AttentionMlpNetwork
    | AttentionResNet18Network
    | DenseConvNetwork
    | BackboneNetwork,
    Field(discriminator="kind"),
]
ResolvedNetwork = (
    MlpNetwork
    | LeNetNetwork
    | PreActResNetNetwork
    | SmallConvNetwork
    | AttentionMlpNetwork
    | AttentionResNet18Network
    | DenseConvNetwork
    | PretrainedNetwork
)


def layers_kind(network: ResolvedNetwork) -> str:
    """What its layers are to a method: on frozen features a perceptron learns."""
    return "mlp" if isinstance(network, PretrainedNetwork) and network.frozen else network.kind


def network_module(network: ResolvedNetwork) -> str:
    """The module that builds networks of this kind."""
    return f"lifelong.networks.{network.kind.replace('-', '_')}"
