"""Away: a part that failed is left alone for a while, so that its failing costs no request."""

from __future__ import annotations

import time

RETRY_S = 30.0


class Away:
    """Truthy for ``retry_s`` after ``mark``. Any thread; two may find it back at once."""

    def __init__(self, retry_s: float = RETRY_S) -> None:
        self._retry_s = retry_s
        self._until = 0.0
        self._reason = ""

    @property
    def reason(self) -> str:
        return self._reason if self else ""

    def mark(self, reason: str) -> None:
        """It failed now, for this reason."""
        self._reason = reason
        self._until = time.monotonic() + self._retry_s

    def __bool__(self) -> bool:
        return time.monotonic() < self._until
