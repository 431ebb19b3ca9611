"""A small cluster with an autoscaler, in steps of ``step_s``: no Ray, no clock, no chance.

It does to its engines what ``decide`` says, as a shell would, and looks again as late as it may.
What it is told (a ``Weather``) is all that happens to it; it keeps its own books of room, waiting,
GPU time and openings, so that the governor's can be held against them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sleep_runtime.consolidation import governor
from sleep_runtime.consolidation.claims import fits, selects
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import (
    IDLE_LABELS,
    Action,
    ActionKind,
    Ask,
    Backlog,
    Decision,
    Demand,
    EnginePhase,
    EngineView,
    Memory,
    NodeView,
    Resources,
    Snapshot,
)

NIGHT = datetime(2026, 11, 26, 22, 0, tzinfo=UTC)
JOB_TOKENS = 100
JOBS_AT_ONCE = 2
SCOPE_TOKENS = 1_000

Span = tuple[float, float]
Decide = Callable[[Snapshot, PoolPolicy], Decision]


@dataclass(frozen=True)
class Arrival:
    """Live work that arrives, is placed when a node has room, stays, and leaves."""

    at_s: float
    ask: Ask
    stays_s: float = 5.0


@dataclass(frozen=True)
class Weather:
    """Everything that happens to a world; spans are ``(from, until)`` in seconds."""

    arrivals: tuple[Arrival, ...] = ()
    work: tuple[tuple[float, int], ...] = ((0.0, 2_000),)
    pressure: tuple[Span, ...] = ()
    blind: tuple[Span, ...] = ()
    asked: tuple[Span, ...] = ()
    no_quota: tuple[Span, ...] = ()
    drains: tuple[float, ...] = ()
    bad_start: tuple[Span, ...] = ()
    bad_work: tuple[Span, ...] = ()
    pounce: Span = (0.0, 0.0)
    """While it lasts, live work arrives whenever an engine opens, and leaves after a second."""

    def calm_from_s(self) -> float:
        """When nothing more happens."""
        spans = (*self.pressure, *self.blind, *self.asked, *self.no_quota, self.pounce)
        ends = [end for _, end in (*spans, *self.bad_start, *self.bad_work)]
        ends += [each.at_s + each.stays_s for each in self.arrivals]
        return max([*ends, *self.drains, *(at for at, _ in self.work)], default=0.0)


@dataclass(frozen=True)
class Site:
    """What the cluster is made of, and how slow it is."""

    live: tuple[Resources, ...] = ({"GPU": 1.0, "CPU": 4.0},)
    idle: Resources = field(default_factory=lambda: {"GPU": 1.0, "CPU": 2.0, "idle_pool": 1.0})
    most_idle: int = 3
    node_delay_s: float = 3.0
    node_idle_s: float = 10.0
    load_s: float = 2.0
    job_s: float = 0.7
    step_s: float = 0.2
    lag_s: float = 0.0
    """How old the cluster's word on what waits and what is free is."""


@dataclass
class Node:
    """A node as the cluster knows it."""

    view: NodeView
    idle_since_s: float | None = None
    gone_s: float | None = None


@dataclass
class Engine:
    """An engine as the shell knows it. ``jobs`` are the ends of what is under way."""

    view: EngineView
    jobs: list[float] = field(default_factory=list)


@dataclass
class Waiting:
    """Live work that is not placed. ``helpable_s`` is since when the pool's room would do."""

    arrival: Arrival
    helpable_s: float | None = None


