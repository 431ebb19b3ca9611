"""The idle pool as data: what live work asks for, what the pool holds, what it is told to do.

Resources are Ray's: ``{"GPU": 1.0, "idle_pool": 1.0}``. Times are seconds of one monotonic clock,
instants are UTC. The pool is a row of engines, each alone in a single-bundle placement group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

IDLE_RESOURCE = "idle_pool"
"""The custom resource that only nodes of the idle pool offer, and every engine asks for."""

IDLE_LABELS: Mapping[str, str] = MappingProxyType({"pool": "idle"})
"""The node labels that every engine asks for."""

MAX_ENGINES = 64
"""The most engines a pool may ever have."""

Resources = Mapping[str, float]


class EnginePhase(StrEnum):
    """Where one engine of the pool stands."""

    WAITING = "waiting"
    """Its placement group is asked for; no node holds it yet."""
    STARTING = "starting"
    """It has its bundle and loads its model."""
    OPEN = "open"
    """It answers."""
    CLOSED = "closed"
    """It answers what is under way and is given nothing new."""
    PAUSED = "paused"
    """What was under way is aborted; it keeps its bundle, and no memory it can do without."""
    DEAD = "dead"
    """It failed to start, died, or lost its node."""


@dataclass(frozen=True)
class EngineView:
    """One engine as its shell last saw it. ``index`` names it among the engines of the pool.

    ``silent_s`` is how long a question whether it lives has been open.
    """

    index: int
    phase: EnginePhase
    since_s: float
    node: str = ""
    in_flight: int = 0
    silent_s: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it may hold a bundle of a node. A dead one's group does, until it is removed."""
        return self.phase is not EnginePhase.WAITING


@dataclass(frozen=True)
class NodeView:
    """A living node: what it offers in all, what is free, and whether it is being taken away."""

    id: str
    total: Resources
    free: Resources
    labels: Mapping[str, str] = field(default_factory=dict)
    draining: bool = False


@dataclass(frozen=True)
class Ask:
    """Live work that waits for resources no node has free: a task, an actor, a replica.

    Asks of one ``gang`` (a placement group, by any name) are of use only all together.
    """

    resources: Resources
    labels: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    gang: str = ""


@dataclass(frozen=True)
class Demand:
    """Everything known of live work at one moment.

    ``known`` is False when the cluster did not say. ``asked_until_s`` is the end of the time for
    which somebody asked for the pool by name. ``hot_p99_ms``, ``queued`` and ``free_gpu_bytes``
    are None where nobody measures them.
    """

    asks: tuple[Ask, ...] = ()
    asked_until_s: float = 0.0
    hot_p99_ms: float | None = None
    queued: int | None = None
    free_gpu_bytes: int | None = None
    known: bool = True


@dataclass(frozen=True)
class Backlog:
    """What nights have to do now: scopes due or under way, and their tokens."""

    scopes: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Memory:
    """What the governor knows from earlier decisions. Starts empty: nobody ever waited.

    ``calm_since_s`` is None while live work waits, ``claimed_since_s`` while it waits for nothing
    that the pool holds. ``yields`` is how many times in a row the pool gave way, ``failures`` how
    many times in a row engines failed; both are forgotten ``2 * max_backoff_s`` after the last.
    Nothing is created or admitted before ``not_before_s``. ``given`` are the nodes of the engines
    removed a moment ago, and when. ``gpu_seconds`` were held on ``day``.
    """

    seen_s: float | None = None
    yields: int = 0
    yielded_s: float | None = None
    failures: int = 0
    failed_s: float | None = None
    not_before_s: float = 0.0
    held_back: str = ""
    pressed_since_s: float | None = None
    claimed_since_s: float | None = None
    calm_since_s: float | None = -math.inf
    idle_since_s: float | None = None
    given: tuple[tuple[str, float], ...] = ()
    day: str = ""
    gpu_seconds: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """All that a decision depends on."""

    now_s: float
    now: datetime
    demand: Demand = Demand()
    engines: tuple[EngineView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    backlog: Backlog = Backlog()
    memory: Memory = Memory()


class ActionKind(StrEnum):
    """What a shell can do to one engine."""

    CREATE = "create"
    """Ask for its placement group, and start it when the group has its node."""
    CLOSE = "close"
    """Give it nothing new."""
    ABORT = "abort"
    """End what is under way in it; pinned answers stay, the rest is asked again later."""
    REMOVE = "remove"
    """Remove its placement group, with every process in it."""
    ADMIT = "admit"
    """Give it work again."""


@dataclass(frozen=True)
class Action:
    """One thing to do to one engine, and why. ``live`` when live work waits for it."""

    kind: ActionKind
    engine: int
    reason: str
    live: bool = False


class PoolState(StrEnum):
    """The state of the pool in one word, for people."""

    OFF = "off"
    ASLEEP = "asleep"
    WAITING_FOR_NODE = "waiting for a node"
    STARTING = "starting"
    OPEN = "open"
    CLOSED = "closed"
    HELD_BACK = "held back"
    BLIND = "blind"


@dataclass(frozen=True)
class Decision:
    """What to do now, what to remember, and how it looks from outside.

    ``look_again_s`` is the longest wait before the next decision.
    """

    actions: tuple[Action, ...]
    memory: Memory
    state: PoolState
    reason: str
    look_again_s: float
