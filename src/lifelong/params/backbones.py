"""Pre-trained backbones one can name in params.yaml, by `kind`: whose weights, and what they want to see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lifelong.params.sections import Count, Section, Seed

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Channels3 = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Input(Section):
    """What a backbone wants to see, and how its features are kept."""

    image_size: Count  # pixels, height and width
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0  # the shorter side is resized to image_size / crop, the centre cut out
    mean: Channels3 = [0.5, 0.5, 0.5]  # of pixels in 0..1
    deviation: Channels3 = [0.5, 0.5, 0.5]
    features: Literal["float16", "float32"] = "float32"


class RandomBackbone(_Input):
    """A small random network for tests and the demo: strided convolutions, then depthwise and pointwise ones."""

    kind: Literal["random"]
    widths: Annotated[list[Count], Field(min_length=1)]
    seed: Seed = 0


class PackageBackbone(_Input):
    """A timm model whose weights come inside a Python package, tensor for tensor in the model's own order."""

    kind: Literal["package"]
    model: str
    package: str  # the importable package
    file: str  # path below the package
    sha256: Digest


class FileBackbone(_Input):
    """A timm model with weights from a published file: in data/raw or LIFELONG_DATA, else downloaded and checked."""

    kind: Literal["file"]
    model: str
    url: str
    sha256_prefix: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]  # torch publishes the first digits in the file's name


Backbone = Annotated[RandomBackbone | PackageBackbone | FileBackbone, Field(discriminator="kind")]
