"""Near-duplicates: which notes say so nearly the same that one of them is enough.

Strict on purpose. The words of one must stand in the other in the same order, with few words more
and none that turns the meaning, under the same condition and standing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sleep_runtime.core.note import Note
from sleep_runtime.present.visible import canonical

FOLD_SHARE = 0.75
_FRAME = frozenset(
    (
        *("a", "an", "and", "are", "be", "for", "in", "is", "it", "its", "of", "on", "or"),
        *("please", "that", "the", "this", "to", "we"),
    )
)
# A word that turns a sentence round or bounds it. Sentences that differ in one never fold.
_TURNING = frozenset(
    (
        *("not", "no", "never", "dont", "don", "t", "cannot", "without", "avoid", "stop"),
        *("except", "unless", "only", "instead", "but", "rather"),
        *("nicht", "kein", "keine", "nie", "ohne", "pas", "jamais", "sans", "nunca", "sin"),
    )
)


class Wording(NamedTuple):
    """A note's words as they are compared, made once."""

    words: tuple[str, ...]
    distinct: frozenset[str]
    standing: tuple[str, str, tuple[tuple[str, str], ...]]


def wording(note: Note) -> Wording:
    """What is compared of a note. Pure; a few microseconds."""
    claim = note.claim
    said = tuple(w for w in canonical(claim.statement).split() if w not in _FRAME)
    about = tuple(sorted([(canonical(k), canonical(v)) for k, v in claim.about.items()]))
    standing = (note.status.value, canonical(claim.applies_when), about)
    return Wording(said, frozenset(said), standing)


def says_the_same(one: Wording, other: Wording) -> bool:
    """True when it is safe to show only one of the two."""
    short, long = (one, other) if len(one.words) <= len(other.words) else (other, one)
    if not short.words or len(short.words) < FOLD_SHARE * len(long.words):
        return False
    if not short.distinct <= long.distinct or one.standing != other.standing:
        return False
    if _TURNING & (long.distinct - short.distinct):
        return False
    rest = iter(long.words)
    return all(word in rest for word in short.words)


def folds_into(said: Wording, kept: Sequence[Wording]) -> int | None:
    """The place of the first kept one that says the same; None when none does."""
    mine = said.distinct
    for place, other in enumerate(kept):
        # Nearly all differ in a word, and that is told fastest.
        if (mine <= other.distinct or other.distinct <= mine) and says_the_same(said, other):
            return place
    return None
