"""Tiers: the tier actors of a runtime, made when they are missing, found when they are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from sleep_runtime.actors.driver import DriverParts
from sleep_runtime.actors.engine import EngineLine
from sleep_runtime.actors.tier import TierActor, shard_of
from sleep_runtime.actors.whereabouts import answering
from sleep_runtime.core.scope import Scope, Tier


@dataclass(frozen=True)
class TiersShape:
    """How many shards each tier has, how many nights one shard runs at once, and where.

    ``placement`` holds options of Ray that say on which node: beside the stores.
    """

    shards: Mapping[Tier, int]
    namespace: str
    nights_at_once: int = 1
    memory_bytes: int | None = None
    max_pending_calls: int = 1000
    placement: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Nights that can run side by side."""
        return sum(self.shards.values()) * self.nights_at_once


class Tiers:
    """Handles of the tier actors. ``make_parts`` runs inside them, once for every thread."""

    def __init__(self, shape: TiersShape, make_parts: Callable[[EngineLine], DriverParts]) -> None:
        self._shape = shape
        self._make_parts = make_parts
        self._actors: dict[str, Any] = {}
        self._busy: Counter[str] = Counter()

    @property
    def slots(self) -> int:
        return self._shape.slots

    def ensure(self) -> None:
        """Make all of them."""
        for tier, shards in self._shape.shards.items():
            for shard in range(shards):
                self._actor(tier, shard)

    def take(self, scope: Scope) -> Any:
        """The actor that drives this scope, counted as one night busier; None when it is full."""
        name, shard = self._name(scope)
        if self._busy[name] >= self._shape.nights_at_once:
            return None
        actor = self._actor(scope.tier, shard)
        self._busy[name] += 1
        return actor

    def give_back(self, scope: Scope) -> None:
        """A night of this scope ended."""
        self._busy[self._name(scope)[0]] -= 1

    def all(self) -> dict[str, Any]:
        """Every tier actor made or found so far, by name."""
        return dict(self._actors)

    def forget(self) -> None:
        """Drop all handles: the next use finds what lives and makes what is gone."""
        self._actors.clear()

    def end(self) -> None:
        """End every one of them. What was under way resumes from its pins later."""
        self.ensure()  # one that was not used since the watch came back is found by name
        for actor in self._actors.values():
            ray.kill(actor)
        self.forget()

    def _name(self, scope: Scope) -> tuple[str, int]:
        shard = shard_of(scope, self._shape.shards[scope.tier])
        return _actor_name(scope.tier, shard), shard

    def _actor(self, tier: Tier, shard: int) -> Any:
        name, shape = _actor_name(tier, shard), self._shape
        if name not in self._actors:
            self._actors[name] = (
                answering(TierActor, 1)
                .options(
                    name=name,
                    namespace=shape.namespace,
                    lifetime="detached",
                    get_if_exists=True,
                    max_restarts=-1,
                    max_concurrency=shape.nights_at_once,
                    max_pending_calls=shape.max_pending_calls,
                    num_cpus=0,
                    **shape.placement,
                )
                .remote(tier, shard, shape.namespace, self._make_parts, shape.memory_bytes)
            )
        return self._actors[name]


def _actor_name(tier: Tier, shard: int) -> str:
    return f"tier-{tier.label}-{shard}"
