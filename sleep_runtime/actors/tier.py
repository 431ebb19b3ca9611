"""TierActor: one shard of one tier. Drives the runs of its scopes, at the lowest priority.

It lives beside the stores, not in the idle pool: it thinks little, and what it needs of the pool
is an engine, which it is told anew with every night. When the engine goes, its nights yield.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

import ray

from sleep_runtime.actors.driver import DriverParts, RunDriver
from sleep_runtime.actors.engine import EngineLine
from sleep_runtime.actors.idle import go_idle
from sleep_runtime.actors.whereabouts import CONTROL, Whereabouts, here
from sleep_runtime.core.ids import digest
from sleep_runtime.core.run import Run, Trigger
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.stores.forgetter import Forgetter
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot


def shard_of(scope: Scope, shards: int) -> int:
    """The shard a scope belongs to, the same in every process."""
    return int(digest(scope)[:8], 16) % shards


class TierActor:
    """Runs as many nights at once as it has threads. ``make_parts`` is called here."""

    def __init__(
        self,
        tier: Tier,
        shard: int,
        namespace: str,
        make_parts: Callable[[EngineLine], DriverParts],
        max_memory_bytes: int | None = None,
    ) -> None:
        go_idle(max_memory_bytes)
        # Not the process: what an actor held when it died is taken up at once by the next of
        # this name, under a higher epoch that shuts the dead one out.
        self._name = f"{tier.label}-{shard}"
        self._namespace = namespace
        self._make_parts = make_parts
        self._free: queue.SimpleQueue[tuple[EngineLine, RunDriver]] = queue.SimpleQueue()

    def consolidate(
        self, scope: Scope, trigger: Trigger, requested: str, engine: str
    ) -> Run | None:
        """One night of one scope, with the engine of this name. See ``RunDriver.consolidate``."""
        line, driver = self._driver()
        try:
            line.use(engine)
            return driver.consolidate(scope, trigger, requested)
        finally:
            self._free.put((line, driver))

    def _driver(self) -> tuple[EngineLine, RunDriver]:
        """A driver of this thread's own: its readers and its line are nobody else's meanwhile."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            line = EngineLine(self._namespace)
            parts = self._make_parts(line)
            driver = RunDriver(self._name, parts)
            Forgetter(parts.ledger, driver.forget)
            return line, driver

    @ray.method(concurrency_group=CONTROL)
    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    @ray.method(concurrency_group=CONTROL)
    def ready(self) -> Whereabouts:
        return here()
