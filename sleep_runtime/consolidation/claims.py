"""Which engines of the idle pool live work is waiting for.

Ray has no priorities and no preemption: work that fits nowhere waits, whoever holds what it
needs. So the pool looks for itself: an ask that would fit on a node if engines there were gone
claims those engines, as few as will do. An ask that fits somewhere already, or that the pool
could not help, claims none; a gang claims for all of it or for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sleep_runtime.core.pool import Ask, EnginePhase, EngineView, NodeView, Resources

MAX_ASKS = 256
"""Asks of one shape, and of one gang, that one look finds room for; the next look goes on."""

_NEAR = 1e-6
_YIELDS_FIRST = {
    EnginePhase.DEAD: 0,
    EnginePhase.PAUSED: 1,
    EnginePhase.CLOSED: 2,
    EnginePhase.STARTING: 3,
    EnginePhase.OPEN: 4,
}


def claimed(
    asks: Sequence[Ask],
    nodes: Sequence[NodeView],
    engines: Sequence[EngineView],
    bundle: Resources,
) -> dict[int, str]:
    """The engines (by index) that stand in the way of live work, each with the reason.

    The answer depends on no order of the arguments.
    """
    rooms = _Rooms.of(nodes, engines, bundle)
    for gang in _gangs(asks):
        attempt = rooms.copy() if len(gang) > 1 else rooms
        if all(attempt.place(ask) for ask in gang):
            rooms = attempt
    for ask in _shapes([ask for ask in asks if not ask.gang]):
        for _ in range(min(ask.count, MAX_ASKS)):
            if not rooms.place(ask):
                break  # an equal one would fare no better
    return dict(sorted(rooms.claims.items()))


def contested(asks: Sequence[Ask], nodes: Sequence[NodeView], bundle: Resources) -> str:
    """Why live work would at once claim a new engine that took free room; empty if it would not."""
    for node in sorted(nodes, key=lambda node: node.id):
        if node.draining or not fits(bundle, node.free):
            continue
        less = {name: free - bundle.get(name, 0.0) for name, free in node.free.items()}
        after = [replace(each, free=less) if each is node else each for each in nodes]
        engine = EngineView(0, EnginePhase.STARTING, 0.0, node.id)
        found = claimed(asks, after, (engine,), bundle)
        if found:
            return found[0]
    return ""


def fits(asked: Resources, free: Resources) -> bool:
    """Whether ``free`` covers ``asked``."""
    return all(free.get(name, 0.0) + _NEAR >= amount for name, amount in asked.items())


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Ray's label selectors: ``value``, ``!value``, ``in(a,b)`` and ``!in(a,b)``, all of them."""
    return all(_matches(wanted, labels.get(key)) for key, wanted in selector.items())


def said(resources: Resources) -> str:
    """Resources in words: ``GPU 1, CPU 2``."""
    return ", ".join(f"{name} {amount:g}" for name, amount in sorted(resources.items())) or "room"


def _matches(wanted: str, found: str | None) -> bool:
    if wanted.startswith("!"):
        return not _matches(wanted[1:], found)
    if wanted.startswith("in(") and wanted.endswith(")"):
        return found in [one.strip() for one in wanted[3:-1].split(",")]
    return found == wanted


def _size(ask: Ask) -> tuple[object, ...]:
    shape = (sorted(ask.resources.items()), sorted(ask.labels.items()))
    return (-sum(ask.resources.values()), -len(ask.labels), *shape, ask.count)


def _shapes(asks: Sequence[Ask]) -> list[Ask]:
    """The largest first, of one size the choosiest: what fits then depends on no order."""
    return sorted(asks, key=_size)


def _gangs(asks: Sequence[Ask]) -> list[list[Ask]]:
    """The asks of each gang one by one, the largest first; those too many to place left out."""
    gangs: dict[str, list[Ask]] = {}
    for ask in _shapes([ask for ask in asks if ask.gang]):
        gangs.setdefault(ask.gang, []).extend([ask] * min(ask.count, MAX_ASKS + 1))
    return [gang for _, gang in sorted(gangs.items()) if len(gang) <= MAX_ASKS]


@dataclass
class _Rooms:
    """What is free on each node, and which engines hold the rest of it, as asks are placed."""

    nodes: list[NodeView]
    free: dict[str, dict[str, float]]
    held: dict[str, list[EngineView]]
    bundle: Resources
    claims: dict[int, str]

    @classmethod
    def of(
        cls, nodes: Sequence[NodeView], engines: Sequence[EngineView], bundle: Resources
    ) -> _Rooms:
        staying = [node for node in nodes if not node.draining]
        held: dict[str, list[EngineView]] = {node.id: [] for node in staying}
        holding = [engine for engine in engines if engine.holds and engine.node in held]
        for engine in sorted(holding, key=_reluctance):
            held[engine.node].append(engine)
        return cls(staying, {node.id: dict(node.free) for node in staying}, held, bundle, {})

    def copy(self) -> _Rooms:
        free = {node: dict(room) for node, room in self.free.items()}
        held = {node: list(engines) for node, engines in self.held.items()}
        return _Rooms(self.nodes, free, held, self.bundle, dict(self.claims))

    def place(self, ask: Ask) -> bool:
        """Find room for one, claiming the fewest engines of one node that make it."""
        able = [node.id for node in self.nodes if selects(ask.labels, node.labels)]
        needs = {node: count for node in able if (count := self._needs(ask, node)) is not None}
        if not needs:
            return False
        place = min(needs, key=lambda node: (needs[node], self._loss(node, needs[node]), node))
        free = self.free[place]
        for engine in self.held[place][: needs[place]]:
            self.claims[engine.index] = f"live work waits for {said(ask.resources)}"
            _add(free, self.bundle, 1)
        del self.held[place][: needs[place]]
        _add(free, ask.resources, -1)
        return True

    def _needs(self, ask: Ask, node: str) -> int | None:
        """How many engines of the node must go for one to fit; None if it never does."""
        room = dict(self.free[node])
        for count in range(len(self.held[node]) + 1):
            if fits(ask.resources, room):
                return count
            _add(room, self.bundle, 1)
        return None

    def _loss(self, node: str, count: int) -> list[tuple[int, int, int]]:
        return [_reluctance(engine) for engine in self.held[node][:count]]


def _reluctance(engine: EngineView) -> tuple[int, int, int]:
    """What yields first: the dead and the shut, then what loads, then what has least to do."""
    return (_YIELDS_FIRST[engine.phase], engine.in_flight, engine.index)


def _add(room: dict[str, float], resources: Resources, times: int) -> None:
    for name, amount in resources.items():
        room[name] = room.get(name, 0.0) + times * amount
