"""Faults of params.yaml in our words: key, what is wrong, value found, allowed values and the nearest match."""

from __future__ import annotations

import re
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from lifelong.errors import UserError, did_you_mean


def validated(model: type[Any], value: Any, source: str, prefix: str) -> Any:
    """The value as an object of the model.

    Raises:
        UserError: it does not fit; every fault is listed, its key behind `prefix`.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError("\n".join(f"{source}: {_explained(fault, model, prefix)}" for fault in error.errors())) from None


def _explained(fault: Any, model: type[BaseModel], prefix: str) -> str:
    location, known = _walked(model, fault["loc"])
    key = prefix + ".".join(location)
    found = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; {did_you_mean(location[-1], known)}"
        case "missing" | "union_tag_not_found":
            return f"{key}{'.kind' if fault['type'] == 'union_tag_not_found' else ''}: this key is missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
            return f"{key}: found {found!r}; {did_you_mean(str(found), allowed)}"
        case "union_tag_invalid":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected_tags"])
            return f"{key}.kind: found {fault['ctx']['tag']!r}; {did_you_mean(fault['ctx']['tag'], allowed)}"
        case "value_error":
            return f"{key.rstrip('.')}: {fault['ctx']['error']}"
        case _:
            return f"{key}: found {found!r} ({type(found).__name__}); {fault['msg'].lower()}"


def _walked(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """The keys of a fault's location as the user wrote them, and the keys that could stand in the last one's place.

    Pydantic puts the tag of a union, or the type tried, between the keys; those are no keys of the file.
    """
    keys: list[str] = []
    known: list[str] = []
    models: list[type[BaseModel]] = [model]
    for part in location:
        tagged = [m for m in models if len(models) > 1 and part in _tags(m)]
        if tagged:
            models = tagged
            continue
        known = [name for m in models for name in m.model_fields]
        annotations = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if annotations:
            models = [m for annotation in annotations for m in _models_in(annotation)] or []
        elif not models and keys and not isinstance(part, int):
            continue  # the name of a type that was tried
        keys.append(str(part))
    return keys, known


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]
