"""What became of the events, in counts, and what went wrong last."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

log = logging.getLogger("sleep_runtime.client")


@dataclass(frozen=True)
class Stats:
    """Counts since the client was made (in a forked child: since the fork), and what waits now.

    ``captured``: events taken. ``sent``: the runtime has them (``duplicates`` among them it had
    before), what earlier processes left in the spool included. ``spooled``: written to the spool.
    ``rejected``: refused by the runtime for good, see ``rejected.ndjson`` in the spool.
    ``dropped``: lost, because neither buffer nor spool had room. ``buffered`` wait in memory,
    ``spool_bytes`` on disk, those of other processes included. ``last_error`` is empty when the
    last thing that was tried succeeded.
    """

    captured: int = 0
    sent: int = 0
    duplicates: int = 0
    spooled: int = 0
    rejected: int = 0
    dropped: int = 0
    buffered: int = 0
    spool_bytes: int = 0
    last_error: str = ""


class Tally:
    """Counts from several threads, and each kind of trouble logged once until it is over."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.captured = 0
        self.sent = 0
        self.duplicates = 0
        self.spooled = 0
        self.rejected = 0
        self.dropped = 0
        self.last_error = ""
        self._told: set[str] = set()

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def trouble(self, kind: str, reason: str) -> None:
        """Remember it as the last error; log it unless this kind is known."""
        with self._lock:
            self.last_error = reason
            new = kind not in self._told
            self._told.add(kind)
        if new:
            log.warning("%s: %s (said once; client.stats() counts)", kind, reason)

    def over(self, *kinds: str) -> None:
        """These troubles are over; the next one is news."""
        with self._lock:
            ended = self._told.intersection(kinds)
            self._told -= ended
            self.last_error = ""
        if ended:
            log.info("over: %s", ", ".join(sorted(ended)))
