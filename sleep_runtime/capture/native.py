"""The native format: a request body of events becomes journal rows, bad events stay behind.

Pure: bytes, limits and the time go in. A batch of good events is validated in one go by
pydantic's core; only a batch with a bad one among them is looked at event by event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import FailFast, TypeAdapter, ValidationError

from sleep_runtime.capture.decode import decode
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.refusal import explain
from sleep_runtime.core.access import ROOT, AccessRole, Caller
from sleep_runtime.core.errors import Forbidden, InvalidEvent
from sleep_runtime.core.event import (
    Event,
    EventKind,
    Role,
    Trust,
    derive_trust,
    estimate_tokens,
    lower_trust,
)
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.core.scope import Scope

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_DIGEST_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_ERROR_CHARS = 600
_TIME_MEND = 'send when it happened, like "2026-11-22T09:00:00Z"'

_ONE: TypeAdapter[Event] = TypeAdapter(Event)
_MANY: TypeAdapter[list[Event]] = TypeAdapter(Annotated[list[Event], FailFast()])
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    """One refused event: its position in the request and ``field: reason (mend)``."""

    index: int
    error: str


class Parsed(NamedTuple):
    """The good events as rows, the bad ones with their reasons.

    ``indexes[n]`` is the position of ``rows[n]`` in the request.
    """

    rows: list[JournalRow]
    rejected: list[Rejection]
    indexes: list[int]

    def refused(self, conflicts: Iterable[int] = ()) -> list[Rejection]:
        """Everything refused, by position, once the journal named the ``conflicts`` among rows."""
        used = [Rejection(self.indexes[n], _CONFLICT) for n in conflicts]
        return sorted([*self.rejected, *used])


_CONFLICT = str(
    InvalidEvent(
        "was used before with other content",
        field="id",
        mend="the first event stays; give every event its own id",
    )
)


_TRUSTS = {
    speaks: {
        (role, kind): lower_trust(derive_trust(role, kind), speaks).value
        for role in Role
        for kind in EventKind
    }
    for speaks in Trust
}
"""What is stored, by the caller's trust, and the event's role and kind."""


class _Gate:
    """What one caller's events may claim: each scope of a batch is looked at once."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._refusals: dict[Scope, InvalidEvent | None] = {}
        self.trusts = _TRUSTS[caller.speaks]

    def check(self, scope: Scope) -> None:
        """Raise ``InvalidEvent`` where the caller may not capture."""
        if scope not in self._refusals:
            self._refusals[scope] = self._refusal(scope)
        refusal = self._refusals[scope]
        if refusal is not None:
            raise refusal

    def _refusal(self, scope: Scope) -> InvalidEvent | None:
        try:
            self._caller.require(AccessRole.CAPTURE, scope)
        except Forbidden as error:
            return InvalidEvent(error.reason, field=error.field, mend=error.mend)
        return None


def parse_events(
    body: bytes,
    *,
    content_type: str,
    content_encoding: str,
    now: datetime,
    limits: CaptureLimits,
    caller: Caller = ROOT,
) -> Parsed:
    """Parse a JSON array, one JSON object or NDJSON, plain or gzipped, into journal rows.

    Events that cannot be taken are rejected by their zero-based position (in NDJSON, lines that
    are not empty are counted); so are those of a scope where ``caller`` may not capture. What is
    taken has the trust of its role, but never more than the caller's. Raises ``InvalidInput`` when
    nothing of the body can be taken: no JSON at all, too large, too many events.
    """
    items, broken = decode(body, content_type, content_encoding, limits)
    parsed = Parsed([], [_rejection(index, error) for index, error in broken], [])
    latest = now + timedelta(seconds=limits.max_ahead_s)
    gate = _Gate(caller)
    for index, event in _validate(items, parsed.rejected):
        try:
            row = _row(event, latest, limits, gate)
        except InvalidEvent as error:
            parsed.rejected.append(_rejection(index, error))
        else:
            parsed.rows.append(row)
            parsed.indexes.append(index)
    parsed.rejected.sort()
    return parsed


def _validate(
    items: list[tuple[int, Any]], rejected: list[Rejection]
) -> Iterable[tuple[int, Event]]:
    try:
        events = _MANY.validate_python([item for _, item in items])
    except ValidationError:
        return _validate_each(items, rejected)
    return zip((index for index, _ in items), events, strict=True)


def _validate_each(
    items: list[tuple[int, Any]], rejected: list[Rejection]
) -> list[tuple[int, Event]]:
    good = []
    for index, item in items:
        try:
            good.append((index, _ONE.validate_python(item)))
        except ValidationError as error:
            rejected.append(Rejection(index, explain(error)[:_MAX_ERROR_CHARS]))
    return good


def _rejection(index: int, error: InvalidEvent) -> Rejection:
    return Rejection(index, str(error)[:_MAX_ERROR_CHARS])


def _row(event: Event, latest: datetime, limits: CaptureLimits, gate: _Gate) -> JournalRow:
    gate.check(event.scope)
    _check_time(event.ts, latest)
    if len(event.text) > limits.max_text_chars:
        raise InvalidEvent(
            f"has {len(event.text)} characters, at most {limits.max_text_chars}",
            field="text",
            mend="cut it, or send it as several events",
        )
    body = _body(event, limits)
    return JournalRow(
        id=event.id,
        scope=str(event.scope),
        session=event.session,
        ts_us=(event.ts - _EPOCH) // _MICROSECOND,
        kind=event.kind.value,
        role=event.role.value,
        trust=gate.trusts[event.role, event.kind],
        digest=hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest(),
        body=body,
        tokens=estimate_tokens(event),
    )


def _check_time(ts: datetime, latest: datetime) -> None:
    if ts < EARLIEST:
        raise InvalidEvent(
            f"{ts.isoformat()} is before {EARLIEST.date()}: a clock that was never set, or a "
            "number in the wrong unit",
            field="ts",
            mend=_TIME_MEND,
        )
    if ts > latest:
        raise InvalidEvent(
            f"{ts.isoformat()} lies in the future (latest taken now: "
            f"{latest.isoformat(timespec='seconds')})",
            field="ts",
            mend=f"check the client's clock; {_TIME_MEND}",
        )


def _body(event: Event, limits: CaptureLimits) -> bytes:
    """The event as canonical JSON in UTF-8: equal events, however written, give equal bytes."""
    content = {
        "id": event.id,
        "ts": event.ts.astimezone(UTC).isoformat(),
        "scope": str(event.scope),
        "session": event.session,
        "agent": event.agent,
        "kind": event.kind.value,
        "role": event.role.value,
        "text": event.text,
        "about": event.about,
        "data": event.data,
    }
    if event.data:
        _check_data(event.data, limits)
    return _canonical(content).encode()


def _check_data(data: dict[str, Any], limits: CaptureLimits) -> None:
    try:
        size = len(_canonical(data).encode())
    except ValueError:
        raise InvalidEvent(
            "holds NaN, infinity or a number too long to write",
            field="data",
            mend="send such numbers as text, or null",
        ) from None
    if size > limits.max_data_bytes:
        raise InvalidEvent(
            f"is {size} bytes of JSON, at most {limits.max_data_bytes}",
            field="data",
            mend="keep large payloads elsewhere and send a reference",
        )
