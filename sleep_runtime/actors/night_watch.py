"""NightWatch: the detached actor beside the stores that ticks the scheduler and keeps the pool.

Two threads: one finds due nights and hands each to its tier with an open engine, the other
(``PoolKeeper``) watches live work and takes the engines away. They share one process so that an
engine that closes gets no more nights from that instant on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from sleep_runtime.actors.erasures import Erasures
from sleep_runtime.actors.pool_keeper import PoolKeeper
from sleep_runtime.actors.scheduler import Dispatch, Scheduler, Slots
from sleep_runtime.actors.tiers import Tiers
from sleep_runtime.actors.whereabouts import Whereabouts, here
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.run import RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.eraser import Eraser
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot

FIRST_HOLD_S = 0.5
LONGEST_HOLD_S = 60.0
WHERE_TIMEOUT_S = 2.0

log = get_logger(__name__)

MakeKeeper = Callable[[Callable[[], None], Callable[[], Backlog]], PoolKeeper]


class NightWatch:
    """Ticks in its own thread until closed; a failed tick is logged and the next one comes.

    ``catch_up`` is called when nothing is under way, so that an index that was away catches up
    without waiting for the next night.
    """

    def __init__(
        self,
        make_scheduler: Callable[[Dispatch, Slots], Scheduler],
        make_tiers: Callable[[], Tiers],
        make_keeper: MakeKeeper,
        *,
        tick_s: float,
        catch_up: Callable[[], object],
        make_eraser: Callable[[], Eraser],
    ) -> None:
        self._erasures = Erasures(make_eraser())
        self._tiers = make_tiers()
        self._scheduler = make_scheduler(self._dispatch, self._room)
        self._keeper = make_keeper(self._pool_changed, self._scheduler.backlog)
        self._catch_up = catch_up
        self._tick_s = tick_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._under_way: dict[Scope, _UnderWay] = {}
        self._held: dict[Scope, _Hold] = {}
        self._samples = _LastAnswers()
        self._tiers.ensure()
        self._keeper.start()
        self._erasures.start()
        self._thread = threading.Thread(target=self._watch, name="night-watch", daemon=True)
        self._thread.start()

    def request(self, scope: Scope | None) -> list[Scope]:
        """Make everything pending at and below ``scope`` due now, and look at once."""
        scopes = self._scheduler.request(scope)
        self._keeper.look_now()
        self._wake.set()
        return scopes

    def erase(self, target: Target) -> Erasure:
        """Remember, durably, that this has to go; it is carried out in a thread of its own."""
        return self._erasures.ask(target)

    def give_way(self, seconds: float, timeout_s: float) -> dict[str, Any]:
        """See ``PoolKeeper.ask``."""
        return self._keeper.ask(seconds, timeout_s)

    def hot_path(self, replica: str, p99_ms: float | None, queued: int) -> None:
        """See ``PoolKeeper.report``."""
        self._keeper.report(replica, p99_ms, queued)

    def pool(self) -> dict[str, Any]:
        """The idle pool's state, and where the actors of nights run."""
        return {**self._keeper.status(), "where": self._where()}

    def metrics(self) -> list[Sample]:
        self._scheduler.gauge()
        return snapshot(registry())

    def pool_metrics(self) -> list[list[Sample]]:
        """Samples of tiers and engines, each as it answered last: no working one is waited for."""
        for actor in [*self._tiers.all().values(), *self._keeper.engines()]:
            self._samples.ask(actor)
        return self._samples.answers()

    def ready(self) -> Whereabouts:
        """Answers at once. Raises ``RuntimeUnavailable`` when the watch itself has ended."""
        if not ((self._thread.is_alive() or self._stop.is_set()) and self._keeper.alive):
            raise RuntimeUnavailable("the night watch has ended", mend="start the runtime again")
        return here()

    def close(self, grace_s: float) -> int:
        """Start nothing any more, wait for what is under way, give the pool back.

        Returns how many runs were cut short; they resume from their pins at the next start.
        """
        self._stop.set()
        self._wake.set()
        self._erasures.stop(grace_s)
        self._thread.join(timeout=grace_s)
        refs = [night.ref for night in self._under_way.values()]
        _, cut_short = ray.wait(refs, num_returns=len(refs), timeout=grace_s) if refs else ([], [])
        self._keeper.stop()
        self._tiers.end()
        return len(cut_short)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # without this thread there would be no night ever again
                log.exception(LogEvent.TICK_FAILED, reason=str(error))
                self._tiers.forget()
            self._wake.wait(self._tick_s)
            self._wake.clear()

    def _look(self) -> None:
        self._collect()
        tick = self._scheduler.tick()
        if tick.started:
            self._wake_when_done()
        elif not self._under_way:
            self._catch_up()
        self._keeper.look_now()

    def _pool_changed(self) -> None:
        """An engine opened: what is due may start."""
        self._wake.set()

    def _room(self) -> int:
        """How many more nights can be handed out now: none without an open engine."""
        return self._tiers.slots - len(self._under_way) if self._keeper.opened else 0

    def _dispatch(self, scope: Scope, trigger: Trigger, requested: str) -> bool:
        hold = self._held.get(scope)
        if scope in self._under_way or self._stop.is_set() or (hold and not hold.over()):
            return False
        engine = self._keeper.take()
        if engine is None:
            return False
        actor = self._tiers.take(scope)
        if actor is None:
            self._keeper.give_back(engine)
            return False
        try:
            ref = actor.consolidate.remote(scope, trigger, requested, engine)
        except RayError as error:
            log.warning(LogEvent.ACTOR_AWAY, scope=scope, reason=str(error))
            self._tiers.give_back(scope)
            self._keeper.give_back(engine)
            self._tiers.forget()
            return False
        self._under_way[scope] = _UnderWay(ref, engine)
        return True

    def _wake_when_done(self) -> None:
        """Look again as soon as a night ends: the tiers above may have become due."""
        for night in self._under_way.values():
            if not night.watched:
                night.watched = True
                night.ref.future().add_done_callback(lambda _: self._wake.set())

    def _collect(self) -> None:
        for scope, night in list(self._under_way.items()):
            ready, _ = ray.wait([night.ref], timeout=0)
            if not ready:
                continue
            del self._under_way[scope]
            self._tiers.give_back(scope)
            still_open = self._keeper.give_back(night.engine)
            try:
                run = ray.get(night.ref)
                went_somewhere = run is not None and run.state is not RunState.YIELDED
            except RayError as error:
                # The run itself is safe in the ledger; a later tick takes it up again.
                log.warning(LogEvent.RUN_INTERRUPTED, scope=scope, reason=str(error))
                self._tiers.forget()
                went_somewhere = False
            if went_somewhere or not still_open:  # not its own fault: it goes on with the pool
                self._held.pop(scope, None)
            else:
                self._held[scope] = _Hold.after(self._held.get(scope))

    def _where(self) -> dict[str, dict[str, Any]]:
        """Where each actor of nights runs; one that does not answer in time is left out."""
        asked = {name: actor.ready.remote() for name, actor in self._tiers.all().items()}
        found: dict[str, dict[str, Any]] = {"night-watch": asdict(here())}
        refs = list(asked.values())
        done, _ = ray.wait(refs, num_returns=len(refs), timeout=WHERE_TIMEOUT_S)
        for name, ref in asked.items():
            if ref in done:
                try:
                    found[name] = asdict(ray.get(ref))
                except RayError as error:
                    log.warning(LogEvent.ACTOR_AWAY, actor=name, reason=str(error))
        return found | self._keeper.where()


