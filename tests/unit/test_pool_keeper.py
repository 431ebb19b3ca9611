"""The keeper's loop with a pool and a cluster that only pretend: what it counts, keeps and says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from sleep_runtime.actors.cluster import ClusterEyes, ClusterLook
from sleep_runtime.actors.idle_pool import IdlePool, Removed, engine_name
from sleep_runtime.actors.pool_keeper import KeeperParts, PoolKeeper
from sleep_runtime.actors.whereabouts import Whereabouts
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    Action,
    ActionKind,
    Backlog,
    EnginePhase,
    EngineView,
    NodeView,
)
from sleep_runtime.testing.clock import ManualClock

POLICY = PoolPolicy(
    gpus_per_engine=1.0,
    cpus_per_engine=0.0,
    hysteresis_s=0.01,
    backoff_s=0.01,
    max_backoff_s=0.02,
    watch_s=0.005,
)
NODE = NodeView("n1", {"GPU": 1.0, "idle_pool": 1.0}, {"GPU": 1.0, "idle_pool": 1.0})
NIGHT = Backlog(scopes=3, tokens=10)


class PretendPool(IdlePool):
    """Engines that are open as soon as they are made, and gone as soon as they are removed."""

    def __init__(self) -> None:
        self.engines: dict[int, EngineView] = {}
        self.done: list[Action] = []

    def adopt(self, now_s: float) -> None: ...

    def look(self, look: ClusterLook, now_s: float) -> None: ...

    def views(self, in_flight: dict[str, int]) -> tuple[EngineView, ...]:
        return tuple(
            replace(engine, in_flight=in_flight.get(engine_name(engine.index), 0))
            for engine in list(self.engines.values())
        )

    def open(self) -> list[str]:
        engines = list(self.engines.values())
        return [engine_name(e.index) for e in engines if e.phase is EnginePhase.OPEN]

    def where(self) -> dict[str, tuple[EnginePhase, Whereabouts | None]]:
        return {engine_name(e.index): (e.phase, None) for e in list(self.engines.values())}

    def actors(self) -> list[Any]:
        return []

    def execute(self, actions: Sequence[Action], now_s: float) -> list[Removed]:
        removed = []
        for action in actions:
            self.done.append(action)
            if action.kind is ActionKind.CREATE:
                view = EngineView(action.engine, EnginePhase.OPEN, now_s, "n1")
                self.engines[action.engine] = view
            elif action.kind is ActionKind.REMOVE:
                del self.engines[action.engine]
                if action.live:
                    removed.append(Removed(f"group-{action.engine}", "n1", None))
        return removed

    def remove(self) -> None:
        self.engines.clear()


class PretendEyes(ClusterEyes):
    """A cluster that shows what it is told to show."""

    def __init__(self) -> None:
        self.look_is = ClusterLook(nodes=(NODE,))

    def look(self) -> ClusterLook:
        return self.look_is


class PretendLedger:
    """Keeps GPU-seconds by the day, as the ledger does."""

    def __init__(self, **days: float) -> None:
        self.days = {day.replace("_", "-").removeprefix("d"): s for day, s in days.items()}

    def gpu_seconds(self, day: str) -> float:
        return self.days.get(day, 0.0)

    def keep_gpu_seconds(self, day: str, seconds: float) -> None:
        self.days[day] = max(self.days.get(day, 0.0), seconds)


class World:
    """A keeper with everything around it."""

    def __init__(self, policy: PoolPolicy = POLICY, **days: float) -> None:
        self.pool, self.eyes, self.ledger = PretendPool(), PretendEyes(), PretendLedger(**days)
        self.backlog = Backlog()
        self.opened = threading.Event()
        parts = KeeperParts(
            pool=self.pool,
            policy=policy,
            ledger=cast("Any", self.ledger),
            writer=cast("Any", self.ledger),
            clock=ManualClock(datetime(2026, 11, 26, 23, 0, tzinfo=UTC)),
            eyes=self.eyes,
        )
        self.keeper = PoolKeeper(parts, self.opened.set, lambda: self.backlog)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The keeper at work in its thread, from the moment an engine is open."""
        self.backlog = NIGHT
        self.keeper.start()
        try:
            assert self.opened.wait(5)
            yield
        finally:
            self.keeper.stop()

    def turns(self, until: Any, most: int = 2000) -> None:
        """Turn until a condition holds."""
        for _ in range(most):
            self.keeper.look_now()
            self.keeper.turn()
            if until():
                return
            time.sleep(0.001)
        pytest.fail(f"never: {self.keeper.status()}, {self.pool.done}")


def test_without_a_backlog_no_engine_is_asked_for() -> None:
    world = World()
    for _ in range(5):
        world.keeper.turn()
    assert world.pool.done == []
    assert world.keeper.take() is None
    assert world.keeper.status()["state"] == "asleep"
    assert world.keeper.status()["reason"] == "nothing is due"


