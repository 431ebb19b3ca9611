"""The governor of the idle pool: a snapshot in, actions out. No clock, no I/O, no Ray.

    waiting -> starting -> open  -- pressure -->  closed -- it lasts --> paused -- it lasts --> gone
                            |  ^------- calm for hysteresis_s ---------------'
                            '-- live work waits for its bundle, or its node is taken --> gone

Live work that waits for what an engine holds gets it in one decision: close, abort, remove. What
was pinned stays, so nothing is lost by haste. Mere pressure (the hot path's p99, its queue) climbs
the same ladder a rung at a time. After every yield, and every failure, the pool stays away for
``backoff_s``, doubled each time, and until live work has been calm for ``hysteresis_s``: nothing
is created or admitted sooner, so however live work comes and goes, the pool does not flap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from sleep_runtime.consolidation.claims import claimed, contested
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

GIVE_WAY = "it was asked to give way"

IDLE_LOOK_S = 5.0
WAITING_LOOK_S = 0.5
SETTLE_S = 1.0
"""A cluster's word on what waits and what is free is up to this old: what was given back a moment
ago is not asked for twice."""
LOOKS_PER_GRACE = 10
"""However rarely a policy looks, live work is seen, drained for and served within its grace."""


def decide(snapshot: Snapshot, policy: PoolPolicy) -> Decision:
    """What the pool does now. Equal snapshots give equal decisions."""
    memory = _accounted(snapshot, policy)
    if not snapshot.demand.known:
        look = min(WAITING_LOOK_S, policy.grace_s / LOOKS_PER_GRACE)
        return Decision((), memory, PoolState.BLIND, "the cluster does not say what waits", look)
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


def day_of(now: datetime, policy: PoolPolicy) -> str:
    """The day, in the pool's time zone, that GPU time spent now counts for: ``2026-11-26``."""
    return now.astimezone(ZoneInfo(policy.timezone)).date().isoformat()


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _accounted(snapshot: Snapshot, policy: PoolPolicy) -> Memory:
    """The memory with the GPU time since the last look added, and the day turned."""
    memory = snapshot.memory
    day, local = day_of(snapshot.now, policy), snapshot.now.astimezone(ZoneInfo(policy.timezone))
    spent = memory.gpu_seconds if memory.day == day else 0.0
    if memory.seen_s is not None:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        # Two instants of one zone are subtracted as the clock on the wall shows them.
        today_s = (snapshot.now - midnight.astimezone(UTC)).total_seconds()
        passed_s = min(max(0.0, snapshot.now_s - memory.seen_s), today_s)
        holding = sum(1 for engine in snapshot.engines if engine.holds)
        spent += passed_s * holding * policy.gpus_per_engine
    return replace(memory, seen_s=snapshot.now_s, day=day, gpu_seconds=spent)


