"""Faults of params.yaml in our words: key, what is wrong, value found, allowed values and the nearest match."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from lifelong.runtime.errors import UserError, did_you_mean


def validate(model: type[Any], value: Any, source: str, prefix: str) -> Any:
    """The value as an object of the model.

    Raises:
        UserError: it does not fit; every fault is listed, its key behind `prefix`.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = _join_tries(error.errors(), model)
        raise UserError("\n".join(f"{source}: {_explained(fault, model, prefix)}" for fault in faults)) from None


def _join_tries(faults: Sequence[Any], model: type[Any]) -> list[Any]:
    """One fault of each value that may be of several types: of the type that it comes nearest to, or of all alike."""
    groups: dict[Any, list[Any]] = {}
    for number, fault in enumerate(faults):
        tried = _walked(model, fault["loc"])[2]
        groups.setdefault(number if tried is None else fault["loc"][:tried], []).append(fault)
    result = []
    for group in groups.values():
        nearest = max(map(_nearness, group))
        first, *others = [fault for fault in group if _nearness(fault) == nearest]
        if all(fault["input"] is first["input"] for fault in others):
            more = [fault["msg"].removeprefix("Input should be ") for fault in others]
            result.append({**first, "msg": " or ".join([first["msg"], *more])})
        else:
            result += [first, *others]
    return result


def _nearness(fault: Any) -> tuple[int, bool]:
    """How far a value fits the type that was tried: how deep the fault lies, and whether the type itself is right."""
    return len(fault["loc"]), not fault["type"].endswith("_type")


def _explained(fault: Any, model: type[BaseModel], prefix: str) -> str:
    location, known, _ = _walked(model, fault["loc"])
    key = prefix + ".".join(location)
    result = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; {did_you_mean(location[-1], known)}"
        case "missing" | "union_tag_not_found":
            return f"{key}{'.kind' if fault['type'] == 'union_tag_not_found' else ''}: this key is missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
            return f"{key}: found {result!r}; {did_you_mean(str(result), allowed)}"
        case "union_tag_invalid":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected_tags"])
            return f"{key}.kind: found {fault['ctx']['tag']!r}; {did_you_mean(fault['ctx']['tag'], allowed)}"
        case "dict_type" | "model_type":
            return f"{key}: found {_told(result)}; expected keys and their values; write 'KEY: VALUE' in its place"
        case "value_error":
            return f"{key.rstrip('.')}: {fault['ctx']['error']}"
        case _:
            return f"{key}: found {result!r} ({type(result).__name__}); {fault['msg'].lower()}"


def _told(found: Any) -> str:
    """A value that may be long."""
    return "nothing" if found is None else "a list" if isinstance(found, list) else f"{found!r} ({type(found).__name__})"


def _walked(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[str], list[str], int | None]:
    """The keys of a fault's location as the user wrote them, the keys that could stand in the last one's place, and where
    in the location the first name of a type that was tried is.

    Pydantic puts the tag of a union, or the type tried, between the keys; those are no keys of the file.
    """
    keys: list[str] = []
    known: list[str] = []
    models: list[type[BaseModel]] = [model]
    tried = None
    for place, part in enumerate(location):
        tagged = [m for m in models if len(models) > 1 and part in _tags(m)]
        if tagged:
            models = tagged
            continue
        known = [name for m in models for name in m.model_fields]
        annotations = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if annotations:
            models = [m for annotation in annotations for m in models_in(annotation)] or []
        elif not models and keys and not isinstance(part, int):
            tried = place if tried is None else tried
            continue
        keys.append(str(part))
    return keys, known, tried


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a value of this type may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in models_in(part)]
