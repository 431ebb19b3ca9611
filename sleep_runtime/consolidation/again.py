"""Again: which lessons are looked at once more, because something like them was said tonight.

The first sightings of a lesson are grouped when little is known about their words. What is said
later may show that two of them are one. So what is near to something said tonight, and about the
same things, is grouped anew, together with what is new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sleep_runtime.consolidation.compare import name_of
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ALIVE, Dossier
from sleep_runtime.core.observation import Claim, Durability, Observation

About = tuple[tuple[str, str], ...]


def again(
    observations: Iterable[Observation], dossiers: Iterable[Dossier], near: Collection[str]
) -> list[Observation]:
    """What was said before about what tonight's observations are about, in the order of seq.

    Only of notes in force or waiting that are ``near`` (the names of their claims) to something
    said tonight, and of those that are not so well known that one more wording can't change what
    they are. Their facets are those of the note.
    """
    known = [item for item in dossiers if item.note.status in ALIVE]
    touched = {_about(item.claim) for item in observations if _teaches(item)}
    tonight = {item.id for item in observations}
    found = {
        item.id: _placed(item, dossier.note.claim)
        for dossier in known
        if name_of(dossier.note.claim) in near and _about(dossier.note.claim) in touched
        for item in dossier.said
        if item.id not in tonight
    }
    return sorted(found.values(), key=lambda item: item.seq)


def _teaches(item: Observation) -> bool:
    passing = item.durability is Durability.ONE_OFF or bool(item.feedback_on)
    return not passing and item.trust is not Trust.UNTRUSTED


def _about(claim: Claim) -> About:
    return tuple(sorted(claim.about.items()))


def _placed(item: Observation, note: Claim) -> Observation:
    if item.claim.about == note.about:
        return item
    return item.model_copy(update={"claim": item.claim.model_copy(update={"about": note.about})})