class PoolWorld:
    """Runs a weather over a site under a policy. Checks nothing itself but keeps the books."""

    def __init__(
        self,
        policy: PoolPolicy,
        weather: Weather,
        site: Site | None = None,
        *,
        start: datetime = NIGHT,
        decide: Decide = governor.decide,
    ) -> None:
        self.policy, self.weather, self.site = policy, weather, site or Site()
        self.start, self.decide = start, decide
        self.step, self.now_s, self.due_s = 0, 0.0, 0.0
        self.memory = Memory()
        self.engines: dict[int, Engine] = {}
        self.nodes: dict[str, Node] = {}
        for number, total in enumerate(self.site.live):
            self._add_node(f"live-{number}", total, {"pool": "live"})
        self.numbers = itertools.count()
        self.waiting: list[Waiting] = []
        self.rooms: dict[str, tuple[object, Resources]] = {}
        self.placed: list[tuple[float, str, Resources]] = []
        self.tokens = 0
        self.arrivals = sorted(weather.arrivals, key=lambda each: each.at_s)
        self.work = sorted(weather.work)
        self.decisions: list[tuple[Snapshot, Decision]] = []
        self.opened_s: list[tuple[float, int]] = []
        self.words: list[tuple[float, tuple[Ask, ...], tuple[NodeView, ...]]] = []
        self.longest_wait_s = 0.0
        self.gpu_seconds: defaultdict[str, float] = defaultdict(float)
        self.day, self.day_ends = "", start
        self.nodes_peak = 0
        self.moves = 0

    # -- what is

    @property
    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.now_s)

    def during(self, spans: tuple[Span, ...]) -> bool:
        return any(start <= self.now_s < end for start, end in spans)

    def snapshot(self) -> Snapshot:
        asked = [end for start, end in self.weather.asked if start <= self.now_s < end]
        asks, nodes = self._word()
        demand = Demand(
            asks=asks,
            asked_until_s=max(asked, default=0.0),
            hot_p99_ms=500.0 if self.during(self.weather.pressure) else 5.0,
            known=not self.during(self.weather.blind),
        )
        views = [replace(e.view, in_flight=len(e.jobs)) for e in self.engines.values()]
        left = self.tokens + JOB_TOKENS * sum(len(e.jobs) for e in self.engines.values())
        return Snapshot(
            self.now_s,
            self.now,
            demand if demand.known else Demand(known=False),
            tuple(views),
            nodes,
            Backlog(-(-left // SCOPE_TOKENS), left),
            self.memory,
        )

    def _word(self) -> tuple[tuple[Ask, ...], tuple[NodeView, ...]]:
        """What waits and what is free, as the cluster says after its lag."""
        asks = tuple(each.arrival.ask for each in self.waiting)
        nodes = tuple(replace(each.view, free=self._free(each)) for each in self.nodes.values())
        self.words.append((self.now_s, asks, nodes))
        while len(self.words) > 1 and self.words[1][0] <= self.now_s - self.site.lag_s:
            self.words.pop(0)
        return self.words[0][1:]

    def _free(self, node: Node) -> Resources:
        """Computed once for every change: most of a trace nothing changes."""
        holders = tuple(e.view.node for e in self.engines.values() if e.view.holds)
        known = self.rooms.get(node.view.id)
        if known is None or known[0] != (self.placed, holders):
            free = self._count(node)
            assert all(amount > -1e-6 for amount in free.values()), f"{node.view.id} gave twice"
            known = self.rooms[node.view.id] = ((list(self.placed), holders), free)
        return known[1]

    def _count(self, node: Node) -> dict[str, float]:
        free = dict(node.view.total)
        taken = [resources for _, where, resources in self.placed if where == node.view.id]
        taken += [
            self.policy.bundle
            for engine in self.engines.values()
            if engine.view.holds and engine.view.node == node.view.id
        ]
        for resources in taken:
            for name, amount in resources.items():
                free[name] = free.get(name, 0.0) - amount
        return free

    # -- what happens

    def run(self, until_s: float) -> PoolWorld:
        while self.now_s < until_s:
            self._happen()
            if self.now_s + self.site.step_s > self.due_s + 1e-9:
                self.look()
            self.step += 1
            self.now_s = round(self.step * self.site.step_s, 6)
        return self

    def _happen(self) -> None:
        self._nodes_come_and_go()
        self._engines_go_on()
        self._live_work_comes_and_goes()
        self._books()

    def _add_node(self, name: str, total: Resources, labels: dict[str, str]) -> None:
        self.nodes[name] = Node(NodeView(name, total, total, labels))

    def _nodes_come_and_go(self) -> None:
        idle = [node for node in self.nodes.values() if node.view.labels == IDLE_LABELS]
        if idle and any(abs(at - self.now_s) < self.site.step_s / 2 for at in self.weather.drains):
            idle[0].view = replace(idle[0].view, draining=True)
            idle[0].gone_s = self.now_s + self.policy.grace_s
        for node in idle:
            used = self._free(node) != dict(node.view.total)
            node.idle_since_s = None if used else (node.idle_since_s or self.now_s)
            rested = node.idle_since_s is not None and (
                self.now_s - node.idle_since_s >= self.site.node_idle_s
            )
            if rested or (node.gone_s is not None and self.now_s >= node.gone_s):
                self._lose(node)
        idle = [node for node in self.nodes.values() if node.view.labels == IDLE_LABELS]
        ripe = [
            engine
            for engine in self._in(EnginePhase.WAITING)
            if self.now_s - engine.view.since_s >= self.site.node_delay_s
        ]
        free = sum(1 for node in idle if self._roomy(node, self.policy.bundle, IDLE_LABELS))
        for _ in ripe[free:]:
            if len(idle) < self.site.most_idle and not self.during(self.weather.no_quota):
                self._add_node(f"idle-{next(self.numbers)}", self.site.idle, dict(IDLE_LABELS))
                idle.append(next(reversed(self.nodes.values())))
        self.nodes_peak = max(self.nodes_peak, len(idle))

    def _lose(self, node: Node) -> None:
        del self.nodes[node.view.id]
        self.placed = [each for each in self.placed if each[1] != node.view.id]
        for engine in self.engines.values():
            if engine.view.node == node.view.id and engine.view.holds:
                self._die(engine, "its node is gone")

    def _in(self, *phases: EnginePhase) -> list[Engine]:
        return [engine for engine in self.engines.values() if engine.view.phase in phases]

    def _roomy(self, node: Node, asked: Resources, labels: Mapping[str, str]) -> bool:
        open_to_work = not node.view.draining and selects(labels, node.view.labels)
        return open_to_work and fits(asked, self._free(node))

    def _move(self, engine: Engine, phase: EnginePhase, **more: str) -> None:
        self.moves += 1
        node = more.get("node", engine.view.node)
        problem = more.get("problem", "")
        engine.view = EngineView(engine.view.index, phase, self.now_s, node, problem=problem)
        if phase is EnginePhase.OPEN:
            self.opened_s.append((self.now_s, engine.view.index))

    def _die(self, engine: Engine, problem: str) -> None:
        self._end(engine)
        self._move(engine, EnginePhase.DEAD, problem=problem)

    def _end(self, engine: Engine) -> None:
        self.tokens += JOB_TOKENS * len(engine.jobs)
        engine.jobs.clear()

    def _engines_go_on(self) -> None:
        while self.work and self.work[0][0] <= self.now_s:
            self.tokens += self.work.pop(0)[1]
        for engine in self._in(EnginePhase.WAITING):
            for node in self.nodes.values():
                if self._roomy(node, self.policy.bundle, IDLE_LABELS):
                    self._move(engine, EnginePhase.STARTING, node=node.view.id)
                    break
        for engine in self._in(EnginePhase.STARTING):
            if self.now_s - engine.view.since_s >= self.site.load_s:
                if self.during(self.weather.bad_start):
                    self._die(engine, "the model cannot be loaded")
                else:
                    self._move(engine, EnginePhase.OPEN)
        for engine in self._in(EnginePhase.OPEN, EnginePhase.CLOSED):
            engine.jobs = [end for end in engine.jobs if end > self.now_s]
            if engine.view.phase is EnginePhase.OPEN:
                while self.tokens >= JOB_TOKENS and len(engine.jobs) < JOBS_AT_ONCE:
                    self.tokens -= JOB_TOKENS
                    engine.jobs.append(self.now_s + self.site.job_s)
                if engine.jobs and self.during(self.weather.bad_work):
                    self._die(engine, "it died in work")

    def _live_work_comes_and_goes(self) -> None:
        self.placed = [each for each in self.placed if each[0] > self.now_s]
        while self.arrivals and self.arrivals[0].at_s <= self.now_s:
            self.waiting.append(Waiting(self.arrivals.pop(0)))
        for engine in self._in(EnginePhase.OPEN) if self.during((self.weather.pounce,)) else []:
            if engine.view.since_s == self.now_s:
                ask = Ask(self.policy.bundle, IDLE_LABELS)
                self.waiting.append(Waiting(Arrival(self.now_s, ask, 1.0)))
        for each in list(self.waiting):
            ask = each.arrival.ask
            for node in self.nodes.values():
                if self._roomy(node, ask.resources, ask.labels):
                    until_s = self.now_s + each.arrival.stays_s
                    self.placed.append((until_s, node.view.id, ask.resources))
                    self.waiting.remove(each)
                    break

    # -- the books

    def _helpable(self, ask: Ask) -> bool:
        """Whether an engine stands where it would fit: by brute force, not as claims.py does."""
        for node in self.nodes.values():
            if node.view.draining or not selects(ask.labels, node.view.labels):
                continue
            room = dict(self._free(node))
            here = [e for e in self.engines.values() if e.view.node == node.view.id]
            for engine in here:
                if engine.view.phase not in (EnginePhase.WAITING, EnginePhase.DEAD):
                    for name, amount in self.policy.bundle.items():
                        room[name] += amount
            if fits(ask.resources, room):
                return True
        return False

    def _books(self) -> None:
        known = not self.during(self.weather.blind)
        for each in self.waiting:
            if not (known and self._helpable(each.arrival.ask)):
                each.helpable_s = None
            elif each.helpable_s is None:
                each.helpable_s = self.now_s
            else:
                self.longest_wait_s = max(self.longest_wait_s, self.now_s - each.helpable_s)
        if self.now >= self.day_ends:
            local = self.now.astimezone(ZoneInfo(self.policy.timezone))
            self.day = local.date().isoformat()
            tomorrow = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0)
            self.day_ends = tomorrow.astimezone(UTC)
        holding = sum(1 for engine in self.engines.values() if engine.view.holds)
        self.gpu_seconds[self.day] += holding * self.policy.gpus_per_engine * self.site.step_s

    # -- the shell

    def look(self) -> None:
        snapshot = self.snapshot()
        decision = self.decide(snapshot, self.policy)
        self.decisions.append((snapshot, decision))
        self.memory = decision.memory
        for action in decision.actions:
            self.execute(action)
        self.due_s = self.now_s + decision.look_again_s

    def execute(self, action: Action) -> None:
        if action.kind is ActionKind.CREATE:
            assert action.engine not in self.engines, f"{action} exists"
            fresh = EngineView(action.engine, EnginePhase.WAITING, self.now_s)
            self.engines[action.engine] = Engine(fresh)
            self.moves += 1
            return
        engine = self.engines[action.engine]
        if action.kind is ActionKind.REMOVE:
            self._end(engine)
            del self.engines[action.engine]
            self.moves += 1
        elif action.kind is ActionKind.ABORT:
            self._end(engine)
            self._move(engine, EnginePhase.PAUSED)
        elif action.kind is ActionKind.CLOSE:
            self._move(engine, EnginePhase.CLOSED)
        else:
            self._move(engine, EnginePhase.OPEN)
