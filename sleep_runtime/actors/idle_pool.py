"""IdlePool: does to placement groups and engines what the governor decided. Holds no rules.

Each engine is one actor in a single-bundle placement group of its own, which asks for the custom
resource ``idle_pool`` and the label ``pool=idle``: cold work is never placed beside live work by
accident, and removing the group ends every process in it and frees the bundle at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sleep_runtime.actors.cluster import ClusterLook
from sleep_runtime.actors.engine import EngineActor, Parts
from sleep_runtime.actors.owners import in_words
from sleep_runtime.actors.pace import Pace
from sleep_runtime.actors.whereabouts import Whereabouts, answering
from sleep_runtime.core.pool import (
    IDLE_LABELS,
    IDLE_RESOURCE,
    MAX_ENGINES,
    Action,
    ActionKind,
    EnginePhase,
    EngineView,
)
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

GROUP = "sleep-idle-pool"
ENGINE = "engine"
PING_EVERY_S = 1.0
_SHARE = 0.001
_MAX_PROBLEM_CHARS = 300

log = get_logger(__name__)


@dataclass(frozen=True)
class PoolShape:
    """What an engine of the pool is: its bundle, how many calls it takes at once, its limits."""

    bundle: dict[str, float]
    namespace: str
    max_engines: int = 1
    lanes: int = 1
    engine_memory_bytes: int | None = None
    make_pace: Callable[[], Pace] | None = None


@dataclass
class _Slot:
    """One engine, from the moment its group is asked for."""

    index: int
    group: PlacementGroup
    since_s: float
    phase: EnginePhase = EnginePhase.WAITING
    node: str = ""
    actor: Any = None
    starting: Any = None
    pinged: Any = None
    pinged_s: float = 0.0
    silent_s: float = 0.0
    problem: str = ""
    where: Whereabouts | None = None

    @property
    def group_id(self) -> str:
        return str(self.group.id.hex())

    def enter(self, phase: EnginePhase, now_s: float) -> None:
        self.phase, self.since_s = phase, now_s


class Removed(NamedTuple):
    """A group that went, its node, and what the node's GPUs had free before it came."""

    group: str
    node: str
    free_gpu_bytes: int | None


