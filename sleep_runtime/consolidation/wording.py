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

from sleep_runtime.consolidation.words import content, mentions, words
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


class Agreed:
    """What the wordings of one lesson agree on: the words that at least half of them hold."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        held = Counter(root for claim in claims for root in content(claim.statement))
        least = max(2, (len(claims) + 1) // 2)
        self._roots = {root for root, times in held.items() if times >= least}

    def missing(self, claim: Claim) -> float:
        """The share of what is agreed on that a claim does not say, 0..1."""
        if not self._roots:
            return 0.0
        return len(self._roots - content(claim.statement)) / len(self._roots)


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
