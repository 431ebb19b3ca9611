"""Canaries: words that stand nowhere else, each with the scope it may be seen from."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from sleep_runtime.core.access import Rights
from sleep_runtime.core.scope import Scope

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


class Canary(NamedTuple):
    """``lesson``: a reader below its scope may see it too, as the words of a note in force there.

    ``what`` says where it was planted; ``said`` tells words from names and ids, which an operator's
    log may hold.
    """

    token: str
    owner: Scope
    what: str
    lesson: bool = False
    said: bool = False

    def seen_by(self, rights: Rights) -> bool:
        return rights.covers(self.owner) or (self.lesson and rights.shows(self.owner))


class Aviary:
    """Makes canaries, and finds those that flew somewhere they may not be."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.all: dict[str, Canary] = {}

    def word(self) -> str:
        """A word nobody says, that reads like one: redaction leaves it alone."""
        while (found := "zq" + "".join(self._random.choices(_SYLLABLES, k=5))) in self.all:
            pass
        return found

    def plant(self, owner: Scope, what: str, *, lesson: bool = False) -> str:
        token = self.word()
        self.all[token] = Canary(token, owner, what, lesson=lesson, said=True)
        return token

    def mark(self, token: str, owner: Scope, what: str, *, lesson: bool = False) -> None:
        """A name or an id that is one already."""
        self.all[token] = Canary(token, owner, what, lesson=lesson)

    def foreign(self, rights: Rights) -> list[Canary]:
        return [one for one in self.all.values() if not one.seen_by(rights)]