class IdlePool:
    """The engines there are. What it holds can all be found again by name.

    One thread looks and executes; any thread may ask how things stand.
    """

    def __init__(self, shape: PoolShape, make_engine: Callable[[], Parts]) -> None:
        self._shape = shape
        self._make_engine = make_engine
        self._slots: dict[int, _Slot] = {}

    def adopt(self, now_s: float) -> None:
        """Find the engines that a keeper before this one left."""
        for index in range(self._shape.max_engines):
            group = find_group(index)
            if group is not None:
                self._slots[index] = _Slot(index, group, now_s)

    # -- see

    def look(self, look: ClusterLook, now_s: float) -> None:
        """Bring every engine up to what the cluster says of its group, and ask if it lives."""
        if not look.known:
            return
        for slot in list(self._slots.values()):
            try:
                self._advance(slot, look.groups.get(slot.group_id), now_s)
            except RayError as error:
                self._die(slot, in_words(error), now_s)

    def views(self, in_flight: dict[str, int]) -> tuple[EngineView, ...]:
        """The engines for the governor. ``in_flight`` counts nights by the engine's name."""
        return tuple(
            EngineView(
                index=slot.index,
                phase=slot.phase,
                since_s=slot.since_s,
                node=slot.node,
                in_flight=in_flight.get(engine_name(slot.index), 0),
                silent_s=slot.silent_s,
                problem=slot.problem,
            )
            for slot in list(self._slots.values())
        )

    def open(self) -> list[str]:
        """The names of the engines that take nights now."""
        return [
            engine_name(slot.index)
            for slot in list(self._slots.values())
            if slot.phase is EnginePhase.OPEN
        ]

    def where(self) -> dict[str, tuple[EnginePhase, Whereabouts | None]]:
        """The phase of every engine by name, and where it runs once it answers."""
        return {
            engine_name(slot.index): (slot.phase, slot.where) for slot in list(self._slots.values())
        }

    def actors(self) -> list[Any]:
        """The engines that can be asked something."""
        return [slot.actor for slot in list(self._slots.values()) if slot.phase is EnginePhase.OPEN]

    def _advance(self, slot: _Slot, node: str | None, now_s: float) -> None:
        if slot.phase is EnginePhase.DEAD:
            return
        if slot.phase is EnginePhase.WAITING:
            if node is not None:
                slot.node = node
                self._start(slot, now_s)
            return
        if node is None:
            self._die(slot, "its node is gone", now_s)
        elif slot.phase is EnginePhase.STARTING:
            self._see_started(slot, now_s)
        else:
            self._ping(slot, now_s)

    def _see_started(self, slot: _Slot, now_s: float) -> None:
        done, _ = ray.wait([slot.starting], timeout=0)
        if done:
            slot.where = ray.get(slot.starting)
            slot.enter(EnginePhase.OPEN, now_s)
            log.info(LogEvent.POOL_ENGINE, engine=slot.index, what="open", node=slot.node)

    def _ping(self, slot: _Slot, now_s: float) -> None:
        if slot.pinged is not None:
            done, _ = ray.wait([slot.pinged], timeout=0)
            if not done:
                slot.silent_s = now_s - slot.pinged_s
                return
            ray.get(slot.pinged)
            slot.pinged, slot.silent_s = None, 0.0
        if now_s - slot.pinged_s >= PING_EVERY_S:
            slot.pinged, slot.pinged_s = slot.actor.identity.remote(), now_s

    def _die(self, slot: _Slot, why: str, now_s: float) -> None:
        slot.problem = why[:_MAX_PROBLEM_CHARS]
        slot.enter(EnginePhase.DEAD, now_s)

    # -- do

    def execute(self, actions: Sequence[Action], now_s: float) -> list[Removed]:
        """Do these in order. Returns the groups that were removed for live work."""
        removed = []
        for action in actions:
            log.info(
                LogEvent.POOL_ENGINE,
                engine=action.engine,
                what=action.kind.value,
                reason=action.reason,
            )
            slot = self._slots.get(action.engine)
            if action.kind is ActionKind.CREATE:
                self._create(action.engine, now_s)
            elif slot is not None:
                if action.kind is ActionKind.REMOVE and action.live and slot.node:
                    before = slot.where.free_gpu_bytes if slot.where else None
                    removed.append(Removed(slot.group_id, slot.node, before))
                self._do(action, slot, now_s)
        return removed

    def _do(self, action: Action, slot: _Slot, now_s: float) -> None:
        if action.kind is ActionKind.CLOSE:
            slot.enter(EnginePhase.CLOSED, now_s)
        elif action.kind is ActionKind.ABORT:
            slot.enter(EnginePhase.PAUSED, now_s)
            if slot.actor is not None:
                slot.actor.abort.remote(action.reason)
        elif action.kind is ActionKind.ADMIT:
            if slot.phase is EnginePhase.PAUSED:
                slot.actor.resume.remote()
            slot.enter(EnginePhase.OPEN, now_s)
        elif action.kind is ActionKind.REMOVE:
            remove_placement_group(slot.group)
            del self._slots[slot.index]

    def _create(self, index: int, now_s: float) -> None:
        group = placement_group(
            [self._shape.bundle],
            strategy="STRICT_PACK",
            name=group_name(index),
            lifetime="detached",
            bundle_label_selector=[dict(IDLE_LABELS)],
        )
        self._slots[index] = _Slot(index, group, now_s)

    def _start(self, slot: _Slot, now_s: float) -> None:
        """Start the engine in its group, or find the one a keeper before this one started."""
        name, shape = engine_name(slot.index), self._shape
        with contextlib.suppress(ValueError):
            slot.actor = ray.get_actor(name, namespace=shape.namespace)
        if slot.actor is None:
            gpus = shape.bundle.get("GPU", 0.0)
            slot.actor = (
                answering(EngineActor, 2)
                .options(
                    name=name,
                    namespace=shape.namespace,
                    lifetime="detached",
                    # The governor starts it again, with back-off, where a restart would not stop.
                    max_restarts=0,
                    max_concurrency=shape.lanes,
                    num_cpus=0,
                    num_gpus=gpus,
                    resources={IDLE_RESOURCE: _SHARE},
                    scheduling_strategy=PlacementGroupSchedulingStrategy(
                        placement_group=slot.group, placement_group_bundle_index=0
                    ),
                )
                .remote(
                    self._make_engine,
                    gpus=gpus,
                    max_memory_bytes=shape.engine_memory_bytes,
                    make_pace=shape.make_pace,
                )
            )
        slot.starting = slot.actor.ready.remote()
        slot.enter(EnginePhase.STARTING, now_s)

    def remove(self) -> None:
        """Give every bundle back. What was under way resumes from its pins later."""
        remove_groups()
        self._slots.clear()


def engine_name(index: int) -> str:
    """The name of an engine's actor."""
    return f"{ENGINE}-{index}"


def group_name(index: int) -> str:
    """The name of an engine's placement group, in the namespace of the runtime."""
    return f"{GROUP}-{index}"


def find_group(index: int) -> PlacementGroup | None:
    """The placement group of one engine of this namespace, or None when there is none."""
    try:
        found: PlacementGroup = get_placement_group(group_name(index))
    except ValueError:
        return None
    return found


def remove_groups() -> None:
    """Remove the placement groups of the pool that there are, with every actor inside them.

    However many engines the settings allow today: those of yesterday may have allowed more.
    """
    for index in range(MAX_ENGINES):
        group = find_group(index)
        if group is not None:
            remove_placement_group(group)
