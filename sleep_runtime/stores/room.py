"""Room: how much may wait to be written, in events and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sleep_runtime.core.errors import Overloaded
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.telemetry.metrics import METRICS

JOURNAL, REPLICA = "journal", "replica"
MAX_PENDING = 20_000
MAX_PENDING_BYTES = 256 * 2**20


class Size(NamedTuple):
    """Events, and the bytes of their bodies."""

    events: int
    bytes: int


class Room:
    """Counts what waits. Not locked: its user calls it from one thread at a time.

    ``queue`` is what metrics call it: ``journal`` or ``replica``.
    """

    def __init__(self, queue: str, max_events: int, max_bytes: int) -> None:
        self._queue = queue
        self._max = Size(max_events, max_bytes)
        self._taken = Size(0, 0)

    def take(self, rows: Sequence[JournalRow]) -> Size:
        """Make these rows wait. Raises ``Overloaded`` when they do not fit beside the others."""
        size = Size(len(rows), sum(len(row.body) for row in rows))
        taken, most = self._taken, self._max
        if taken.events + size.events > most.events:
            raise self._full(
                f"{taken.events} events are waiting to be written, {size.events} more do not fit",
                mend=f"retry in a second, with at most {most.events} events at once",
            )
        if taken.bytes + size.bytes > most.bytes:
            raise self._full(
                f"{taken.bytes} bytes are waiting to be written, {size.bytes} more do not fit",
                mend=f"retry in a second, with at most {most.bytes} bytes at once",
            )
        self._now(Size(taken.events + size.events, taken.bytes + size.bytes))
        return size

    def give_back(self, size: Size) -> None:
        """So much waits no longer."""
        taken = self._taken
        self._now(Size(taken.events - size.events, taken.bytes - size.bytes))

    def _now(self, taken: Size) -> None:
        self._taken = taken
        if self._queue == JOURNAL:
            METRICS.journal_queue_events.set(taken.events)

    def _full(self, reason: str, *, mend: str) -> Overloaded:
        METRICS.overloaded.labels(self._queue).inc()
        return Overloaded(reason, mend=mend)
