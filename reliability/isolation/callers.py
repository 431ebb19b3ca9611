"""Callers: one of every role at every kind of place, and those between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reliability.isolation.world import World
from sleep_runtime.core.access import ROOT, AccessRole, Caller, Grant
from sleep_runtime.core.errors import Unauthenticated
from sleep_runtime.core.scope import Scope, Tier

HEADER = b"x-caller"


def callers(world: World) -> Iterator[Caller]:
    """Every role at an organisation, a team, a person, everywhere; two places; nowhere."""
    person = world.of_tier(Tier.INDIVIDUAL)[0]
    stranger = world.of_tier(Tier.INDIVIDUAL)[-1]
    for role in AccessRole:
        for scope in (*person.lineage(), None):
            yield _caller(f"{role}-at-{scope or 'everywhere'}", (role, scope))
    yield _caller("stranger", (AccessRole.READ, stranger))
    other_team = world.of_tier(Tier.TEAM)[1]
    yield _caller("two", (AccessRole.READ, other_team), (AccessRole.CURATE, person))
    yield _caller("split", (AccessRole.CAPTURE, person), (AccessRole.READ, other_team))
    yield Caller(name="nobody", grants=())
    yield ROOT.model_copy(update={"name": "root"})


def _caller(name: str, *granted: tuple[AccessRole, Scope | None]) -> Caller:
    return Caller(
        name=name,
        grants=tuple(Grant(scope=scope, roles=frozenset({role})) for role, scope in granted),
    )


class Registry:
    """Who asks, by a header: what the walk puts in the place of keys."""

    def __init__(self) -> None:
        self._known: dict[bytes, Caller] = {}

    def header(self, caller: Caller) -> tuple[bytes, bytes]:
        name = caller.name.encode()
        self._known[name] = caller
        return HEADER, name

    def __call__(self, headers: Mapping[bytes, bytes], path: str) -> Caller:
        found = self._known.get(headers.get(HEADER, b""))
        if found is None:
            raise Unauthenticated(f"nobody is known to ask for {path}", field="key")
        return found
