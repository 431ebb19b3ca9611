"""Names: whether a lesson names somebody, in the forms that the names of scopes give away.

A note of a team or an organisation is read by people who may not see who is behind it. So none
comes into force in words that name one of the people who speak below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sleep_runtime.consolidation.signal import name_of
from sleep_runtime.consolidation.words import is_frame, normalise, words
from sleep_runtime.core.note import Evidence
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.scope import Scope, Tier

NAMES_A_PERSON = "names_a_person"
"""The code of what is withheld for it."""
WHY = "its words name a person, and nobody put it without a name"
_SHORTEST = 2
_SHORTEST_OF_MANY = 3
# Words of every day that people, or accounts, are also called.
_ALSO_TEXT = """
admin agent al amber angel april art august bill bob bot brook buck carol carter chase cliff crystal
daisy dale dawn dean dev don drew duke earl ed faith frank gale gene ginger glen grace grant guy
harmony holly hope hunter iris ivy jack jade jay june king kit lane lily major mark mason max may
melody miles nick norm olive ops page pat pearl penny pierce prince qa ray reed rich river rob robin
rose ruby sage sales skip sky star sue summer support team test user victor violet wade ward will
"""
_ALSO_WORDS = frozenset(_ALSO_TEXT.split())
_NOT_LETTERS = re.compile("[^a-z0-9]+")


class Names:
    """The names of some people, and what tells them.

    Of ``ana.smith@acme.com``: the whole of it, what is before the ``@``, its words together in
    either order, and each by itself. A name that is also an English word (``mark``, ``will``) is
    one only where it is written as a name: with a capital, inside a sentence.
    """

    def __init__(self, handles: Iterable[str] = ()) -> None:
        self._whole: set[str] = set()
        self._phrases: set[str] = set()
        self._words: set[str] = set()
        for handle in handles:
            self._learn(handle.casefold())
        self._common = {w for w in self._words if w in _ALSO_WORDS or is_frame(w)}
        self._rare = self._words - self._common

    def _learn(self, handle: str) -> None:
        local = handle.partition("@")[0]
        parts = [part for part in _NOT_LETTERS.split(local) if part]
        if len(parts) > 1:
            self._whole.add(local)
            self._phrases |= {" ".join(parts), " ".join(reversed(parts))}
        if "@" in handle:
            self._whole.add(handle)
        if all(part.isalpha() for part in parts):
            least = _SHORTEST_OF_MANY if len(parts) > 1 else _SHORTEST
            self._words |= {part for part in parts if len(part) >= least}
        elif len(parts) == 1 and not parts[0].isdigit():
            self._words.add(parts[0])

    def told_by(self, claim: Claim) -> bool:
        """Whether any part of the claim that is shown names one of them."""
        if not (self._words or self._whole):
            return False
        shown = (claim.statement, claim.subject, claim.aspect, claim.value, claim.applies_when)
        return any(map(self._tells, (*shown, *claim.about.values())))

    def _tells(self, text: str) -> bool:
        said = words(text)
        if not self._rare.isdisjoint(said):
            return True
        folded, spaced = text.casefold(), f" {normalise(text)} "
        if any(f" {phrase} " in spaced for phrase in self._phrases):
            return True
        if any(_stands_in(name, folded) for name in self._whole):
            return True
        also_words = self._common.intersection(said)
        return any(re.search(rf"[\w,;:] {word.title()}\b", text) for word in also_words)


def _stands_in(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w.@-]){re.escape(name)}(?![\w@-])", text) is not None


def names_below(scope: Scope, evidence: Iterable[Evidence]) -> Names:
    """Of everybody who said any of this below ``scope``; nobody's at a person's own scope."""
    if scope.tier is Tier.INDIVIDUAL:
        return Names()
    people = {item.scope for item in evidence if item.scope.tier is Tier.INDIVIDUAL}
    return Names(sorted(name_of(person) for person in people))
