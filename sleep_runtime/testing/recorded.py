"""How ``CaptureRecorder`` reads an event: as strictly as the runtime, without what that needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sleep_runtime.client.errors import InvalidArgument
from sleep_runtime.client.events import KINDS, ROLES, check_scope

_REQUIRED = ("id", "ts", "scope", "session", "kind", "role")
_DEFAULTS: Mapping[str, Any] = {"agent": "", "text": "", "about": {}, "data": {}}
_MOST = {"id": 200, "session": 500, "agent": 500, "text": 1_000_000}


class BadEvent(Exception):
    """One event is refused: ``field: reason``."""


class Refusal(Exception):
    """A request is refused as a whole, with a status and the body of the error."""

    def __init__(self, status: int, field: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body = {"field": field, "reason": reason, "mend": ""}


def parse(line: bytes) -> dict[str, Any]:
    """The event, whole and in one form, so that equal events are equal. Raises ``BadEvent``."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise BadEvent(f"line: is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadEvent("is no object")
    for name in _REQUIRED:
        if name not in found:
            raise BadEvent(f"{name}: is missing")
    for name in found.keys() - {*_REQUIRED, *_DEFAULTS}:
        raise BadEvent(f"{name}: is not known")
    event = {**_DEFAULTS, **found}
    for name, most in _MOST.items():
        if not isinstance(event[name], str) or len(event[name]) > most:
            raise BadEvent(f"{name}: is no text of up to {most} characters")
    if not event["id"] or not event["session"]:
        raise BadEvent("id: and session must not be empty")
    if event["kind"] not in KINDS or event["role"] not in ROLES:
        raise BadEvent(f"kind: {event['kind']!r} by {event['role']!r} is not known")
    return {**event, "scope": _scope(event["scope"]), "ts": _time(event["ts"])}


def _scope(value: Any) -> str:
    path = value
    if isinstance(value, dict):
        path = "/".join(str(value[name]) for name in ("org", "team", "user") if value.get(name))
    try:
        return check_scope(str(path))
    except InvalidArgument as error:
        raise BadEvent(str(error)) from None


def _time(value: Any) -> str:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadEvent(f"ts: {value!r} is no time") from None
    if found.tzinfo is None:
        raise BadEvent("ts: has no time zone")
    return found.astimezone(UTC).isoformat()
