"""How the hot path is doing at this moment, as the idle pool asks for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

WINDOW_S = 5.0
MAX_SAMPLES = 2000
_WATCHED = ("/v1/events", "/v1/search", "/v1/context")

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


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


class WatchLatency:
    """ASGI middleware that fills a window with the requests an agent waits for."""

    def __init__(self, app: Asgi, window: LatencyWindow) -> None:
        self._app = app
        self._window = window

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(_WATCHED):
            await self._app(scope, receive, send)
            return
        began = self._window.begin()
        try:
            await self._app(scope, receive, send)
        finally:
            self._window.end(began)