class _LastAnswers:
    """What each actor said last about its metrics, with at most one question open to each.

    What an actor counted stays counted when it is gone, or totals would fall.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Any, Any] = {}
        self._last: dict[Any, list[Sample]] = {}
        self._gone: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}

    def ask(self, actor: Any) -> None:
        with self._lock:
            if actor not in self._open:
                self._open[actor] = actor.metrics.remote()

    def answers(self) -> list[list[Sample]]:
        with self._lock:
            refs = list(self._open.values())
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0.2) if refs else ([], [])
            for actor in [actor for actor, ref in self._open.items() if ref in ready]:
                try:
                    self._last[actor] = ray.get(self._open.pop(actor))
                except RayError as error:
                    self._remember(self._last.pop(actor, []))
                    log.warning(LogEvent.ACTOR_AWAY, reason=str(error))
            return [*self._last.values(), list(self._gone.values())]

    def _remember(self, samples: list[Sample]) -> None:
        for sample in samples:
            if sample.kind != "gauge":
                key = (sample.name, tuple(sample.labels.items()))
                before = self._gone.get(key)
                total = sample.value + (before.value if before else 0.0)
                self._gone[key] = sample._replace(value=total)


@dataclass
class _UnderWay:
    """A night that was handed out, and the engine it was told to use."""

    ref: Any
    engine: str
    watched: bool = False


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
