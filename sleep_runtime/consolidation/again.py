"""Again: which lessons are looked at once more, because something was said about the same things.

The first sightings of a lesson are grouped when little is known about their words. What is said
later may show that two of them are one. So what was said about the things that are talked about
tonight is grouped anew, together with what is new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sleep_runtime.consolidation.compare import name_of
from sleep_runtime.core.note import Dossier, NoteStatus
from sleep_runtime.core.observation import Claim, Observation

_GROUPED = (NoteStatus.ACTIVE, NoteStatus.CANDIDATE)
About = tuple[tuple[str, str], ...]


def again(
    observations: Iterable[Observation], dossiers: Iterable[Dossier], near: Collection[str]
) -> list[Observation]:
    """What was said before about what tonight's observations are about, in the order of seq.

    Only of notes in force or waiting that are ``near`` (the names of their claims) to something
    said tonight, and of those that are not so well known that one more wording can't change what
    they are. Their facets are those of the note.
    """
    touched = {_about(item.claim) for item in observations if not item.feedback_on}
    tonight = {item.id for item in observations}
    found = {
        item.id: _placed(item, dossier.note.claim)
        for dossier in dossiers
        if dossier.note.status in _GROUPED
        and name_of(dossier.note.claim) in near
        and _about(dossier.note.claim) in touched
        for item in dossier.said
        if item.id not in tonight
    }
    return sorted(found.values(), key=lambda item: item.seq)


def _about(claim: Claim) -> About:
    return tuple(sorted(claim.about.items()))


def _placed(item: Observation, note: Claim) -> Observation:
    if item.claim.about == note.about:
        return item
    return item.model_copy(update={"claim": item.claim.model_copy(update={"about": note.about})})
