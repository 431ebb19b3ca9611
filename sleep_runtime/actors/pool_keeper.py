"""PoolKeeper: the thread beside the scheduler that looks, asks the governor, and executes.

It looks every ``watch_s`` while an engine holds a bundle, and seldom otherwise. What it remembers
between two decisions is the governor's ``Memory``; the GPU time of the day is kept in the ledger
as well, so that a restart gives nobody a second night.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sleep_runtime.actors.cluster import ClusterEyes, ClusterLook
from sleep_runtime.actors.gpu_memory import GpuWitness
from sleep_runtime.actors.idle_pool import IdlePool
from sleep_runtime.consolidation.diagnosis import diagnose
from sleep_runtime.consolidation.governor import day_of, decide
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    ActionKind,
    Backlog,
    Decision,
    Demand,
    Memory,
    PoolState,
    Snapshot,
)
from sleep_runtime.core.ports import Clock, LedgerReader, LedgerWriter
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

KEEP_EVERY_S = 30.0
BACKLOG_EVERY_S = 0.5
REPORT_LIFE_S = 5.0
STUCK_S = 10.0

log = get_logger(__name__)


@dataclass(frozen=True)
class KeeperParts:
    """What a keeper works with."""

    pool: IdlePool
    policy: PoolPolicy
    ledger: LedgerReader
    writer: LedgerWriter
    clock: Clock
    eyes: ClusterEyes


@dataclass
class _Report:
    """What a replica of the hot path said last, and when."""

    at_s: float
    p99_ms: float | None
    queued: int


class PoolKeeper:
    """Keeps the idle pool as the governor wants it.

    ``changed`` is called when engines open; ``backlog`` is what nights have to do at this moment.
    """

    def __init__(
        self, parts: KeeperParts, changed: Callable[[], None], backlog: Callable[[], Backlog]
    ) -> None:
        self._parts = parts
        self._changed = changed
        self._ask_backlog = backlog
        self._memory = self._counted = Memory()
        self._last = Decision((), self._memory, PoolState.ASLEEP, "", parts.policy.watch_s)
        self._state_since = parts.clock.now()
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._open: list[str] = []
        self._reports: dict[str, _Report] = {}
        self._asked_until_s = self._decided_until_s = 0.0
        self._leaving: dict[str, float] = {}
        self._yield_ms: float | None = None
        self._kept_s = 0.0
        self._backlog_s, self._known_backlog = 0.0, Backlog()
        self._stale = threading.Event()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._free = threading.Condition()
        self._holding = False
        self._witness = GpuWitness(parts.policy, STUCK_S)
        self._thread = threading.Thread(target=self._keep, name="pool-keeper", daemon=True)

    def start(self) -> None:
        """Take over what is there, then look until stopped."""
        day = day_of(self._parts.clock.now(), self._parts.policy)
        self._memory = replace(
            self._memory, day=day, gpu_seconds=self._parts.ledger.gpu_seconds(day)
        )
        self._counted = self._memory
        self._parts.pool.adopt(time.monotonic())
        self._thread.start()

    def stop(self) -> None:
        """Stop looking and give every bundle back."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10.0)
        self._parts.pool.remove()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() or self._stop.is_set()

    # -- for the night watch, from its thread

    @property
    def opened(self) -> bool:
        """Whether an engine takes nights now."""
        return bool(self._open)

    def take(self) -> str | None:
        """The open engine with the fewest nights, counted as one more; None when none is open."""
        with self._lock:
            if not self._open:
                return None
            name = min(self._open, key=lambda engine: (self._in_flight[engine], engine))
            self._in_flight[name] += 1
            return name

    def give_back(self, engine: str) -> bool:
        """A night of this engine ended. Returns whether the engine is still open."""
        with self._lock:
            self._in_flight[engine] -= 1
            return engine in self._open

    def engines(self) -> list[Any]:
        """The engines that can be asked for metrics."""
        return self._parts.pool.actors()

    def look_now(self) -> None:
        """Nights became due or ended: decide again at once."""
        self._stale.set()
        self._wake.set()

    # -- for anybody, from any thread

    def ask(self, seconds: float, timeout_s: float) -> dict[str, Any]:
        """Give the pool to live work for this long; returns when every bundle is free.

        ``freed`` is False when one was not within ``timeout_s``. Zero seconds ends an earlier ask.
        """
        started = time.monotonic()
        until_s = self._asked_until_s = started + seconds if seconds > 0 else 0.0
        self._wake.set()
        freed = seconds <= 0
        with self._free:
            if not freed:
                freed = self._free.wait_for(
                    lambda: self._decided_until_s >= until_s and not self._holding, timeout_s
                )
        return {"freed": freed, "waited_ms": round((time.monotonic() - started) * 1000, 1)}

    def report(self, replica: str, p99_ms: float | None, queued: int) -> None:
        """What one replica of the hot path measured of itself just now."""
        with self._lock:
            self._reports[replica] = _Report(time.monotonic(), p99_ms, queued)

    def where(self) -> dict[str, dict[str, Any]]:
        """Where each engine that answers runs."""
        found = self._parts.pool.where()
        return {name: asdict(where) for name, (_, where) in found.items() if where is not None}

    def status(self) -> dict[str, Any]:
        """The pool as ``status`` shows it."""
        last, memory = self._last, self._memory
        waits_s = memory.not_before_s - time.monotonic()
        return {
            "state": last.state.value,
            "reason": last.reason,
            "since": self._state_since.isoformat(),
            "engines": [
                {"engine": name, "phase": phase.value}
                for name, (phase, _) in sorted(self._parts.pool.where().items())
            ],
            "nights": sum(self._in_flight.values()),
            "next_try_s": round(waits_s, 1) if waits_s > 0 else None,
            "yields_in_a_row": memory.yields,
            "failures_in_a_row": memory.failures,
            "last_yield_ms": self._yield_ms,
            "gpu_seconds_today": round(memory.gpu_seconds, 1),
        }

    # -- the loop

    def _keep(self) -> None:
        while not self._stop.is_set():
            wait_s = 1.0
            try:
                wait_s = self.turn()
            except Exception as error:  # without this thread no night would ever give way
                log.exception(LogEvent.TICK_FAILED, reason=str(error))
            self._wake.wait(wait_s)
            self._wake.clear()

    def turn(self) -> float:
        """One look, one decision, and its execution. Returns the longest wait until the next."""
        parts, now_s = self._parts, time.monotonic()
        look = parts.eyes.look()
        parts.pool.look(look, now_s)
        self._see_freed(look, now_s)
        asked_until_s = self._asked_until_s
        snapshot = self._snapshot(look, now_s)
        decision = decide(snapshot, parts.policy)
        for removed in parts.pool.execute(decision.actions, now_s):
            self._leaving[removed.group] = now_s
            self._witness.watch(*removed)
        self._after(decision, look, asked_until_s)
        return 0.005 if self._leaving else decision.look_again_s

    def _snapshot(self, look: ClusterLook, now_s: float) -> Snapshot:
        with self._lock:
            flights = dict(self._in_flight)
            self._reports = {
                name: report
                for name, report in self._reports.items()
                if now_s - report.at_s < REPORT_LIFE_S
            }
            fresh = list(self._reports.values())
        measured = [report.p99_ms for report in fresh if report.p99_ms is not None]
        return Snapshot(
            now_s=now_s,
            now=self._parts.clock.now(),
            demand=Demand(
                asks=look.asks,
                asked_until_s=self._asked(now_s),
                hot_p99_ms=max(measured, default=None),
                queued=sum(report.queued for report in fresh) if fresh else None,
                free_gpu_bytes=self._witness.home_free_bytes(),
                known=look.known,
            ),
            engines=self._parts.pool.views(flights),
            nodes=look.nodes,
            backlog=self._backlog(now_s),
            memory=self._memory,
        )

    def _asked(self, now_s: float) -> float:
        """When an ask ends: not before a decision knew it and its bundles are free."""
        asked_s = self._asked_until_s
        open_still = asked_s > self._decided_until_s or bool(asked_s and self._leaving)
        return max(asked_s, now_s + 0.001) if open_still else asked_s

    def _backlog(self, now_s: float) -> Backlog:
        """What nights have to do, asked of the ledger twice a second at most."""
        if now_s - self._backlog_s >= BACKLOG_EVERY_S or self._stale.is_set():
            self._stale.clear()
            self._backlog_s, self._known_backlog = now_s, self._ask_backlog()
        return self._known_backlog

    def _after(self, decision: Decision, look: ClusterLook, asked_until_s: float) -> None:
        reason = decision.reason
        if decision.state is PoolState.WAITING_FOR_NODE:
            reason = diagnose(look.nodes, self._parts.policy.bundle) or reason
        was = self._last
        self._memory, self._last = decision.memory, replace(decision, reason=reason)
        opened = self._parts.pool.open()
        with self._lock:
            grown = set(opened) - set(self._open)
            self._open = opened
            for name in set(self._in_flight) - set(opened):
                if self._in_flight[name] <= 0:
                    del self._in_flight[name]
        with self._free:
            held = any(engine.holds for engine in self._parts.pool.views({}))
            self._holding = held or bool(self._leaving)
            self._decided_until_s = asked_until_s
            if not self._holding:
                self._free.notify_all()
        self._count(decision)
        if (was.state, was.reason) != (decision.state, reason):
            self._state_since = self._parts.clock.now()
            log.info(LogEvent.POOL_STATE, state=decision.state.value, reason=reason)
        self._keep_gpu_seconds()
        if grown:
            self._changed()

    def _see_freed(self, look: ClusterLook, now_s: float) -> None:
        """Count what was given back once the cluster no longer shows it as held."""
        for group, since_s in list(self._leaving.items()):
            gone = look.known and group not in look.groups and self._witness.freed(group)
            if gone:
                del self._leaving[group]
                self._yield_ms = round((time.monotonic() - since_s) * 1000, 1)
                METRICS.pool_yield_seconds.observe(time.monotonic() - since_s)
                log.info(LogEvent.POOL_YIELDED, ms=self._yield_ms)
            elif now_s - since_s > STUCK_S:
                del self._leaving[group]
                log.warning(LogEvent.POOL_STUCK, seconds=STUCK_S)

    def _count(self, decision: Decision) -> None:
        was, memory = self._counted, decision.memory
        before = was.gpu_seconds if was.day == memory.day else 0.0
        METRICS.pool_gpu_seconds.inc(max(0.0, memory.gpu_seconds - before))
        self._counted = memory
        for action in decision.actions:
            if action.kind is ActionKind.REMOVE:
                METRICS.pool_removed.labels("yield" if action.live else "other").inc()
            elif action.kind is ActionKind.CREATE:
                METRICS.pool_created.inc()
        for state in PoolState:
            METRICS.pool_state.labels(state.value).set(state is decision.state)
        METRICS.pool_engines.set(len(self._parts.pool.where()))
        METRICS.pool_failures.set(memory.failures)

    def _keep_gpu_seconds(self) -> None:
        now_s = time.monotonic()
        if self._memory.gpu_seconds and now_s - self._kept_s >= KEEP_EVERY_S:
            self._kept_s = now_s
            self._parts.writer.keep_gpu_seconds(self._memory.day, self._memory.gpu_seconds)
