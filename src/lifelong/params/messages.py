"""Faults of params.yaml in our words: key, what is wrong, value found, allowed values and the nearest match."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lifelong.runtime.errors import UserError, did_you_mean


def validate(model: type[Any], value: Any, source: str, prefix: str) -> Any:
    """The value as an object of the model.

    Raises:
        UserError: it does not fit; every fault is listed, its key behind `prefix`.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = _join_tries(_without_misspelt(error.errors(), model), model)
        raise UserError("\n".join(f"{source}: {_explain(fault, model, prefix)}" for fault in faults)) from None


def _without_misspelt(faults: Sequence[Any], model: type[Any]) -> list[Any]:
    """Without keys that are missing because they are misspelt, which the unknown key's own message tells."""
    meant: set[tuple[Any, ...]] = set()
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            *above, found = fault["loc"]
            nearest = difflib.get_close_matches(str(found), _walk(model, fault["loc"]).known, n=1, cutoff=0.5)
            meant.update((*above, name) for name in nearest)
    return [fault for fault in faults if fault["type"] != "missing" or fault["loc"] not in meant]


def _join_tries(faults: Sequence[Any], model: type[Any]) -> list[Any]:
    """One fault of each value that may be of several types: of the type that it comes nearest to, or of all alike."""
    groups: dict[Any, list[Any]] = {}
    for number, fault in enumerate(faults):
        tried = _walk(model, fault["loc"]).tried
        groups.setdefault(number if tried is None else fault["loc"][:tried], []).append(fault)
    result = []
    for group in groups.values():
        nearest = max(map(_nearness, group))
        first, *others = [{**fault, "expected": _describe_expected(fault)} for fault in group if _nearness(fault) == nearest]
        if all(fault["input"] is first["input"] for fault in others):
            result.append({**first, "expected": " or ".join([first["expected"], *(one["expected"] for one in others)])})
        else:
            result += [first, *others]
    return result


def _nearness(fault: Any) -> tuple[int, bool]:
    """How far a value fits the type that was tried: how deep the fault lies, and whether the type itself is right."""
    return len(fault["loc"]), not fault["type"].endswith("_type")


_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
}


def _describe_expected(fault: Any) -> str:
    what = fault["type"]
    if what in _TYPES:
        return _TYPES[what]
    if what in ("too_short", "too_long"):
        key, bound = ("min_length", "at least") if what == "too_short" else ("max_length", "at most")
        count = fault["ctx"][key]
        return f"{bound} {count} item{'s' * (count > 1)}"
    message = str(fault["msg"]).removeprefix("Input should be ")
    return f"a number {message}" if message.startswith(("greater", "less")) else message[:1].lower() + message[1:]


def _explain(fault: Any, model: type[BaseModel], prefix: str) -> str:
    walk = _walk(model, fault["loc"])
    key = prefix + ".".join(walk.keys)
    found = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; {did_you_mean(walk.keys[-1], walk.known)}"
        case "missing":
            return f"{key}: this key is missing; write '{walk.keys[-1]}: ...' with {_describe_types(walk.types)}"
        case "union_tag_not_found":
            tags = sorted(str(tag) for one in walk.types for tag in _tags(one))
            return f"{key}.kind: this key is missing; write 'kind: ...' with one of {', '.join(tags)}"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
            return f"{key}: found {_show(found)}; {did_you_mean(str(found), allowed)}"
        case "union_tag_invalid":
            allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected_tags"])
            return f"{key}.kind: found {fault['ctx']['tag']!r}; {did_you_mean(fault['ctx']['tag'], allowed)}"
        case "dict_type" | "model_type":
            return f"{key}: found {_show(found)}; expected keys and their values; write 'KEY: VALUE' in its place"
        case "value_error":
            return f"{key.rstrip('.')}: {fault['ctx']['error']}"
        case _:
            return f"{key}: found {_show(found)}; expected {fault['expected']}; {_remedy(found, fault['expected'])}"


def _show(found: Any) -> str:
    """A value as it is written in YAML; one that may be long by its kind."""
    if found is None:
        return "nothing"
    if isinstance(found, bool):
        return str(found).lower()
    return "a list" if isinstance(found, list) and found else "keys and values" if isinstance(found, dict) else repr(found)


def _remedy(found: Any, expected: str) -> str:
    if isinstance(found, str) and "number" in expected and _is_number(found):
        return "write it without quotes"
    return "write it behind the key" if found is None else "write one in its place"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _describe_types(types: Sequence[Any]) -> str:
    """What a value of one of these types is, in words."""
    words = []
    for one in types:
        origin = typing.get_origin(one) or one
        if origin is typing.Literal:
            words.append(f"one of {', '.join(map(str, typing.get_args(one)))}")
        elif origin is not type(None):
            words.append(
                {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list"}.get(
                    origin, "keys and their values"
                )
            )
    return " or ".join(dict.fromkeys(words))


class _Walk(NamedTuple):
    """Where a fault is.

    Attributes:
        keys: of its location, as the user wrote them.
        known: the keys that could stand in the last one's place.
        types: that the value there may have.
        tried: where in the location the first name of a type that was tried is, if any.
    """

    keys: list[str]
    known: list[str]
    types: list[Any]
    tried: int | None


def _walk(model: type[BaseModel], location: tuple[Any, ...]) -> _Walk:
    """Follow a location of pydantic's, which has the tag of a union, or the type tried, between the keys of the file."""
    keys: list[str] = []
    known: list[str] = []
    types: list[Any] = [model]
    tried = None
    for place, part in enumerate(location):
        models = [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]
        inner = [
            typing.get_args(one)[-1] for one in types if typing.get_origin(one) is (list if isinstance(part, int) else dict)
        ]
        if part == "[key]":
            continue
        if len(models) > 1:
            types = [one for one in models if part in _tags(one)]
            continue
        if models:
            known = [name for one in models for name in one.model_fields]
            types = [kind for one in models if part in one.model_fields for kind in _alternatives(one.model_fields[part])]
        elif inner:
            types = [kind for annotation in inner for kind in _alternatives(annotation)]
        elif not isinstance(part, int):
            tried = place if tried is None else tried
            continue
        keys.append(str(part))
    return _Walk(keys, known, types, tried)


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have, without what pydantic is told beside them."""
    if isinstance(annotation, FieldInfo):
        return _alternatives(annotation.annotation)
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return [kind for one in typing.get_args(annotation) for kind in _alternatives(one)]
    return [annotation]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """What tells a section from others that could stand in its place: its `kind`, or the first word of its class."""
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else (re.findall("[A-Z][a-z]+", model.__name__)[0].lower(),)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a value of this type may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in models_in(part)]
