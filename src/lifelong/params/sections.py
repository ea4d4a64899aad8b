"""What every part of params.yaml is made of: frozen sections and checked values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME_PATTERN = r"\w[\w.+@-]*"


class Section(BaseModel):
    """A part of params.yaml: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _plain_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"a name is made of letters, digits, '-', '_', '.', '+' and '@', since it becomes a folder, and starts with a "
            f"letter, a digit or '_'; found {name!r}"
        )
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