@dataclass
class _Turn:
    """One decision in the making. ``memory`` changes as it is made."""

    snapshot: Snapshot
    policy: PoolPolicy
    memory: Memory

    def __post_init__(self) -> None:
        self.now_s = self.snapshot.now_s
        everyone = sorted(self.snapshot.engines, key=lambda engine: engine.index)
        self.dead = [e for e in everyone if e.phase is EnginePhase.DEAD]
        self.engines = [e for e in everyone if e.phase is not EnginePhase.DEAD]
        self.short = self._short()
        self.claims = self._claims()
        self.shut = self._shut()
        self.pressure = self._pressure()
        self.contested = ""
        self.removed: set[int] = set()
        self.touched: set[int] = set()
        self.aborted: set[int] = set()

    # -- why

    def _short(self) -> str:
        """Why no engine may use memory now, whether or not there is one; empty if they may."""
        free, least = self.snapshot.demand.free_gpu_bytes, self.policy.min_free_gpu_bytes
        if free is not None and least is not None and free < least:
            return f"live work needs GPU memory: {free} bytes are free"
        return ""

    def _asked(self) -> bool:
        return self.snapshot.demand.asked_until_s > self.now_s

    def _claims(self) -> dict[int, str]:
        """Engines that live work waits for, or whose node is being taken away."""
        snapshot, policy = self.snapshot, self.policy
        if self._asked():
            return dict.fromkeys((e.index for e in self.engines), GIVE_WAY)
        given = (
            EngineView(-1 - number, EnginePhase.DEAD, at_s, node)
            for number, (node, at_s) in enumerate(self._given())
        )
        engines = (*snapshot.engines, *given)
        found = claimed(snapshot.demand.asks, snapshot.nodes, engines, policy.bundle)
        going = {node.id for node in snapshot.nodes if node.draining}
        found |= {e.index: "its node is taken away" for e in self.engines if e.node in going}
        if self.short:
            uses = (e for e in self.engines if e.phase is not EnginePhase.PAUSED)
            found |= {engine.index: self.short for engine in uses}
        living = {engine.index for engine in self.engines}
        return {index: reason for index, reason in found.items() if index in living}

    def _given(self) -> tuple[tuple[str, float], ...]:
        """Where engines were removed so lately that the cluster may not show it yet.

        A node that an engine has come to since has shown it.
        """
        settle_s = min(SETTLE_S, 2 * self.policy.grace_s / LOOKS_PER_GRACE)
        fresh = (EnginePhase.STARTING, EnginePhase.OPEN)
        came = [(e.node, e.since_s) for e in self.engines if e.phase in fresh]
        return tuple(
            (node, at_s)
            for node, at_s in self.memory.given
            if self.now_s - at_s < settle_s
            if not any(place == node and since_s > at_s for place, since_s in came)
        )

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

    def trouble(self) -> str:
        """Why live work is not calm at this moment; empty if it is."""
        asked = GIVE_WAY if self._asked() else ""
        return asked or self.short or self.pressure or next(iter(self.claims.values()), "")

    # -- what

    def actions(self) -> Iterator[Action]:
        """Each rung in turn. Of one engine only the first rung that touches it decides."""
        self._remember_weather()
        yield from self._bury()
        yield from self._yield()
        yield from self._wind_down()
        yield from self._relent()
        yield from self._shrink()
        yield from self._come_back()
        yield from self._give_back()
        yield from self._grow()

    def _remember_weather(self) -> None:
        memory, now_s = self.memory, self.now_s
        long_s = 2 * self.policy.max_backoff_s
        if memory.yielded_s is not None and now_s - memory.yielded_s > long_s:
            memory = replace(memory, yields=0, yielded_s=None)
        if memory.failed_s is not None and now_s - memory.failed_s > long_s:
            memory = replace(memory, failures=0, failed_s=None)
        self.memory = replace(
            memory,
            given=self._given(),
            pressed_since_s=_since(memory.pressed_since_s, now_s, bool(self.pressure)),
            claimed_since_s=_since(memory.claimed_since_s, now_s, bool(self.claims)),
            calm_since_s=_since(memory.calm_since_s, now_s, not self.trouble()),
        )

    def _bury(self) -> Iterator[Action]:
        """What failed to start, went silent or never got a node goes, and is tried again later."""
        for engine in (*self.dead, *self.engines):
            problem = self._problem(engine)
            if problem:
                self._hold_back(failed=True, why=problem)
                yield self._remove(engine, problem)

    def _problem(self, engine: EngineView) -> str:
        policy, age_s = self.policy, self.now_s - engine.since_s
        if engine.phase is EnginePhase.DEAD:
            return engine.problem or "it died"
        if engine.phase is EnginePhase.WAITING and age_s > policy.node_timeout_s:
            return f"no node came in {policy.node_timeout_s:g} s"
        if engine.phase is EnginePhase.STARTING and age_s > policy.start_timeout_s:
            return f"it did not load in {policy.start_timeout_s:g} s"
        if engine.holds and engine.silent_s > policy.silence_s:
            return f"it gave no sign for {policy.silence_s:g} s"
        return ""

    def _yield(self) -> Iterator[Action]:
        """Live work waits for a bundle: it gets it, after ``drain_s`` for what is under way."""
        for engine in self._untouched():
            reason = self.claims.get(engine.index)
            if reason is None:
                continue
            if not self._may_drain(engine):
                yield from self._take_away(engine, reason, live=True)
                continue
            self.touched.add(engine.index)
            if engine.phase is EnginePhase.OPEN:
                yield self._close(engine, reason, live=True)

    def _may_drain(self, engine: EngineView) -> bool:
        """Counted from when live work began to wait: what it waits for may change meanwhile."""
        since_s = self.memory.claimed_since_s
        waited_s = 0.0 if since_s is None else self.now_s - since_s
        if engine.phase is EnginePhase.CLOSED:
            waited_s = max(waited_s, self.now_s - engine.since_s)
        elif engine.phase is not EnginePhase.OPEN:
            return False
        return engine.in_flight > 0 and waited_s < self.policy.drain_s

    def _wind_down(self) -> Iterator[Action]:
        """Nights may not run now: nothing new, and what is under way gets time to end."""
        if not self.shut:
            return
        for engine in self._untouched():
            over = engine.phase is not EnginePhase.OPEN and (
                self.now_s - engine.since_s >= WIND_DOWN_S
            )
            if engine.in_flight == 0 or over:
                yield from self._take_away(engine, self.shut, live=False)
            elif engine.phase is EnginePhase.OPEN and not self.pressure:
                yield self._close(engine, self.shut)

    def _relent(self) -> Iterator[Action]:
        """Pressure: nothing new at once, abort at half the grace period, remove at its end."""
        since_s = self.memory.pressed_since_s
        if since_s is None:
            return
        lasted_s, reason = self.now_s - since_s, self.pressure
        for engine in self._untouched():
            phase = engine.phase
            if lasted_s >= self.policy.grace_s or phase is EnginePhase.WAITING:
                yield from self._take_away(engine, reason, live=True)
                continue
            if phase is EnginePhase.OPEN:
                yield self._close(engine, reason, live=True)
            answers = phase in (EnginePhase.OPEN, EnginePhase.CLOSED)
            if answers and lasted_s >= self.policy.grace_s / 2:
                self.touched.add(engine.index)
                self.aborted.add(engine.index)
                yield Action(ActionKind.ABORT, engine.index, reason, live=True)

    def _shrink(self) -> Iterator[Action]:
        """Engines the backlog does not ask for go, when they had nothing to do for a while.

        One that has no node yet goes sooner: the node would come for nothing.
        """
        left = self._left()
        surplus = len(left) - desired(self.snapshot, self.policy)
        since_s = _since(self.memory.idle_since_s, self.now_s, surplus > 0)
        self.memory = replace(self.memory, idle_since_s=since_s)
        if since_s is None:
            return
        timeout_s = self.policy.idle_timeout_s
        idle = [e for e in left if e.in_flight == 0 or e.index in self.aborted]
        idle.sort(key=lambda engine: (_LOADED[engine.phase], -engine.index))
        sooner_s = min(timeout_s, self.policy.hysteresis_s)
        for engine in idle[:surplus]:
            patience_s = sooner_s if engine.phase is EnginePhase.WAITING else timeout_s
            if self.now_s - since_s >= patience_s:
                yield self._remove(engine, "there is nothing for it to do")

    def _come_back(self) -> Iterator[Action]:
        if not self.may_grow():
            return
        for engine in self._untouched():
            if engine.phase in (EnginePhase.CLOSED, EnginePhase.PAUSED):
                self.touched.add(engine.index)
                yield Action(ActionKind.ADMIT, engine.index, "live work is calm")

    def _give_back(self) -> Iterator[Action]:
        """What stands shut for longer than an engine may idle does not keep its node."""
        longest_s = max(self.policy.idle_timeout_s, self.policy.hysteresis_s)
        for engine in self._untouched():
            stands = engine.phase in (EnginePhase.CLOSED, EnginePhase.PAUSED)
            if stands and not engine.in_flight and self.now_s - engine.since_s >= longest_s:
                reason = f"live work was not calm for {longest_s:g} s"
                yield from self._take_away(engine, reason, live=False)

    def _grow(self) -> Iterator[Action]:
        taken = {engine.index for engine in self._left()}
        missing = desired(self.snapshot, self.policy) - len(taken)
        if missing <= 0 or not self.may_grow():
            return
        snapshot, policy = self.snapshot, self.policy
        self.contested = contested(snapshot.demand.asks, snapshot.nodes, policy.bundle)
        if self.contested:
            return
        taken |= self.removed
        free = [index for index in range(policy.max_engines) if index not in taken]
        for index in free[:missing]:
            yield Action(ActionKind.CREATE, index, "there is work for it")

    # -- how

    def may_grow(self) -> bool:
        """Whether an engine may be created, or admitted, as far as live work goes."""
        since_s = self.memory.calm_since_s
        calm = since_s is not None and self.now_s - since_s >= self.policy.hysteresis_s
        return calm and not self.shut and self.now_s >= self.memory.not_before_s

    def _left(self) -> list[EngineView]:
        return [engine for engine in self.engines if engine.index not in self.removed]

    def _untouched(self) -> list[EngineView]:
        return [engine for engine in self._left() if engine.index not in self.touched]

    def _close(self, engine: EngineView, reason: str, *, live: bool = False) -> Action:
        self.touched.add(engine.index)
        if live:
            self._hold_back(failed=False, why=reason)
        return Action(ActionKind.CLOSE, engine.index, reason, live)

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
        if engine.holds and engine.node:
            given = (*self.memory.given, (engine.node, self.now_s))
            self.memory = replace(self.memory, given=given)
        return Action(ActionKind.REMOVE, engine.index, reason, live)

    def _hold_back(self, *, failed: bool, why: str) -> None:
        """Stay away for a while: doubled by every yield, or failure, soon after the last.

        What falls into such a while lengthens it and doubles nothing: nothing was opened since,
        so it is the same trouble, however many engines and looks it takes.
        """
        memory, now_s = self.memory, self.now_s
        times = memory.failures if failed else memory.yields
        if times == 0 or now_s >= memory.not_before_s:
            times += 1
        if failed:
            memory = replace(memory, failures=times, failed_s=now_s)
        else:
            memory = replace(memory, yields=times, yielded_s=now_s)
        until_s = max(memory.not_before_s, now_s + backoff_s(times, self.policy))
        self.memory = replace(memory, not_before_s=until_s, held_back=why)


