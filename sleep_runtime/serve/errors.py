"""Which HTTP status tells which error."""

from __future__ import annotations

from sleep_runtime.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Overloaded,
    RuntimeUnavailable,
    SleepRuntimeError,
    StaleRevision,
    StoreError,
    StoreFull,
    TooLarge,
)


def too_large(max_bytes: int) -> TooLarge:
    """The refusal of a body that is larger than ``max_bytes``."""
    return TooLarge(
        f"is larger than {max_bytes} bytes",
        field="body",
        mend="send smaller batches, or raise http.max_body_bytes",
    )


_STATUS: tuple[tuple[type[SleepRuntimeError], int], ...] = (
    (TooLarge, 413),
    (InvalidInput, 422),
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
