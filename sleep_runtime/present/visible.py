"""What a reader sees: notes of its scope and of those above, the nearest answer to a question.

Pure functions. A question is a slot: (about, subject, aspect, applies_when). Two notes that answer
the same slot from different scopes are a rule and its nearer exception; only the nearer is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.scope import Scope

_ALPHANUMERIC = re.compile(r"[^\W_]+")

Slot = tuple[tuple[tuple[str, str], ...], str, str, str]


def canonical(text: str) -> str:
    """Text as it is compared: case, width, punctuation and spacing do not count."""
    if not text:
        return ""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(_ALPHANUMERIC.findall(folded.casefold()))


def slot(note: Note) -> Slot | None:
    """The question a note answers, or None when it does not name one (subject and aspect)."""
    claim = note.claim
    return slot_of(claim.subject, claim.aspect, claim.applies_when, claim.about)


def slot_of(subject: str, aspect: str, applies_when: str, about: Mapping[str, str]) -> Slot | None:
    """``slot`` of a note of which only these fields are at hand."""
    if not (subject and aspect) or not ((of := canonical(subject)) and (on := canonical(aspect))):
        return None
    named = sorted((canonical(name), canonical(value)) for name, value in about.items())
    return tuple(named), of, on, canonical(applies_when)


def visible(
    notes: Iterable[Note],
    scope: Scope,
    *,
    as_of: datetime | None = None,
    include_superseded: bool = False,
) -> list[Note]:
    """The notes a reader at ``scope`` sees, by id.

    ``notes`` may hold more than that: whatever is not of the scope's lineage, not active (or
    superseded, on request) or, with ``as_of``, not true in the world at that instant, is left
    out; of a superseded one that its truth had begun by then is enough, since it has ended by
    its nature. Superseded notes hide nothing and nothing hides them.
    """
    lineage = scope.lineage()
    seen = [n for n in notes if n.scope in lineage and (as_of is None or n.valid_from <= as_of)]
    active = [n for n in seen if n.status is NoteStatus.ACTIVE]
    shown = nearest([n for n in active if as_of is None or not _over(n, as_of)], lineage)
    if include_superseded:
        shown += [n for n in seen if n.status is NoteStatus.SUPERSEDED]
    return sorted(shown, key=lambda note: note.id)


def nearest(notes: Sequence[Note], lineage: Sequence[Scope]) -> list[Note]:
    """The notes without those whose slot is answered at a nearer scope. Keeps their order."""
    rank = {scope: place for place, scope in enumerate(lineage)}
    slots = [slot(note) for note in notes]
    closest: dict[Slot, int] = {}
    for note, key in zip(notes, slots, strict=True):
        if key is not None:
            closest[key] = min(rank[note.scope], closest.get(key, len(lineage)))
    return [
        note
        for note, key in zip(notes, slots, strict=True)
        if key is None or rank[note.scope] == closest[key]
    ]


def _over(note: Note, instant: datetime) -> bool:
    return note.valid_to is not None and note.valid_to <= instant