def _since(since_s: float | None, now_s: float, holds: bool) -> float | None:  # noqa: FBT001
    """Since when something holds without a break; None when it does not."""
    if not holds:
        return None
    return now_s if since_s is None else since_s


_LOADED = {
    EnginePhase.WAITING: 0,
    EnginePhase.STARTING: 1,
    EnginePhase.PAUSED: 2,
    EnginePhase.CLOSED: 3,
    EnginePhase.OPEN: 4,
}
"""What it would cost to have an engine again, cheapest first."""

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
    look = _look(turn, phases)
    for phase, state in _STATES.items():
        if phase in phases.values():
            why = _why_closed(turn) if state is PoolState.CLOSED else ""
            return Decision(actions, turn.memory, state, why, look)
    if not turn.policy.enabled:
        return Decision(actions, turn.memory, PoolState.OFF, turn.shut, look)
    if turn.shut or not turn.snapshot.backlog.scopes:
        why = turn.shut or "nothing is due"
        return Decision(actions, turn.memory, PoolState.ASLEEP, why, look)
    return Decision(actions, turn.memory, PoolState.HELD_BACK, _why_held_back(turn), look)


def _look(turn: _Turn, phases: dict[int, EnginePhase]) -> float:
    policy = turn.policy
    if not phases:
        wanted = turn.snapshot.backlog.scopes and not turn.shut
        return WAITING_LOOK_S if wanted else IDLE_LOOK_S
    holds = any(phase is not EnginePhase.WAITING for phase in phases.values())
    return min(policy.watch_s if holds else WAITING_LOOK_S, policy.grace_s / LOOKS_PER_GRACE)


def _why_closed(turn: _Turn) -> str:
    return turn.shut or turn.trouble() or _why_held_back(turn)


def _why_held_back(turn: _Turn) -> str:
    """What keeps the pool away now; what it remembers only while that holds it back."""
    if turn.memory.not_before_s > turn.now_s:
        return turn.trouble() or turn.memory.held_back
    return turn.trouble() or turn.contested or "live work must be calm for a while"
