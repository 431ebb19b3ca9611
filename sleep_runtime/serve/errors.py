"""Which HTTP status tells which error, and in which words."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from sleep_runtime.core.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LimitReached,
    NotFound,
    Overloaded,
    RuntimeUnavailable,
    SleepRuntimeError,
    StaleRevision,
    StoreError,
    StoreFull,
    TooLarge,
    TooSlow,
    Unauthenticated,
)


def too_large(max_bytes: int, mend: str) -> TooLarge:
    """The refusal of a body that is larger than ``max_bytes``."""
    return TooLarge(f"is larger than {max_bytes} bytes", field="body", mend=mend)


def too_slow(within_s: float) -> TooSlow:
    """The refusal of a body that was not there in time."""
    return TooSlow(
        f"was not complete after {within_s:g} s",
        field="body",
        mend="send it faster or in smaller batches, or raise http.body_timeout_s",
    )


_STATUS: tuple[tuple[type[SleepRuntimeError], int], ...] = (
    (TooLarge, 413),
    (TooSlow, 408),
    (InvalidInput, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (StaleRevision, 409),
    (Overloaded, 429),
    (StoreFull, 507),
    (StoreError, 503),
    (RuntimeUnavailable, 503),
)


def status_of(error: SleepRuntimeError) -> int:
    """The status of the first kind in the table that the error is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


RETRY_AFTER_S = 1


def _retry_after_s(error: SleepRuntimeError) -> int:
    if isinstance(error, LimitReached):
        return max(RETRY_AFTER_S, math.ceil(error.retry_after_s))
    return RETRY_AFTER_S


class ErrorAnswer(NamedTuple):
    """What a client is told of an error, in the one shape errors have."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer_of(error: SleepRuntimeError, status: int | None = None) -> ErrorAnswer:
    """The answer that tells this error, under its own status unless one is given."""
    status = status or status_of(error)
    told = {"error": {"field": error.field, "reason": error.reason, "mend": error.mend}}
    headers = {"Retry-After": str(_retry_after_s(error))} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return ErrorAnswer(status, headers, json.dumps(told, ensure_ascii=False).encode())
