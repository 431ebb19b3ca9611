"""Departed: people who left. What they said speaks for nothing any more, wherever they said it.

Their words stay in the ledger, so that a name that was listed by mistake can be taken off again:
what is decided rests on the evidence without them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sleep_runtime.consolidation.signal import name_of
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.scope import Scope, Tier

Who = tuple[str, str]
"""An organisation and a person's name in it: who changed teams is still the same person."""


def listed(people: Iterable[Scope]) -> frozenset[Who]:
    """Whom the scopes of people name."""
    return frozenset((person.parts[0], name_of(person)) for person in people)


def dossiers(found: Iterable[Dossier], gone: Collection[Who]) -> list[Dossier]:
    """The notes without what speaks for or against them by the word of somebody who left."""
    if not gone:
        return list(found)
    return [
        one.model_copy(
            update={
                "evidence": tuple(e for e in one.evidence if not _left(e.scope, e.person, gone)),
                "said": tuple(o for o in one.said if not _left(o.scope, o.person, gone)),
            }
        )
        for one in found
    ]


def observations(found: Iterable[Observation], gone: Collection[Who]) -> list[Observation]:
    """What was observed, without what somebody said who left."""
    return [item for item in found if not (gone and _left(item.scope, item.person, gone))]


def _left(scope: Scope, person: str, gone: Collection[Who]) -> bool:
    """What agents noted in a person's own scope is theirs too: it was noted in their sessions."""
    org = scope.parts[0]
    own = scope.tier is Tier.INDIVIDUAL and (org, name_of(scope)) in gone
    return own or (org, name_of(person)) in gone
