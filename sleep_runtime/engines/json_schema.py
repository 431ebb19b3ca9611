"""The part of JSON Schema that questions to a writing model use: making it, and checking answers.

Supported: type (object, array, string, integer, number, boolean, null), properties, required,
additionalProperties (false), items, enum, const, minItems, maxItems, minLength, maxLength,
minimum, maximum. Other keywords are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

_ANNOTATIONS = frozenset({"title", "description", "default", "$defs"})
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without references or annotations, keys in field order.

    Servers that decode along a schema write keys in this order, so a field that stands first is
    also thought first. The model must not be recursive.
    """
    schema = model.model_json_schema()
    flat = _inline(schema, schema.get("$defs", {}))
    if not isinstance(flat, dict):
        raise TypeError(f"{model.__name__} is not an object")
    return flat


def _inline(node: Any, defs: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, defs) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(defs[node["$ref"].rpartition("/")[2]], defs)
    return {
        key: (
            {name: _inline(child, defs) for name, child in value.items()}
            if key == "properties"
            else _inline(value, defs)
        )
        for key, value in node.items()
        if key not in _ANNOTATIONS
    }


def violation(value: Any, schema: dict[str, Any]) -> str:
    """The first place where ``value`` breaks ``schema``, in words without the value; "" if none."""
    return next(_violations(value, schema, "answer"), "")


def _violations(value: Any, schema: dict[str, Any], at: str) -> Iterator[str]:
    kind = schema.get("type")
    if isinstance(kind, str) and not _TYPES.get(kind, lambda _: False)(value):
        yield f"{at} is not of type {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is not one of the allowed values"
    if "const" in schema and value != schema["const"]:
        yield f"{at} is not the required value"
    if isinstance(value, dict):
        yield from _in_object(value, schema, at)
    elif isinstance(value, list):
        yield from _in_array(value, schema, at)
    elif isinstance(value, str):
        yield from _in_string(value, schema, at)
    elif _TYPES["number"](value):
        yield from _outside(value, schema, "minimum", "maximum", at)


def _in_object(value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    properties: dict[str, Any] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name} is missing"
    if schema.get("additionalProperties") is False and value.keys() - properties.keys():
        yield f"{at} has keys that were not asked for"
    for name, child in properties.items():
        if name in value:
            yield from _violations(value[name], child, f"{at}.{name}")


def _in_array(value: list[Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    yield from _outside(len(value), schema, "minItems", "maxItems", f"{at} length")
    items = schema.get("items")
    if isinstance(items, dict):
        for place, item in enumerate(value):
            yield from _violations(item, items, f"{at}[{place}]")


def _in_string(value: str, schema: dict[str, Any], at: str) -> Iterator[str]:
    yield from _outside(len(value), schema, "minLength", "maxLength", f"{at} length")
    if any("\ud800" <= char <= "\udfff" for char in value):
        yield f"{at} is not valid Unicode"


def _outside(size: float, schema: dict[str, Any], least: str, most: str, at: str) -> Iterator[str]:
    if least in schema and size < schema[least]:
        yield f"{at} is below {schema[least]}"
    if most in schema and size > schema[most]:
        yield f"{at} is above {schema[most]}"
