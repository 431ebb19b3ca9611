"""IdlePool: the placement group cold work lives in, and the actors inside it.

The group asks for the custom resource ``idle_pool``, which only nodes of the idle pool offer, so
cold work can never be placed beside live work by accident. This is the pool's CPU form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sleep_runtime.actors.driver import DriverParts
from sleep_runtime.actors.engine import EngineActor
from sleep_runtime.actors.tier import TierActor, shard_of
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.scope import Scope, Tier

GROUP = "sleep-idle-pool"
RESOURCE = "idle_pool"
ENGINE = "engine"
_SHARE = 0.001


@dataclass(frozen=True)
class PoolShape:
    """How large the pool is: CPUs of its bundle and shards of each tier."""

    cpus: float
    shards: dict[Tier, int]
    namespace: str
    ready_timeout_s: float = 60.0
    max_pending_calls: int = 1000


@dataclass(frozen=True)
class PoolMakers:
    """What the actors of the pool are made of, called inside them.

    ``driver_parts`` takes the handle of the engine's actor.
    """

    engine: Callable[[], tuple[Engine, Embedder]]
    driver_parts: Callable[[Any], DriverParts]


class IdlePool:
    """Makes the group and its actors when they are missing, finds them when they are there."""

    def __init__(self, shape: PoolShape, makers: PoolMakers) -> None:
        self._shape = shape
        self._makers = makers
        self._group: PlacementGroup | None = None
        self._actors: dict[str, Any] = {}

    def ensure(self) -> None:
        """Bring the whole pool up. Raises ``RuntimeUnavailable`` when no node offers it."""
        for tier, shards in self._shape.shards.items():
            for shard in range(shards):
                self._tier(tier, shard)

    def tier_for(self, scope: Scope) -> Any:
        """The actor that drives this scope."""
        return self._tier(scope.tier, self._shard(scope))

    def actors(self) -> list[Any]:
        """Every actor of the pool that was made or found so far."""
        return list(self._actors.values())

    def forget(self) -> None:
        """Drop all handles: the next use finds what lives and makes what is gone."""
        self._actors.clear()
        self._group = None

    def remove(self) -> None:
        """Give the bundle back. What was under way resumes from its pins later."""
        remove_group()
        self.forget()

    def _shard(self, scope: Scope) -> int:
        return shard_of(scope, self._shape.shards[scope.tier])

    def _tier(self, tier: Tier, shard: int) -> Any:
        make_parts = partial(self._makers.driver_parts, self._engine())
        return self._actor(f"tier-{tier.label}-{shard}", TierActor, tier, shard, make_parts)

    def _engine(self) -> Any:
        return self._actor(ENGINE, EngineActor, self._makers.engine)

    def _actor(self, name: str, kind: type, *args: Any) -> Any:
        if name not in self._actors:
            self._actors[name] = (
                ray.remote(kind)
                .options(
                    name=name,
                    namespace=self._shape.namespace,
                    lifetime="detached",
                    get_if_exists=True,
                    max_restarts=-1,
                    max_pending_calls=self._shape.max_pending_calls,
                    num_cpus=0,
                    resources={RESOURCE: _SHARE},
                    scheduling_strategy=PlacementGroupSchedulingStrategy(
                        placement_group=self._ready_group(), placement_group_bundle_index=0
                    ),
                )
                .remote(*args)
            )
        return self._actors[name]

    def _ready_group(self) -> PlacementGroup:
        if self._group is None:
            self._group = find_group() or placement_group(
                [{"CPU": self._shape.cpus, RESOURCE: 1.0}],
                strategy="STRICT_PACK",
                name=GROUP,
                lifetime="detached",
                bundle_label_selector=[{"pool": "idle"}],
            )
            if not self._group.wait(self._shape.ready_timeout_s):
                raise RuntimeUnavailable(
                    f"no node offers {self._shape.cpus:g} CPU and the resource {RESOURCE!r}"
                    " with the label pool=idle",
                    field="ray.idle_cpus",
                    mend="start an idle node, or lower ray.idle_cpus",
                )
        return self._group


def find_group() -> PlacementGroup | None:
    """The pool's placement group of this namespace, or None when there is none."""
    try:
        found: PlacementGroup = get_placement_group(GROUP)
    except ValueError:
        return None
    return found


def remove_group() -> None:
    """Remove the pool's placement group, if there is one, with every actor inside it."""
    group = find_group()
    if group is not None:
        remove_placement_group(group)
