"""Events as the runtime takes them, encoded in a few microseconds with nothing but ``json``.

The JSON is written where the event happens, not later: what an agent does to its objects
afterwards changes nothing, and the flusher only joins bytes.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from sleep_runtime.client.errors import InvalidArgument

Kind: TypeAlias = Literal[
    "message", "tool_call", "tool_result", "retrieval", "error", "correction", "feedback"
]
Role: TypeAlias = Literal["human", "agent", "tool", "system"]

KINDS: Final = frozenset(get_args(Kind))
ROLES: Final = frozenset(get_args(Role))
MAX_PART_CHARS = 128
MAX_DEPTH = 32
_PART = re.compile(r"[A-Za-z0-9_@+=:,~-][A-Za-z0-9_.@+=:,~-]*\Z")
_quote = json.encoder.encode_basestring


def as_text(value: object) -> str:
    """What stands for a value that JSON lacks. Never raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a broken __str__ must not break the agent
        return f"<{type(value).__name__}>"


_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=as_text
).encode


class Ids:
    """Ids that no other process makes: a time, 80 random bits, and a count. Thread-safe.

    Not for a forked child to go on with: ``renew`` there.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin a new series."""
        self._stem = f"{time.time_ns() // 1_000_000:012x}-{os.urandom(10).hex()}"
        self._count = itertools.count()

    def __call__(self) -> str:
        return f"{self._stem}-{next(self._count):x}"


def head_of(scope: str, session: str, agent: str) -> str:
    """The part of an event that a whole session shares. Raises ``InvalidArgument``."""
    check_scope(scope)
    if not session:
        raise InvalidArgument("is empty", field="session", mend="name the piece of work")
    return f'"scope":{_quote(scope)},"session":{_quote(session)},"agent":{_quote(agent)}'


def check_scope(scope: str) -> str:
    """The scope itself. Raises ``InvalidArgument`` when it is no path of one to three names."""
    parts = scope.split("/")
    if len(parts) > 3 or any(len(p) > MAX_PART_CHARS or not _PART.match(p) for p in parts):
        raise InvalidArgument(
            f"{scope!r} is no scope",
            field="scope",
            mend='write it as "org", "org/team" or "org/team/user"',
        )
    return scope


def check_kind(kind: str, role: str) -> None:
    """Raises ``InvalidArgument`` for a kind or role that no runtime knows."""
    if kind not in KINDS:
        raise InvalidArgument(f"{kind!r} is no kind", field="kind", mend=_one_of(KINDS))
    if role not in ROLES:
        raise InvalidArgument(f"{role!r} is no role", field="role", mend=_one_of(ROLES))


def _one_of(names: frozenset[str]) -> str:
    return f"use one of {', '.join(sorted(names))}"


def encode(
    head: str,
    event_id: str,
    kind: str,
    role: str,
    text: str,
    about: str,
    data: Mapping[str, Any] | None,
    ts: datetime | None,
) -> bytes:
    """One event as a line of UTF-8 without its end. Never raises because of what it holds.

    ``head`` is from ``head_of`` and ``about`` from ``facets``, which many events share.
    Values that JSON lacks are written as their ``str``, a lone half of an emoji as the replacement
    character, and a time without a zone is taken for local time.
    """
    at = _now() if ts is None else ts.astimezone(UTC).isoformat()
    line = (
        f'{{"id":{_quote(event_id)},"ts":"{at}",{head},"kind":"{kind}",'
        f'"role":"{role}","text":{_quote(text if isinstance(text, str) else as_text(text))}{about}'
    )
    if data:
        line += f',"data":{_json(data)}'
    line += "}"
    try:
        return line.encode()
    except UnicodeEncodeError:
        return line.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


_second = (0, "")


def _now() -> str:
    """The time in UTC to the microsecond. Formatting its second once is most of the work saved."""
    global _second  # noqa: PLW0603 - replaced as a whole, so that threads see one or the other
    micros = time.time_ns() // 1000
    second, text = _second
    if micros // 1_000_000 != second:
        second = micros // 1_000_000
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = (second, text)
    return f"{text}.{micros % 1_000_000:06d}Z"


def facets(about: Mapping[str, str] | None) -> str:
    """The part of an event that says what it is about; empty for nothing."""
    if not about:
        return ""
    return f',"about":{_json({as_text(name): as_text(value) for name, value in about.items()})}'


def _json(value: Mapping[str, Any]) -> str:
    try:
        return _dumps(value if isinstance(value, dict) else dict(value))
    except (TypeError, ValueError, RecursionError):
        return _dumps(_plain(value, MAX_DEPTH))


def _plain(value: Any, depth: int) -> Any:
    """The nearest thing that JSON has, cut off where it goes too deep or round in a circle."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {as_text(name): _plain(item, depth - 1) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth - 1) for item in value]
    return as_text(value)
