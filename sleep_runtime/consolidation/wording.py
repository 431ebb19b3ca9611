"""Wording: which of several ways to say a lesson an agent can act on best.

Rules of plain English, of no domain. Where none applies, as in another language, all wordings rank
the same and what else speaks for one of them decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sleep_runtime.consolidation.affinity.weights import weighted
from sleep_runtime.consolidation.words import mentions, stem, stems, words
from sleep_runtime.core.observation import Claim

_CLAUSE = re.compile("[.,;:!?()\n]+|\\s[-\u2013\u2014]+\\s")
_OPENER_WORDS = "please always never just also so and then but kindly do not only"
_FINITE_WORDS = "is are must should shall has have needs need can cannot will"
_DETERMINERS = "a an the this that these those my our your their of in on for with"
_VERB_WORDS = """
add answer apply ask assume attach avoid base begin break build call change check choose cite
collect commit compare confirm convert copy create cut delete deploy describe do drop ensure exclude
explain export fetch fill fix flag follow format generate get give go group hide highlight ignore
import include install keep label leave let limit link list load log look make mark match mention
merge move name note omit open order pass pick pin place plot point prefer present print pull push
put quote read rebase refer remove rename render repeat replace report return reuse review round run
save say schedule search send separate set show skip sort speak split spell start state stay stick
stop store summarise summarize switch take tell test treat trim try turn update upload use validate
verify wait work wrap write
"""
_OPENERS = frozenset(_OPENER_WORDS.split())
_FINITE = frozenset(_FINITE_WORDS.split())
_BEFORE_NOUN = frozenset(_DETERMINERS.split())
_VERBS = frozenset(_VERB_WORDS.split())
_PERSONS = frozenset(("i", "we", "you", "they"))
_BEFORE_VERB = frozenset(("always", "never", "not", "to", "please", "only"))


_PLAIN_LENGTH = 16
_PER_WORD = 0.02
_SUBJECT = 0.6
_LONGEST = 40
_LONGEST_CHARS = 380


class Wordings:
    """The wordings of one lesson, and which of them says it best.

    What many of them hold is the lesson. What an agent's act also held, which was then corrected,
    is its subject: an answer without a subject can't be acted on.
    """

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._count = len(claims)
        self._said = {id(claim): _carrying(claim) for claim in claims}
        self._held = Counter(root for roots in self._said.values() for root in roots)
        self._causes = Counter(root for c in claims for root in weighted(c.corrects))
        self._words = {stem(word): word for c in reversed(claims) for word in words(c.statement)}

    def score(self, claim: Claim) -> float:
        """How much of the lesson a wording holds; longer ones have to hold more."""
        others = max(self._count - 1, 1)
        shared = asked = 0.0
        for root, weight in _carrying(claim).items():
            shared += weight * min(1.0, max(self._held[root] - 1, 0) / others)
            asked += weight * min(1.0, self._causes[root] / 2)
        length = max(0, len(words(claim.statement)) - _PLAIN_LENGTH)
        return shared + _SUBJECT * asked - _PER_WORD * length

    def label(self, claim: Claim) -> str:
        """A word for the subject, where a wording names none and another does; else ""."""
        said = _carrying(claim)
        if not self._causes or any(self._causes[root] for root in said):
            return ""
        there = stems(claim.statement) | stems(" ".join(claim.about.values()))
        found = [root for root in self._held if self._causes[root] and root not in there]
        best = max(found, key=lambda r: (self._held[r] + self._causes[r], r), default="")
        return self._words.get(best, "")

    def complete(self, claim: Claim) -> Claim:
        """The claim led by the word for its subject, if it lacks one and stays short enough."""
        label = self.label(claim)
        statement = f"{label}: {claim.statement}"
        if not label or len(words(statement)) > _LONGEST or len(statement) > _LONGEST_CHARS:
            return claim
        return claim.model_copy(update={"statement": statement, "subject": claim.subject or label})


def _carrying(claim: Claim) -> dict[str, float]:
    facets = stems(" ".join(claim.about.values()))
    found = weighted(claim.statement)
    return {root: weight for root, weight in found.items() if root not in facets}


class Rank(NamedTuple):
    """How clear a wording is: the smaller, the better."""

    unsure: bool
    """Nobody said it with standing intent."""
    fragment: bool
    """It says what, and not what to do or what is so."""
    incomplete: bool
    """Its subject or value is not in its words."""


def rank(claim: Claim, *, standing: bool) -> Rank:
    """The rank of a claim's words; ``standing``: a person said them with standing intent."""
    return Rank(not standing, not directive(claim.statement), not complete(claim))


def directive(statement: str) -> bool:
    """True when a clause tells to do something, or that something is so: it has a verb."""
    return any(_has_verb(words(clause)) for clause in _CLAUSE.split(statement))


def complete(claim: Claim) -> bool:
    """True when subject and value are both given, and both said in the statement."""
    return all(part and mentions(claim.statement, part) for part in (claim.subject, claim.value))


def _has_verb(said: Sequence[str]) -> bool:
    if not _FINITE.isdisjoint(said) or not _PERSONS.isdisjoint(said[:-1]):
        return True
    begins = next((word for word in said if word not in _OPENERS), "")
    return begins in _VERBS or any(_is_verb(before, word) for before, word in pairwise(said))


def _is_verb(before: str, word: str) -> bool:
    if word in _VERBS:
        return before in _BEFORE_VERB
    return before not in _BEFORE_NOUN and _base(word) in _VERBS


def _base(word: str) -> str:
    """The verb of a third person: ``shows`` -> show."""
    return word.removesuffix("s") if word.endswith("s") else ""
