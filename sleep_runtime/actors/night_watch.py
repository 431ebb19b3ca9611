"""NightWatch: the detached actor on the head that ticks the scheduler and holds the idle pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from sleep_runtime.actors.idle_pool import IdlePool
from sleep_runtime.actors.scheduler import Dispatch, Scheduler
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.run import RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot

FIRST_HOLD_S = 0.5
LONGEST_HOLD_S = 60.0
POOL_TIMEOUT_S = 10.0

log = get_logger(__name__)


class NightWatch:
    """Ticks in its own thread until closed; a failed tick is logged and the next one comes.

    ``project`` is called when nothing is under way but the outbox still has marks, so that an
    index that was away catches up without waiting for the next night.
    """

    def __init__(
        self,
        make_scheduler: Callable[[Dispatch], Scheduler],
        make_pool: Callable[[], IdlePool],
        *,
        tick_s: float,
        catch_up: Callable[[], object],
    ) -> None:
        self._pool = make_pool()
        self._scheduler = make_scheduler(self._dispatch)
        self._catch_up = catch_up
        self._tick_s = tick_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._under_way: dict[Scope, Any] = {}
        self._held: dict[Scope, _Hold] = {}
        self._pool_seen = threading.Event()
        self._samples = _LastAnswers()
        self._pool.ensure()
        self._thread = threading.Thread(target=self._watch, name="night-watch", daemon=True)
        self._thread.start()

    def request(self, scope: Scope | None) -> list[Scope]:
        """Make everything pending at and below ``scope`` due now, and look at once."""
        scopes = self._scheduler.request(scope)
        self._wake.set()
        return scopes

    def metrics(self) -> list[Sample]:
        self._scheduler.gauge()
        return snapshot(registry())

    def pool_metrics(self) -> list[list[Sample]]:
        """Samples of the pool's actors, each as it answered last: no working one is waited for."""
        for actor in self._pool.actors():
            self._samples.ask(actor)
        return self._samples.answers()

    def ready(self) -> bool:
        """True once every actor of the pool has answered. Asks nobody, so it answers at once.

        Raises ``RuntimeUnavailable`` when the watch itself has ended.
        """
        if not (self._thread.is_alive() or self._stop.is_set()):
            raise RuntimeUnavailable("the night watch has ended", mend="start the runtime again")
        return self._pool_seen.is_set()

    def close(self, grace_s: float) -> int:
        """Start nothing any more, wait for what is under way, give the pool back.

        Returns how many runs were cut short; they resume from their pins at the next start.
        """
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=grace_s)
        refs = list(self._under_way.values())
        _, cut_short = ray.wait(refs, num_returns=len(refs), timeout=grace_s) if refs else ([], [])
        self._pool.remove()
        return len(cut_short)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # without this thread there would be no night ever again
                log.exception(LogEvent.TICK_FAILED, reason=str(error))
                self._pool.forget()
            self._wake.wait(self._tick_s)
            self._wake.clear()

    def _look(self) -> None:
        self._collect()
        self._see_pool()
        tick = self._scheduler.tick()
        if tick.started:
            self._wake_when_done()
        elif not self._under_way:
            self._catch_up()

    def _see_pool(self) -> None:
        """Note once that the pool stands; while it does not, look again soon."""
        if self._pool_seen.is_set():
            return
        refs = [actor.ready.remote() for actor in self._pool.actors()]
        _, missing = ray.wait(refs, num_returns=len(refs), timeout=POOL_TIMEOUT_S)
        if not missing:
            ray.get(refs)
            self._pool_seen.set()

    def _dispatch(self, scope: Scope, trigger: Trigger, requested: str) -> bool:
        hold = self._held.get(scope)
        if scope in self._under_way or self._stop.is_set() or (hold and not hold.over()):
            return False
        try:
            ref = self._pool.tier_for(scope).consolidate.remote(scope, trigger, requested)
        except RayError as error:
            log.warning(LogEvent.ACTOR_AWAY, scope=scope, reason=str(error))
            self._pool.forget()
            return False
        self._under_way[scope] = ref
        return True

    def _wake_when_done(self) -> None:
        """Look again as soon as a night ends: the tiers above may have become due."""
        for ref in self._under_way.values():
            ref.future().add_done_callback(lambda _: self._wake.set())

    def _collect(self) -> None:
        for scope, ref in list(self._under_way.items()):
            ready, _ = ray.wait([ref], timeout=0)
            if not ready:
                continue
            del self._under_way[scope]
            try:
                run = ray.get(ref)
                went_somewhere = run is not None and run.state is not RunState.YIELDED
            except RayError as error:
                # The run itself is safe in the ledger; a later tick takes it up again.
                log.warning(LogEvent.RUN_INTERRUPTED, scope=scope, reason=str(error))
                self._pool.forget()
                went_somewhere = False
            if went_somewhere:
                self._held.pop(scope, None)
            else:
                self._held[scope] = _Hold.after(self._held.get(scope))


class _LastAnswers:
    """What each actor said last about its metrics, with at most one question open to each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Any, Any] = {}
        self._last: dict[Any, list[Sample]] = {}

    def ask(self, actor: Any) -> None:
        with self._lock:
            self._open.setdefault(actor, actor.metrics.remote())

    def answers(self) -> list[list[Sample]]:
        with self._lock:
            refs = list(self._open.values())
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0.2) if refs else ([], [])
            for actor in [actor for actor, ref in self._open.items() if ref in ready]:
                try:
                    self._last[actor] = ray.get(self._open.pop(actor))
                except RayError as error:
                    self._last.pop(actor, None)
                    log.warning(LogEvent.ACTOR_AWAY, reason=str(error))
            return list(self._last.values())


@dataclass(frozen=True)
class _Hold:
    """Keeps a scope whose last try came to nothing from being tried again in a tight loop."""

    until: float
    wait_s: float

    @classmethod
    def after(cls, last: _Hold | None) -> _Hold:
        wait_s = min(last.wait_s * 2, LONGEST_HOLD_S) if last else FIRST_HOLD_S
        return cls(time.monotonic() + wait_s, wait_s)

    def over(self) -> bool:
        return time.monotonic() >= self.until
