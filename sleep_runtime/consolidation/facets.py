"""Facets: what a claim is about, where only its words say so.

A harness names the thing at hand beside most turns, and people name it in some of the others. A
claim that names no facet, and mentions in its words exactly one that the store knows, is about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sleep_runtime.consolidation.words import mentions, normalise
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.observation import Claim, Observation

SHORTEST = 3
"""Letters: a shorter value is too likely to be a word of the language."""

Facet = tuple[str, str]


def resolved(observations: Sequence[Observation], dossiers: Iterable[Dossier]) -> list[Observation]:
    """The observations in the same order, each with the facet that its words name."""
    claims = [item.claim for item in observations]
    known = facets_of([*claims, *(dossier.note.claim for dossier in dossiers)])
    return [_resolved(item, known) for item in observations]


def facets_of(claims: Iterable[Claim]) -> list[Facet]:
    """Every facet that some claim is about."""
    return sorted({facet for claim in claims for facet in claim.about.items()})


def named_in(text: str, known: Sequence[Facet]) -> dict[str, str]:
    """The one facet that a text mentions; nothing where it mentions none, or several."""
    said = normalise(text)
    named = [facet for facet in known if _named(said, facet[1])]
    return dict(named) if len(named) == 1 else {}


def _resolved(item: Observation, known: Sequence[Facet]) -> Observation:
    if item.claim.about or item.feedback_on:
        return item
    named = named_in(item.claim.statement, known)
    if not named:
        return item
    return item.model_copy(update={"claim": item.claim.model_copy(update={"about": named})})


def _named(said: str, value: str) -> bool:
    plain = normalise(value)
    return len(plain) >= SHORTEST and plain in said and mentions(said, plain)
