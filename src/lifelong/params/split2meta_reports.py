"""Options of the reports on Split2MetaFusion."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lifelong.params.sections import Section


class MatchedPart(Section):
    """Sweeps compared at equal forgetting, and experiments compared one with one, by their labels in the report."""

    curves: Annotated[dict[str, list[str]], Field(min_length=1)]  # the first is what the others are held against
    pairs: dict[str, Annotated[list[str], Field(min_length=2, max_length=2)]] = {}  # claim -> [better one, other]


class MatchedOptions(Section):
    """ACC over BWT."""

    parts: Annotated[dict[str, MatchedPart], Field(min_length=1)]  # title -> what is compared


class FusionGapOptions(Section):
    """Losses on the path from fast to slow model."""

    points: Annotated[int, Field(ge=3)] = 11  # of alpha, from 0 to 1


class LandscapeOptions(Section):
    """Losses on the plane through the old, the slow and the fast model."""

    points: Annotated[int, Field(ge=2)] = 15  # of the grid, along each axis
    images: Annotated[int, Field(ge=1)] = 200  # validation images of each of the two tasks
    margin: Annotated[float, Field(ge=0)] = 0.4  # around the models, as a share of how far they lie apart
