"""TierActor: one shard of one tier. Drives the runs of its scopes, on idle compute only."""

from __future__ import annotations

import os
from collections.abc import Callable

from sleep_runtime.actors.driver import DriverParts, RunDriver
from sleep_runtime.core.ids import digest
from sleep_runtime.core.run import Run, Trigger
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot


def go_idle() -> str:
    """Give this process the lowest priority there is. Returns the name of the policy.

    Has to run before any library starts threads: the policy belongs to a thread and is
    inherited by those it starts.
    """
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return "SCHED_IDLE"
    os.nice(19)
    return "nice 19"


def shard_of(scope: Scope, shards: int) -> int:
    """The shard a scope belongs to, the same in every process."""
    return int(digest(scope)[:8], 16) % shards


class TierActor:
    """Runs nights one after the other. ``make_parts`` is called here, at the lowest priority."""

    def __init__(self, tier: Tier, shard: int, make_parts: Callable[[], DriverParts]) -> None:
        go_idle()
        # Not the process: what an actor held when it died is taken up at once by the next of
        # this name, under a higher epoch that shuts the dead one out.
        self._name = f"{tier.label}-{shard}"
        self._driver = RunDriver(self._name, make_parts())

    def consolidate(self, scope: Scope, trigger: Trigger, requested: str) -> Run | None:
        return self._driver.consolidate(scope, trigger, requested)

    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    def ready(self) -> str:
        return self._name
