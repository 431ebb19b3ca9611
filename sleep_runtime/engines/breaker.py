"""Patience with a server that fails: how long to wait before asking again, and when to stop asking.

``after_failure`` and ``admit`` are pure; ``Breaker`` keeps the state for the threads of one
process and takes its clock as an argument.

    closed -- threshold failures in a row --> open -- wait over --> half open -- success --> closed
                                               ^------------- failure ---------------'
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sleep_runtime.core.errors import EngineUnavailable


@dataclass(frozen=True)
class Backoff:
    """Exponential waits with seeded jitter: equal arguments give the equal wait."""

    first_s: float = 0.5
    most_s: float = 20.0
    seed: int = 0

    def wait_s(self, failures: int, *, key: str = "") -> float:
        """Seconds to wait after ``failures`` >= 1 failures: half to all of the doubled wait."""
        whole = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return whole * random.Random(f"{self.seed}:{key}:{failures}").uniform(0.5, 1.0)


@dataclass(frozen=True)
class BreakerState:
    """``failures`` in a row; closed when ``open_until_s`` is None. Times are of a monotonic clock.

    While ``trial`` is set one caller is out to see whether the server is back.
    """

    failures: int = 0
    open_until_s: float | None = None
    trial: bool = False


def admit(state: BreakerState, now_s: float) -> BreakerState | None:
    """The state after letting one caller through, or None when it must not go."""
    if state.open_until_s is None:
        return state
    if state.trial or now_s < state.open_until_s:
        return None
    return replace(state, trial=True)


def after_failure(
    state: BreakerState, now_s: float, *, threshold: int, backoff: Backoff
) -> BreakerState:
    """The state after one more failure. Each failed trial doubles the wait."""
    failures = state.failures + 1
    if failures < threshold:
        return BreakerState(failures=failures)
    wait_s = backoff.wait_s(failures - threshold + 1, key="breaker")
    return BreakerState(failures=failures, open_until_s=now_s + wait_s)


@dataclass
class Breaker:
    """Opens after ``threshold`` guarded calls failed in a row. Safe for many threads."""

    threshold: int = 3
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=10.0, most_s=300.0))
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.threshold < 1:
            raise ValueError("threshold must be at least 1")
        self._state = BreakerState()
        self._last: EngineUnavailable | None = None
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        with self._lock:
            return self._state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run the body if the server may be asked, and remember how that went.

        Raises ``EngineUnavailable`` at once, without running the body, while the breaker is open.
        Whatever the body raises counts as a failure and goes on to the caller.
        """
        self._enter()
        try:
            yield
        except BaseException as error:
            self._failed(error if isinstance(error, EngineUnavailable) else None)
            raise
        self._succeeded()

    def _enter(self) -> None:
        with self._lock:
            now_s = self.monotonic()
            admitted = admit(self._state, now_s)
            if admitted is None:
                raise self._refusal(now_s)
            self._state = admitted

    def _refusal(self, now_s: float) -> EngineUnavailable:
        wait_s = max(0.0, (self._state.open_until_s or now_s) - now_s)
        last = self._last
        return EngineUnavailable(
            f"not asked for another {wait_s:.0f} s after {self._state.failures} failures in a row; "
            f"the last: {last.reason if last else 'an unexpected error'}",
            field=last.field if last else "",
            mend=last.mend if last else "",
        )

    def _failed(self, error: EngineUnavailable | None) -> None:
        with self._lock:
            self._last = error
            self._state = after_failure(
                self._state, self.monotonic(), threshold=self.threshold, backoff=self.backoff
            )

    def _succeeded(self) -> None:
        with self._lock:
            self._last = None
            self._state = BreakerState()
