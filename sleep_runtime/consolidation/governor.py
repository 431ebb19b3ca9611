"""The governor of the idle pool: a snapshot in, actions out. No clock, no I/O, no Ray.

    waiting -> starting -> open  -- pressure -->  closed -- it lasts --> paused -- it lasts --> gone
                            |  ^------- calm for hysteresis_s ---------------'
                            '-- live work waits for its bundle, or its node is taken --> gone

Live work that waits for what an engine holds gets it in one decision: close, abort, remove. What
was pinned stays, so nothing is lost by haste. Mere pressure (the hot path's p99, its queue) climbs
the same ladder a rung at a time. After every yield the pool stays away for ``backoff_s``, doubled
each time, and until live work has been calm for ``hysteresis_s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time
from zoneinfo import ZoneInfo

from sleep_runtime.consolidation.claims import claimed
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    Action,
    ActionKind,
    Decision,
    EnginePhase,
    EngineView,
    Memory,
    PoolState,
    Snapshot,
)

WIND_DOWN_S = 60.0
"""What is under way gets this long to end when the pool closes and nobody waits for it."""

IDLE_LOOK_S = 5.0
WAITING_LOOK_S = 0.5


def decide(snapshot: Snapshot, policy: PoolPolicy) -> Decision:
    """What the pool does now. Equal snapshots give equal decisions."""
    memory = _accounted(snapshot, policy)
    if not snapshot.demand.known:
        return Decision(
            (), memory, PoolState.BLIND, "the cluster does not say what waits", WAITING_LOOK_S
        )
    turn = _Turn(snapshot, policy, memory)
    actions = tuple(turn.actions())
    return _told(turn, actions)


def desired(snapshot: Snapshot, policy: PoolPolicy) -> int:
    """How many engines the backlog asks for."""
    if not snapshot.backlog.scopes:
        return 0
    asked = -(-snapshot.backlog.tokens // policy.tokens_per_engine)
    return max(1, min(asked, policy.max_engines, snapshot.backlog.scopes))


def within(hours: tuple[str, ...], at: time) -> bool:
    """Whether a time of day lies in one of the spans; a span may cross midnight."""
    if not hours:
        return True
    minute = at.hour * 60 + at.minute
    for span in hours:
        start, end = (_minute(part) for part in span.split("-"))
        if (start <= minute < end) if start < end else (minute >= start or minute < end):
            return True
    return False


def backoff_s(times: int, policy: PoolPolicy) -> float:
    """The wait after the pool was taken back, or failed, ``times`` times in a row."""
    return min(policy.max_backoff_s, policy.backoff_s * 2.0 ** min(max(times, 1) - 1, 32))


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _accounted(snapshot: Snapshot, policy: PoolPolicy) -> Memory:
    """The memory with the GPU time since the last look added, and the day turned."""
    memory = snapshot.memory
    day = snapshot.now.astimezone(ZoneInfo(policy.timezone)).date().isoformat()
    spent = memory.gpu_seconds if memory.day == day else 0.0
    if memory.seen_s is not None:
        holding = sum(1 for engine in snapshot.engines if engine.holds)
        spent += max(0.0, snapshot.now_s - memory.seen_s) * holding * policy.gpus_per_engine
    return replace(memory, seen_s=snapshot.now_s, day=day, gpu_seconds=spent)


@dataclass
class _Turn:
    """One decision in the making. ``memory`` changes as it is made."""

    snapshot: Snapshot
    policy: PoolPolicy
    memory: Memory

    def __post_init__(self) -> None:
        self.now_s = self.snapshot.now_s
        self.engines = [e for e in self.snapshot.engines if e.phase is not EnginePhase.DEAD]
        self.claims = self._claims()
        self.shut = self._shut()
        self.pressure = self._pressure()
        self.removed: set[int] = set()

    # -- why

    def _claims(self) -> dict[int, str]:
        """Engines that live work waits for, or whose node is being taken away."""
        demand, policy = self.snapshot.demand, self.policy
        if demand.asked_until_s > self.now_s:
            return dict.fromkeys((e.index for e in self.engines), "it was asked to give way")
        found = claimed(demand.asks, self.snapshot.nodes, self.engines, policy.bundle)
        going = {node.id for node in self.snapshot.nodes if node.draining}
        found |= {e.index: "its node is taken away" for e in self.engines if e.node in going}
        free, least = demand.free_gpu_bytes, policy.min_free_gpu_bytes
        if free is not None and least is not None and free < least:
            reason = f"live work needs GPU memory: {free} bytes are free"
            found |= {e.index: reason for e in self.engines if e.phase is not EnginePhase.PAUSED}
        return found

    def _shut(self) -> str:
        """Why nights may not run now, though nobody waits for their bundle; empty if they may."""
        policy = self.policy
        if not policy.enabled:
            return "the pool is switched off"
        local: datetime = self.snapshot.now.astimezone(ZoneInfo(policy.timezone))
        if not within(policy.quiet_hours, local.time()):
            return f"outside quiet hours ({', '.join(policy.quiet_hours)} {policy.timezone})"
        most = policy.max_gpu_hours_per_day
        if most is not None and self.memory.gpu_seconds >= most * 3600:
            return f"{most:g} GPU-hours of this day are used"
        return ""

    def _pressure(self) -> str:
        """Why the pool should give way a little; empty when live work is well."""
        demand, policy = self.snapshot.demand, self.policy
        if policy.hot_p99_ms is not None and (demand.hot_p99_ms or 0) > policy.hot_p99_ms:
            return f"the hot path's p99 is {demand.hot_p99_ms:.0f} ms"
        if policy.max_queued is not None and (demand.queued or 0) > policy.max_queued:
            return f"{demand.queued} requests wait at the hot path"
        return ""

    # -- what

    def actions(self) -> Iterator[Action]:
        """Each rung in turn; a later one never touches an engine an earlier one removed."""
        self._remember_weather()
        yield from self._bury()
        yield from self._yield()
        yield from self._wind_down()
        yield from self._relent()
        yield from self._come_back()
        yield from self._shrink()
        yield from self._grow()

    def _remember_weather(self) -> None:
        memory = self.memory
        trouble = bool(self.claims or self.pressure)
        pressed = (memory.pressed_since_s or self.now_s) if self.pressure else None
        calm = memory.calm_since_s
        if trouble:
            calm = None
        elif calm is None:
            calm = self.now_s
        self.memory = replace(memory, pressed_since_s=pressed, calm_since_s=calm)

    def _bury(self) -> Iterator[Action]:
        """What failed to start, went silent or never got a node goes, and is tried again later."""
        policy = self.policy
        for engine in self.snapshot.engines:
            age = self.now_s - engine.since_s
            problem = ""
            if engine.phase is EnginePhase.DEAD:
                problem = engine.problem or "it died"
            elif engine.phase is EnginePhase.WAITING and age > policy.node_timeout_s:
                problem = f"no node came in {policy.node_timeout_s:g} s"
            elif engine.phase is EnginePhase.STARTING and age > policy.start_timeout_s:
                problem = f"it did not load in {policy.start_timeout_s:g} s"
            elif engine.holds and engine.silent_s > policy.silence_s:
                problem = f"it gave no sign for {policy.silence_s:g} s"
            if problem:
                self._hold_back(failed=True, why=problem)
                yield self._remove(engine, problem)
            elif engine.phase is EnginePhase.OPEN and age > policy.hysteresis_s:
                self.memory = replace(self.memory, failures=0)

    def _yield(self) -> Iterator[Action]:
        """Live work waits for a bundle: it gets it, after ``drain_s`` for what is under way."""
        for engine in self._left():
            reason = self.claims.get(engine.index)
            if reason is None:
                continue
            if self._may_drain(engine):
                if engine.phase is EnginePhase.OPEN:
                    yield Action(ActionKind.CLOSE, engine.index, reason, live=True)
                continue
            yield from self._take_away(engine, reason, live=True)

    def _may_drain(self, engine: EngineView) -> bool:
        if not (engine.in_flight and self.policy.drain_s):
            return False
        closed = engine.phase is EnginePhase.CLOSED
        return engine.phase is EnginePhase.OPEN or (
            closed and self.now_s - engine.since_s < self.policy.drain_s
        )

    def _wind_down(self) -> Iterator[Action]:
        """Nights may not run now: nothing new, and what is under way gets time to end."""
        if not self.shut:
            return
        for engine in self._left():
            over = engine.phase is not EnginePhase.OPEN and (
                self.now_s - engine.since_s >= WIND_DOWN_S
            )
            if engine.in_flight == 0 or over:
                yield from self._take_away(engine, self.shut, live=False)
            elif engine.phase is EnginePhase.OPEN:
                yield Action(ActionKind.CLOSE, engine.index, self.shut)

    def _relent(self) -> Iterator[Action]:
        """Pressure: nothing new at once, abort at half the grace period, remove at its end."""
        since = self.memory.pressed_since_s
        if since is None:
            return
        lasted, reason = self.now_s - since, self.pressure
        for engine in self._left():
            if lasted >= self.policy.grace_s or engine.phase is EnginePhase.WAITING:
                yield from self._take_away(engine, reason, live=True)
            elif engine.phase is EnginePhase.OPEN:
                yield Action(ActionKind.CLOSE, engine.index, reason, live=True)
            elif engine.phase is EnginePhase.CLOSED and lasted >= self.policy.grace_s / 2:
                yield Action(ActionKind.ABORT, engine.index, reason, live=True)

    def _come_back(self) -> Iterator[Action]:
        if self.shut or not self._calm():
            return
        for engine in self._left():
            if engine.phase in (EnginePhase.CLOSED, EnginePhase.PAUSED):
                yield Action(ActionKind.ADMIT, engine.index, "live work is calm")

    def _shrink(self) -> Iterator[Action]:
        """Engines the backlog does not ask for go, when they had nothing to do for a while."""
        left, wanted = self._left(), desired(self.snapshot, self.policy)
        surplus = len(left) - wanted
        if surplus <= 0:
            self.memory = replace(self.memory, idle_since_s=None)
            return
        since = self.memory.idle_since_s
        since = self.now_s if since is None else since
        self.memory = replace(self.memory, idle_since_s=since)
        if self.now_s - since < self.policy.idle_timeout_s:
            return
        idle = [engine for engine in reversed(left) if engine.in_flight == 0]
        for engine in idle[:surplus]:
            yield self._remove(engine, "there is nothing for it to do")

    def _grow(self) -> Iterator[Action]:
        wanted = desired(self.snapshot, self.policy)
        if self.shut or not self._calm() or self.now_s < self.memory.not_before_s:
            return
        taken = {engine.index for engine in self._left()}
        free = (index for index in range(self.policy.max_engines) if index not in taken)
        for _ in range(wanted - len(taken)):
            index = next(free, None)
            if index is not None and index not in self.removed:
                yield Action(ActionKind.CREATE, index, "there is work for it")

    # -- how

    def _calm(self) -> bool:
        since = self.memory.calm_since_s
        return since is not None and self.now_s - since >= self.policy.hysteresis_s

    def _left(self) -> list[EngineView]:
        return [engine for engine in self.engines if engine.index not in self.removed]

    def _take_away(self, engine: EngineView, reason: str, *, live: bool) -> Iterator[Action]:
        if engine.phase is EnginePhase.OPEN:
            yield Action(ActionKind.CLOSE, engine.index, reason, live)
        if engine.in_flight:
            yield Action(ActionKind.ABORT, engine.index, reason, live)
        if live:
            self._hold_back(failed=False, why=reason)
        yield self._remove(engine, reason, live=live)

    def _remove(self, engine: EngineView, reason: str, *, live: bool = False) -> Action:
        self.removed.add(engine.index)
        return Action(ActionKind.REMOVE, engine.index, reason, live)

    def _hold_back(self, *, failed: bool, why: str) -> None:
        """Stay away for a while: doubled by every yield, or failure, soon after the last."""
        memory, now_s = self.memory, self.now_s
        if failed:
            failures = memory.failures + 1
            until = now_s + backoff_s(failures, self.policy)
            memory = replace(memory, failures=failures)
        else:
            if memory.yielded_s == now_s:
                return  # one yield, however many engines it takes
            last = memory.yielded_s
            soon = last is not None and now_s - last <= 2 * self.policy.max_backoff_s
            times = memory.yields + 1 if soon else 1
            until = now_s + backoff_s(times, self.policy)
            memory = replace(memory, yields=times, yielded_s=now_s)
        until = max(until, memory.not_before_s)
        self.memory = replace(memory, not_before_s=until, held_back=why)


_AFTER = {
    ActionKind.CLOSE: EnginePhase.CLOSED,
    ActionKind.ABORT: EnginePhase.PAUSED,
    ActionKind.ADMIT: EnginePhase.OPEN,
    ActionKind.CREATE: EnginePhase.WAITING,
}
_STATES = {
    EnginePhase.OPEN: PoolState.OPEN,
    EnginePhase.CLOSED: PoolState.CLOSED,
    EnginePhase.PAUSED: PoolState.CLOSED,
    EnginePhase.STARTING: PoolState.STARTING,
    EnginePhase.WAITING: PoolState.WAITING_FOR_NODE,
}


def _told(turn: _Turn, actions: tuple[Action, ...]) -> Decision:
    """The decision with the state it leaves the pool in, in words."""
    phases = {e.index: e.phase for e in turn.engines if e.index not in turn.removed}
    phases |= {
        a.engine: _AFTER[a.kind]
        for a in actions
        if a.kind is not ActionKind.REMOVE
        if a.engine not in turn.removed
    }
    policy, memory = turn.policy, turn.memory
    holds = any(phase is not EnginePhase.WAITING for phase in phases.values())
    look = policy.watch_s if holds else WAITING_LOOK_S if phases else IDLE_LOOK_S
    for phase, state in _STATES.items():
        if phase in phases.values():
            why = turn.shut or turn.pressure if state is PoolState.CLOSED else ""
            return Decision(actions, memory, state, why, look)
    if not policy.enabled:
        return Decision(actions, memory, PoolState.OFF, turn.shut, look)
    waits_s = memory.not_before_s - turn.now_s
    if turn.snapshot.backlog.scopes and not turn.shut and (waits_s > 0 or not turn._calm()):  # noqa: SLF001
        why = memory.held_back or turn.pressure or "live work comes first"
        waits_s = max(waits_s, WAITING_LOOK_S)
        return Decision(actions, memory, PoolState.HELD_BACK, why, min(waits_s, IDLE_LOOK_S))
    why = turn.shut or ("" if turn.snapshot.backlog.scopes else "nothing is due")
    return Decision(actions, memory, PoolState.ASLEEP, why, look)
