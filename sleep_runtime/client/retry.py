"""When to try again after a failure: a pure decision over a clock that is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MAX_RETRY_AFTER_S = 300.0
MAX_DENIED_S = 3600.0
MAX_DENIALS = 24
"""Refusals of the key after which nobody asks any more, most of a day later."""


@dataclass
class Circuit:
    """Open after a failure, for a time that doubles up to ``max_s``; half of it is random.

    While it is open nobody is asked, so a runtime that is away costs nothing. ``now`` is seconds
    on any monotonic clock.
    """

    base_s: float
    max_s: float
    chance: random.Random = field(default_factory=random.Random)
    failures: int = 0
    denials: int = 0
    until: float = 0.0

    def is_open(self, now: float) -> bool:
        return now < self.until

    def failed(
        self,
        now: float,
        *,
        retry_after_s: float | None = None,
        lasting: bool = False,
        denied: bool = False,
    ) -> None:
        """Wait longer than last time, at least as long as was asked for, at most five minutes.

        ``lasting`` is for what does not mend itself: the longest wait at once. A key that is
        refused again (``denied``) waits ever longer, up to an hour, and in the end for ``try_now``.
        """
        if denied:
            self._denied(now)
            return
        doubled = self.base_s * 2.0 ** min(self.failures, 30)
        wait_s = self.max_s if lasting else min(self.max_s, doubled)
        wait_s *= self.chance.uniform(0.5, 1.0)
        if retry_after_s is not None:
            asked = min(max(retry_after_s, 0.0), MAX_RETRY_AFTER_S)
            # A little later than asked, each by another little: not all clients come at once.
            wait_s = max(wait_s, asked * self.chance.uniform(1.0, 1.1))
        self.failures += 1
        self.until = now + wait_s

    def _denied(self, now: float) -> None:
        wait_s = min(MAX_DENIED_S, self.max_s * 2.0 ** min(self.denials, 30))
        self.failures += 1
        self.denials += 1
        over = self.denials > MAX_DENIALS
        self.until = float("inf") if over else now + wait_s * self.chance.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        self.failures = 0
        self.denials = 0
        self.until = 0.0

    def try_now(self) -> None:
        """Forget the wait, not the failures."""
        self.until = 0.0
