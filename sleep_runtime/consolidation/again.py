"""Again: which lessons are looked at once more, because something was said about the same things.

The first sightings of a lesson are grouped when little is known about their words. What is said
later may show that two of them are one. So what was said about the things that are talked about
tonight is grouped anew, together with what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from sleep_runtime.consolidation.compare import name_of
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ALIVE, Dossier
from sleep_runtime.core.observation import Claim, Durability, Observation

MAX_AT_ONCE = 60
"""Notes about one thing that are all looked at again, whatever tonight's words are."""

About = tuple[tuple[str, str], ...]


def crowded(dossiers: Iterable[Dossier]) -> bool:
    """True when so much is known about one thing that only what is near is looked at again."""
    return max(_sizes(dossiers).values(), default=0) > MAX_AT_ONCE


def again(
    observations: Iterable[Observation], dossiers: Iterable[Dossier], near: Collection[str]
) -> list[Observation]:
    """What was said before about what tonight's observations are about, in the order of seq.

    Only of notes in force or waiting, and of those that are not so well known that one more
    wording can't change what they are. Where very much is known about one thing, only of notes
    that are ``near`` (the names of their claims) to something said tonight: it is asked only where
    the scope is ``crowded``. Their facets are those of the note.
    """
    known = [item for item in dossiers if item.note.status in ALIVE]
    sizes = _sizes(known)
    touched = {_about(item.claim) for item in observations if _teaches(item)}
    tonight = {item.id for item in observations}
    found = {
        item.id: _placed(item, dossier.note.claim)
        for dossier in known
        if (about := _about(dossier.note.claim)) in touched
        and (sizes[about] <= MAX_AT_ONCE or name_of(dossier.note.claim) in near)
        for item in dossier.said
        if item.id not in tonight
    }
    return sorted(found.values(), key=lambda item: item.seq)


def _sizes(dossiers: Iterable[Dossier]) -> Counter[About]:
    """How many notes in force or waiting there are about each thing."""
    return Counter(_about(item.note.claim) for item in dossiers if item.note.status in ALIVE)


def _teaches(item: Observation) -> bool:
    passing = item.durability is Durability.ONE_OFF or bool(item.feedback_on)
    return not passing and item.trust is not Trust.UNTRUSTED


def _about(claim: Claim) -> About:
    return tuple(sorted(claim.about.items()))


def _placed(item: Observation, note: Claim) -> Observation:
    if item.claim.about == note.about:
        return item
    return item.model_copy(update={"claim": item.claim.model_copy(update={"about": note.about})})
