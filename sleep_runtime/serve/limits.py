"""Limits: how much one caller may ask for, enforced where a request comes in.

A rate is a bucket that fills steadily and holds what is saved up in ``burst_s`` seconds. Buckets
belong to a caller's name and live in one replica, so that asking costs no message: of ``replicas``
each gives out its share of a rate and of the requests at once. A caller without limits costs a
comparison.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.core.access import NO_LIMITS, Caller, KeyLimits
from sleep_runtime.core.errors import LimitReached
from sleep_runtime.serve.bodies import Limit

MAX_CALLERS = 10_000
# A probe that is told to come back later restarts a process that is well.
NEVER_LIMITED = frozenset({"/healthz", "/readyz"})
_ROUNDING_S = 1e-9


class Bucket:
    """The generic cell rate algorithm, as virtual scheduling: ITU-T I.371 (03/2004), annex A.

    It keeps one instant, at which it will be full again. At least one may always be saved up.
    """

    __slots__ = ("_burst_s", "_full_at", "_interval_s")

    def __init__(self, per_s: float, burst_s: float) -> None:
        self._interval_s = 1.0 / per_s
        self._burst_s = max(burst_s, self._interval_s)
        self._full_at = -math.inf

    def take(self, count: int, now: float) -> float:
        """Take so many and return 0.0, or take none and return the seconds until it would do.

        More than can ever be saved up are given when the bucket is full, and paid off before
        the next are: a large batch is late, not impossible.
        """
        full_at, cost = max(self._full_at, now), count * self._interval_s
        wait_s = full_at + min(cost, self._burst_s) - self._burst_s - now
        if wait_s > _ROUNDING_S:
            return wait_s
        self._full_at = full_at + cost
        return 0.0

    def charge(self, count: int, now: float) -> None:
        """Take so many whether they are there or not: what something cost, once that is known."""
        self._full_at = max(self._full_at, now) + count * self._interval_s


class Use:
    """What one caller has used up lately, against their limits."""

    __slots__ = ("capture", "events", "limits", "most_ongoing", "ongoing", "query", "requests")

    def __init__(self, limits: KeyLimits, replicas: int) -> None:
        self.limits = limits
        self.requests = _bucket(limits.requests_per_s, limits.burst_s, replicas)
        self.events = _bucket(limits.events_per_s, limits.burst_s, replicas)
        self.query = _bucket(limits.query_cost_per_s, limits.burst_s, replicas)
        most = limits.max_concurrent
        self.most_ongoing = math.inf if most is None else math.ceil(most / replicas)
        self.ongoing = 0
        self.capture: CaptureLimits | None = None

    def enter(self, now: float) -> None:
        if self.ongoing >= self.most_ongoing:
            raise LimitReached(
                f"{self.ongoing} requests of this key are under way",
                field="limits.max_concurrent",
                mend="wait for an answer before the next request",
            )
        self.take(self.requests, 1, now, "limits.requests_per_s")
        self.ongoing += 1

    def leave(self) -> None:
        self.ongoing -= 1

    def take(self, bucket: Bucket | None, count: int, now: float, field: str) -> None:
        if bucket is None or not (wait_s := bucket.take(count, now)):
            return
        most = getattr(self.limits, field.rpartition(".")[2])
        raise LimitReached(
            f"this key may have {most:g} a second, saved up for {self.limits.burst_s:g} s",
            field=field,
            mend=f"ask again in {wait_s:.1f} s, or have the key's limit raised",
            retry_after_s=wait_s,
        )


class _Known(NamedTuple):
    """A caller's own limits, by which they are known again, the ones that apply, and their use."""

    own: KeyLimits
    limits: KeyLimits
    use: Use | None


class Limiter:
    """Holds every caller to their limits, or to ``default`` when they have none of their own.

    Not locked: its user lives in one event loop. Of more than ``max_callers`` the one who was
    silent longest starts anew. ``now`` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        default: KeyLimits = NO_LIMITS,
        *,
        replicas: int = 1,
        now: Callable[[], float] = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self._default = NO_LIMITS if default == NO_LIMITS else default
        self._replicas = replicas
        self._now = now
        self._max_callers = max_callers
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def enter(self, caller: Caller, path: str) -> Use | None:
        """Let a request in; ``leave`` what is returned when it is answered.

        Raises ``LimitReached``. None: nothing limits this caller.
        """
        use = self._use(caller)
        if use is None or path in NEVER_LIMITED:
            return None
        use.enter(self._now())
        return use

    def body(self, caller: Caller, most: Limit) -> Limit:
        """How large a body of theirs may be where ``most`` is what everybody may send."""
        use = self._use(caller)
        own = use.limits.max_body_bytes if use is not None else None
        if own is None or own >= most.bytes:
            return most
        return Limit(own, "send smaller requests: this is what the key may send")

    def capture(self, caller: Caller, most: CaptureLimits) -> CaptureLimits:
        """How much of events one request of theirs may carry."""
        use = self._use(caller)
        if use is None:
            return most
        if use.capture is None:
            use.capture = _narrowed(most, use.limits)
        return use.capture

    def events(self, caller: Caller, count: int) -> None:
        """Count events that are about to be kept. Raises ``LimitReached``: then none may be."""
        if (use := self._use(caller)) is not None:
            use.take(use.events, count, self._now(), "limits.events_per_s")

    def question(self, caller: Caller) -> None:
        """Raise ``LimitReached`` while earlier questions are not paid off."""
        if (use := self._use(caller)) is not None:
            use.take(use.query, 1, self._now(), "limits.query_cost_per_s")

    def looked(self, caller: Caller, notes: int) -> None:
        """Count the notes a question that was let in has looked at."""
        use = self._use(caller)
        if use is not None and use.query is not None:
            use.query.charge(max(0, notes - 1), self._now())

    def _use(self, caller: Caller) -> Use | None:
        own = caller.limits
        if own is NO_LIMITS and self._default is NO_LIMITS:
            return None
        known = self._known.get(caller.name)
        if known is None or known.own is not own:
            known = self._known[caller.name] = self._renewed(known, own)
            if len(self._known) > self._max_callers:
                self._known.popitem(last=False)
        self._known.move_to_end(caller.name)
        return known.use

    def _renewed(self, known: _Known | None, own: KeyLimits) -> _Known:
        """Limits that are equal to the earlier ones go on with what was used of those."""
        limits = self._default if own == NO_LIMITS else own
        if known is not None and known.limits == limits:
            return known._replace(own=own)
        use = None if limits == NO_LIMITS else Use(limits, self._replicas)
        return _Known(own, limits, use)


def _bucket(per_s: float | None, burst_s: float, replicas: int) -> Bucket | None:
    return None if per_s is None else Bucket(per_s / replicas, burst_s)


def _narrowed(most: CaptureLimits, limits: KeyLimits) -> CaptureLimits:
    own = {
        "max_body_bytes": limits.max_body_bytes,
        "max_events": limits.max_batch_events,
        "max_text_chars": limits.max_text_chars,
    }
    less = {name: min(value, getattr(most, name)) for name, value in own.items() if value}
    return most.model_copy(update=less)
