"""What every part of params.yaml is made of: frozen sections and checked values."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of params.yaml: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _plain_name(name: str) -> str:
    if not name or not all(c.isalnum() or c in "-_" for c in name) or name.startswith("-"):
        raise ValueError(f"a name is made of letters, digits, '-' and '_', since it becomes a folder; found {name!r}")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
