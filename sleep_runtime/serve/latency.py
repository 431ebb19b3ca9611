"""How the hot path is doing at this moment, as the idle pool asks for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 5.0
MAX_SAMPLES = 2000


class LatencyWindow:
    """Durations of the last ``WINDOW_S`` seconds and the requests under way. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)
        self._ongoing = 0

    def begin(self) -> float:
        """A request begins. Returns what ``end`` needs."""
        with self._lock:
            self._ongoing += 1
        return self._monotonic()

    def end(self, began: float) -> None:
        """The request that began then is answered."""
        now = self._monotonic()
        with self._lock:
            self._ongoing -= 1
            self._samples.append((now, (now - began) * 1000.0))

    def read(self) -> tuple[float | None, int]:
        """The p99 in milliseconds, None without a request in the window, and those under way."""
        since = self._monotonic() - WINDOW_S
        with self._lock:
            recent = sorted(ms for at, ms in self._samples if at >= since)
            ongoing = self._ongoing
        if not recent:
            return None, ongoing
        return recent[min(len(recent) - 1, int(0.99 * len(recent)))], ongoing
