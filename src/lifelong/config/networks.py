"""The networks one can name in params.yaml, by `kind`. Each has a module of `lifelong.networks` that builds it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lifelong.config.sections import Count, Section, Share

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
    """Two 5x5 convolutions of 32 and 64 channels with pooling, hidden layers of 512 and 256, linear heads (dossier N23)."""

    kind: Literal["lenet"]
    dropout: Share = 0.0  # behind the fully connected hidden layers
    initialisation: Initialisation


class PreActResNetNetwork(Section):
    """ResNet-18 with pre-activation for small images (dossier 4.1)."""

    kind: Literal["preact-resnet"]
    width: Count = 64  # channels of the first stage; each of the other three doubles them


class SmallConvNetwork(Section):
    """3x3 convolutions with batch normalisation, ReLU and 2x2 max pooling between, mean over the map, linear heads."""

    kind: Literal["small-conv"]
    widths: Annotated[list[Count], Field(min_length=1)]


Network = Annotated[MlpNetwork | LeNetNetwork | PreActResNetNetwork | SmallConvNetwork, Field(discriminator="kind")]
