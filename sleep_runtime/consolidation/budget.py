"""Budgets: which limit is reached, and when there is room again.

    | limit                      | holds                     | there is room again               |
    |----------------------------|---------------------------|-----------------------------------|
    | ``policy.budget.max_…``    | one turn of one run       | at its next turn                  |
    | ``policy.budget.tenant.…`` | one organisation          | when enough has left the window   |
    | ``policy.budget.night.…``  | the whole runtime         | when enough has left the window   |

They are looked at in this order and the first that is reached counts. The window rolls in whole
hours, as spending is kept: an hour counts until all of it lies further back than ``window_s``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sleep_runtime.core.policy import BudgetPolicy, WindowBudget
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import BUCKET, Bucket, Cost

PREFIX = "policy.budget."
_UNITS = {
    "max_calls": "calls",
    "max_tokens": "tokens",
    "max_gpu_seconds": "GPU-seconds",
    "max_seconds": "seconds",
}
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Spent:
    """A limit that is reached. ``name`` is its place below ``policy.budget``.

    ``who`` used it up: an organisation, or empty for a run or the runtime. ``until`` is the
    earliest instant with room again; None: at the run's next turn.
    """

    name: str
    used: float
    limit: float
    who: Scope | None = None
    until: datetime | None = None
    window_s: float = 0.0

    @property
    def field(self) -> str:
        """The setting that holds."""
        return PREFIX + self.name

    @property
    def reason(self) -> str:
        """What was used of what, in words."""
        unit = _UNITS[self.name.rpartition(".")[2]]
        head = f"used {self.used:.10g} of {self.limit:.10g} {unit}"
        if self.until is None:
            return head
        whose = f"{self.who} has " if self.who else "all nights have "
        return f"{whose}{head} in {self.window_s / _HOUR_S:g} h"

    @property
    def mend(self) -> str:
        """When it goes on, and what a person can do."""
        if self.until is None:
            return "the run goes on at its next turn; raise the limit if that is too slow"
        return f"room again from {self.until:%Y-%m-%d %H:%M} UTC; raise the limit to go on now"


@dataclass(frozen=True)
class Held:
    """What may not start now: everything, or the nights of these organisations."""

    night: Spent | None = None
    tenants: tuple[Spent, ...] = ()

    @property
    def orgs(self) -> frozenset[Scope]:
        return frozenset(spent.who for spent in self.tenants if spent.who is not None)

    def holds(self, org: Scope) -> bool:
        """Whether no night of this organisation may start."""
        return self.night is not None or org in self.orgs

    def all(self) -> tuple[Spent, ...]:
        return (self.night, *self.tenants) if self.night else self.tenants


def windowed(policy: BudgetPolicy) -> bool:
    """Whether anything but single runs is limited, so that spending has to be looked up."""
    return any(True for _ in (*_limits(policy.tenant), *_limits(policy.night)))


def window_start(policy: BudgetPolicy, now: datetime) -> datetime:
    """Buckets that began at or before this instant no longer count."""
    return now - timedelta(seconds=policy.window_s) - BUCKET


def of_run(turn: Cost, policy: BudgetPolicy) -> Spent | None:
    """The first limit of a run's turn that this cost reaches."""
    limits = {
        "max_calls": policy.max_calls,
        "max_tokens": policy.max_tokens,
        "max_gpu_seconds": policy.max_gpu_seconds or None,
        "max_seconds": policy.max_seconds,
    }
    for name, limit in limits.items():
        used = _amount(turn, name)
        if limit is not None and used >= limit:
            return Spent(name=name, used=used, limit=limit)
    return None


def of_windows(
    org: Scope, spent: Sequence[Bucket], policy: BudgetPolicy, now: datetime
) -> Spent | None:
    """The limit that keeps an organisation from another call: its own first, then everybody's.

    ``spent`` are the buckets of all organisations; those that no longer count do no harm.
    """
    own = [bucket for bucket in spent if bucket.org == org]
    return _window("tenant", policy.tenant, own, policy, now, org) or _window(
        "night", policy.night, spent, policy, now
    )


def held(spent: Sequence[Bucket], policy: BudgetPolicy, now: datetime) -> Held:
    """All that is held back, by what every organisation has spent."""
    by_org: dict[Scope, list[Bucket]] = defaultdict(list)
    for bucket in spent:
        by_org[bucket.org].append(bucket)
    tenants = (
        _window("tenant", policy.tenant, own, policy, now, org)
        for org, own in sorted(by_org.items())
    )
    return Held(
        night=_window("night", policy.night, spent, policy, now),
        tenants=tuple(found for found in tenants if found),
    )


def _window(
    kind: str,
    budget: WindowBudget,
    spent: Iterable[Bucket],
    policy: BudgetPolicy,
    now: datetime,
    who: Scope | None = None,
) -> Spent | None:
    limits = dict(_limits(budget))
    if not limits:
        return None
    start = window_start(policy, now)
    counting = [bucket for bucket in spent if bucket.hour > start]
    for name, limit in limits.items():
        hours = _by_hour(counting, name)
        used = sum(hours.values())
        if used >= limit:
            return Spent(
                name=f"{kind}.{name}",
                used=used,
                limit=limit,
                who=who,
                until=_room(hours, limit, policy),
                window_s=policy.window_s,
            )
    return None


def _room(hours: Mapping[datetime, float], limit: float, policy: BudgetPolicy) -> datetime:
    """When enough of the oldest hours will have left the window. ``limit`` is above nought."""
    left = sum(hours.values())
    oldest_first = sorted(hours)
    for hour in oldest_first:
        left -= hours[hour]
        if left < limit:
            return _gone(hour, policy)
    return _gone(oldest_first[-1], policy)


def _gone(hour: datetime, policy: BudgetPolicy) -> datetime:
    return hour + BUCKET + timedelta(seconds=policy.window_s)


def _by_hour(spent: Iterable[Bucket], name: str) -> dict[datetime, float]:
    hours: dict[datetime, float] = defaultdict(float)
    for bucket in spent:
        hours[bucket.hour] += _amount(bucket.cost, name)
    return hours


def _limits(budget: WindowBudget) -> Iterator[tuple[str, float]]:
    for name in _UNITS:
        limit = getattr(budget, name)
        if limit is not None:
            yield name, limit


def _amount(cost: Cost, name: str) -> float:
    return float(getattr(cost, name.removeprefix("max_")))
