"""Why an event was refused, in words a person can act on: ``field: reason (mend)``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from sleep_runtime.core.errors import InvalidEvent
from sleep_runtime.core.event import Event

_MAX_REASONS = 3
_MAX_FIELD_CHARS = 80
_FIELDS = tuple(Event.model_fields)
_TIME = 'write RFC 3339 with a zone, like "2026-11-22T09:00:00Z"'

# pydantic's type of error -> the mend.
_MENDS = {
    "missing": "every event needs it",
    "string_too_short": "it must not be empty",
    "string_too_long": "shorten it",
    "timezone_aware": 'end it with "Z" or an offset like "+01:00"',
    "datetime_from_date_parsing": _TIME,
    "datetime_parsing": _TIME,
    "datetime_type": _TIME,
    "datetime_object_invalid": _TIME,
    "model_type": "send one JSON object for each event",
    "string_type": "send it as text",
    "dict_type": "send a JSON object",
    "too_long": "send fewer",
}


def explain(error: ValidationError) -> str:
    """The first few faults of one event, joined by ``; ``."""
    faults = error.errors(include_url=False, include_context=True)
    reasons = [_explain_one(dict(fault)) for fault in faults[:_MAX_REASONS]]
    if len(faults) > _MAX_REASONS:
        reasons.append(f"and {len(faults) - _MAX_REASONS} more")
    return "; ".join(reasons)


def _explain_one(fault: dict[str, Any]) -> str:
    kind = fault["type"]
    field = ".".join(str(part) for part in fault["loc"])[:_MAX_FIELD_CHARS]
    if kind == "scope":
        # A scope explains itself, field and mend included.
        return str(fault["msg"])
    if kind == "extra_forbidden":
        return _unknown_field(field)
    return str(InvalidEvent(_reason(fault), field=field or "event", mend=_mend(fault)))


def _unknown_field(name: str) -> str:
    near = get_close_matches(name, _FIELDS, n=1)
    mend = f'did you mean "{near[0]}"?' if near else 'put what is your own under "data"'
    return str(InvalidEvent("is not a field of an event", field=name, mend=mend))


def _mend(fault: dict[str, Any]) -> str:
    if fault["type"] == "enum":
        return f"use {fault['ctx']['expected']}"
    return _MENDS.get(fault["type"], "GET /openapi.json shows what an event is")


def _reason(fault: dict[str, Any]) -> str:
    match fault["type"]:
        case "missing":
            return "is missing"
        case "enum":
            return f"is {_shown(fault['input'])}"
        case "string_too_long":
            return f"has {len(fault['input'])} characters, at most {fault['ctx']['max_length']}"
        case "timezone_aware":
            return "has no time zone"
        case _:
            message = str(fault["msg"])
            return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return json_name(value)
    text = repr(value)
    return text if len(text) <= _MAX_FIELD_CHARS else text[:_MAX_FIELD_CHARS] + "…"


def json_name(value: Any) -> str:
    """What a JSON value is called by those who write JSON."""
    match value:
        case None:
            return "null"
        case str():
            return "text"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "a number" if not isinstance(value, bool) else "true or false"
