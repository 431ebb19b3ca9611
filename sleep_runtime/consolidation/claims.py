"""Which engines of the idle pool live work is waiting for.

Ray has no priorities and no preemption: work that fits nowhere waits, whoever holds what it
needs. So the pool looks for itself: an ask that would fit on a node if engines there were gone
claims those engines, as few as will do. An ask that fits somewhere already, or that the pool
could not help, claims none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sleep_runtime.core.pool import Ask, EngineView, NodeView, Resources

MAX_ASKS = 256
_NEAR = 1e-6


def claimed(
    asks: Sequence[Ask],
    nodes: Sequence[NodeView],
    engines: Sequence[EngineView],
    bundle: Resources,
) -> dict[int, str]:
    """The engines (by index) that stand in the way of live work, each with the reason."""
    free = {node.id: dict(node.free) for node in nodes if not node.draining}
    held: dict[str, list[EngineView]] = {node.id: [] for node in nodes if not node.draining}
    for engine in engines:
        if engine.holds and engine.node in held:
            held[engine.node].append(engine)
    found: dict[int, str] = {}
    for ask in _each(asks):
        place = _with_room(ask, nodes, free)
        if place is None:
            place = _make_room(ask, nodes, free, held, bundle, found)
        if place is not None:
            _take(free[place], ask.resources)
    return found


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


def _each(asks: Sequence[Ask]) -> list[Ask]:
    """One by one, the largest first: what fits where then depends on no order of arrival."""
    each = [ask for ask in asks for _ in range(min(ask.count, MAX_ASKS))]
    each.sort(key=lambda ask: (-sum(ask.resources.values()), sorted(ask.resources.items())))
    return each[:MAX_ASKS]


def _with_room(ask: Ask, nodes: Sequence[NodeView], free: Mapping[str, Resources]) -> str | None:
    return next(
        (
            node.id
            for node in nodes
            if node.id in free and selects(ask.labels, node.labels)
            if fits(ask.resources, free[node.id])
        ),
        None,
    )


def _make_room(
    ask: Ask,
    nodes: Sequence[NodeView],
    free: dict[str, dict[str, float]],
    held: dict[str, list[EngineView]],
    bundle: Resources,
    found: dict[int, str],
) -> str | None:
    """Claim the fewest engines of one node that make the ask fit there. Returns the node."""
    best: tuple[int, str] | None = None
    for node in nodes:
        if node.id not in free or not selects(ask.labels, node.labels):
            continue
        for count in range(1, len(held[node.id]) + 1):
            room = {name: free[node.id].get(name, 0.0) for name in ask.resources}
            for name in room:
                room[name] += count * bundle.get(name, 0.0)
            if fits(ask.resources, room):
                if best is None or count < best[0]:
                    best = (count, node.id)
                break
    if best is None:
        return None
    count, place = best
    for engine in held[place][:count]:
        found[engine.index] = f"live work waits for {said(ask.resources)}"
        for name, amount in bundle.items():
            free[place][name] = free[place].get(name, 0.0) + amount
    del held[place][:count]
    return place


def _take(free: dict[str, float], resources: Resources) -> None:
    for name, amount in resources.items():
        free[name] = free.get(name, 0.0) - amount