def test_a_backlog_opens_an_engine_and_says_so_once() -> None:
    world = World()
    world.backlog = NIGHT
    world.turns(lambda: world.keeper.opened)
    assert world.opened.is_set()
    assert world.keeper.take() == "engine-0"
    assert world.keeper.status()["nights"] == 1
    assert world.keeper.give_back("engine-0")
    assert world.keeper.status()["nights"] == 0


def test_nights_go_to_the_engine_with_the_fewest() -> None:
    world = World(POLICY.model_copy(update={"max_engines": 2, "tokens_per_engine": 5}))
    world.backlog = NIGHT
    world.turns(lambda: len(world.pool.engines) == 2 and world.keeper.opened)
    assert [world.keeper.take() for _ in range(4)] == ["engine-0", "engine-1"] * 2


def test_asked_to_give_way_it_answers_when_every_bundle_is_free_and_stays_away() -> None:
    world = World()
    with world.kept():
        answer = world.keeper.ask(600.0, timeout_s=5.0)
        assert answer["freed"]
        assert world.pool.engines == {}
        for _ in range(10):
            world.keeper.look_now()
            time.sleep(0.002)
        assert world.pool.engines == {}
        assert world.keeper.status()["state"] == "held back"
        world.opened.clear()
        assert world.keeper.ask(0.0, timeout_s=5.0)["freed"]
        assert world.opened.wait(5), world.keeper.status()


def test_the_shortest_ask_is_heard_and_nothing_comes_back_before_its_bundles_are_free() -> None:
    world = World()
    world.eyes.look_is = ClusterLook(nodes=(NODE,), groups={"group-0": "n1"})
    with world.kept():
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(world.keeper.ask(1e-6, 10.0)))
        asking.start()
        give_up = time.monotonic() + 5
        while world.pool.engines and time.monotonic() < give_up:
            time.sleep(0.001)
        for _ in range(20):
            world.keeper.look_now()
            time.sleep(0.005)
        assert world.pool.engines == {}, "its last bundle is not free yet"
        world.eyes.look_is = ClusterLook(nodes=(NODE,))
        asking.join(timeout=10)
        assert answers[0]["freed"]


def test_a_bundle_that_is_not_free_in_time_is_said() -> None:
    world = World()
    world.eyes.look_is = ClusterLook(nodes=(NODE,), groups={"group-0": "n1"})
    with world.kept():
        assert not world.keeper.ask(60.0, timeout_s=0.1)["freed"]
        world.eyes.look_is = ClusterLook(nodes=(NODE,))
        assert world.keeper.ask(60.0, timeout_s=5.0)["freed"]
        assert world.keeper.status()["last_yield_ms"] > 50


def test_the_slowest_replica_counts_and_an_old_report_does_not() -> None:
    world = World(POLICY.model_copy(update={"hot_p99_ms": 100.0, "grace_s": 60.0}))
    world.backlog = NIGHT
    world.turns(lambda: world.keeper.opened)
    world.keeper.report("a", 20.0, 0)
    world.keeper.report("b", 300.0, 0)
    world.turns(lambda: not world.keeper.opened or world.pool.done[-1].kind is ActionKind.CLOSE)
    assert world.pool.done[-1].reason == "the hot path's p99 is 300 ms"


def test_gpu_time_of_the_day_survives_a_restart() -> None:
    policy = POLICY.model_copy(update={"max_gpu_hours_per_day": 1.0})
    world = World(policy, d2026_11_26=3600.0)
    world.backlog = NIGHT
    world.keeper.start()
    try:
        time.sleep(0.1)
        assert world.pool.done == []
        assert world.keeper.status()["reason"] == "1 GPU-hours of this day are used"
    finally:
        world.keeper.stop()


def test_the_day_of_a_restart_is_that_of_the_pools_time_zone() -> None:
    """23:00 UTC is the next day in Zurich already."""
    world = World(POLICY.model_copy(update={"timezone": "Europe/Zurich"}), d2026_11_27=120.0)
    world.keeper.start()
    try:
        assert world.keeper.status()["gpu_seconds_today"] == 120.0
    finally:
        world.keeper.stop()


def test_gpu_time_is_kept_in_the_ledger() -> None:
    world = World()
    with world.kept():
        give_up = time.monotonic() + 5
        while not world.ledger.days and time.monotonic() < give_up:
            world.keeper.look_now()
            time.sleep(0.005)
        assert 0 < world.ledger.days["2026-11-26"] < 60


def test_a_cluster_that_does_not_answer_changes_nothing() -> None:
    world = World()
    world.backlog = NIGHT
    world.turns(lambda: world.keeper.opened)
    done = len(world.pool.done)
    world.eyes.look_is = ClusterLook(known=False)
    world.backlog = Backlog()
    for _ in range(5):
        world.keeper.turn()
    assert len(world.pool.done) == done
    assert world.keeper.status()["state"] == "blind"
