"""The buffer between an agent and the flusher: bounded in events and bytes, never waits for I/O."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple


class BufferLimits(NamedTuple):
    """``full``: no more is taken. ``batch_events``: worth a request before its age is."""

    full_events: int
    full_bytes: int
    batch_events: int


class Buffer:
    """Encoded events, oldest first. Every method may be called from any thread.

    ``wake`` is called when the first event comes and when a batch is together, ``spill`` when half
    of the room is taken; both from the capturing thread, so they must be quick.
    """

    def __init__(
        self, limits: BufferLimits, *, wake: Callable[[], None], spill: Callable[[], None]
    ) -> None:
        # Reentrant, because a signal handler or a finaliser may capture while a capture is on.
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._limits = limits
        self._wake = wake
        self._spill = spill
        self._bytes = 0
        self._since = 0.0
        self._half_events = max(1, limits.full_events // 2)
        self._half_bytes = limits.full_bytes // 2
        self.accepted = 0
        self.refused = 0

    def put(self, line: bytes) -> bool:
        """Take one event; False when there is no room for it."""
        size = len(line)
        with self._lock:
            count = len(self._lines) + 1
            if count > self._limits.full_events or self._bytes + size > self._limits.full_bytes:
                self.refused += 1
                return False
            # Nothing is called between reading and writing a sum: no handler can come between.
            self._bytes += size
            after = self._bytes
            self._lines.append(line)
            self.accepted += 1
            if count == 1:
                self._since = time.monotonic()
        if count in (1, self._limits.batch_events):
            self._wake()
        if count == self._half_events or after - size < self._half_bytes <= after:
            self._spill()
        return True

    def take(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Take out the oldest: at least one if there is any, else within both bounds."""
        with self._lock:
            taken: list[bytes] = []
            size = 0
            while self._lines and len(taken) < most_events:
                size += len(self._lines[0]) + 1
                if taken and size > most_bytes:
                    break
                line = self._lines.popleft()
                gone = len(line)
                self._bytes -= gone
                taken.append(line)
            self._since = time.monotonic()
            return taken

    def give_back(self, lines: Sequence[bytes]) -> int:
        """Put what could not be kept elsewhere in front again; how many had no room."""
        with self._lock:
            lost = 0
            for line in reversed(lines):
                room = len(self._lines) < self._limits.full_events
                if room and self._bytes + len(line) <= self._limits.full_bytes:
                    self._lines.appendleft(line)
                    self._bytes += len(line)
                else:
                    lost += 1
            self._since = time.monotonic()
            return lost

    @property
    def due_since(self) -> float | None:
        """When the oldest event came, on the monotonic clock; None when there is none."""
        with self._lock:
            return self._since if self._lines else None

    def __len__(self) -> int:
        return len(self._lines)
