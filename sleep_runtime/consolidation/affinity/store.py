"""Store: what all claims at hand say about each other's words.

A word that recurs among the claims about one thing belongs to a lesson; one that was said once is
chatter. A word that lives with anything is frame. Words of which one was put right by the other
answer one question differently.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

from sleep_runtime.consolidation.affinity.weights import weighted
from sleep_runtime.consolidation.compare import name_of
from sleep_runtime.consolidation.words import negated, normalise, numbers, stem, words
from sleep_runtime.core.observation import Claim

# Coherence is judged on the first claims of a word: more of them cost and tell no more.
_HOMES = 12
_UNKNOWN_COHERENCE = 0.3

_WORDS = r"([^,.;:!?()\u2013\u2014]{2,60}?)"
_ENDS = (
    r"(?=$|[,.;:!?()\u2013\u2014]|\s(?:and|but|so|for|because|since|to|now|by|with|from now|"
    r"these days|any ?more|any longer)\b)"
)
_REJECTED = re.compile(
    r"(?:\bnot\b|\bno (?:longer|more)\b|\binstead of\b|\bin (?:the )?(?:place|lieu) of\b|"
    r"\brather than\b|\bother than\b|\bforget\b|\bnever\b|\bdon['\u2019]?t\b|\bwithout\b|"
    r"\bdone with\b|\bso long\b|\bscratch\b|\bswap(?:ped|s)?\b|\bout goes\b|\boutgrown\b|"
    r"\b(?:enough|sick|tired) of\b|\bfed up with\b|\bgiven up(?: on)?\b|\bstopped liking\b|"
    r"\bused to(?: be(?: \w+ed)?| have| want| like| go(?: to)?| get| use| take| \w+)?\b|"
    r"\bformerly\b|\b(?:it |this |that |which |before )(?:it )?was\b|(?<=[.] )was\b|"
    r"(?<=[,(] )was\b|(?<=\()was\b|"
    r"\b(?:good)?bye(?: to)?\b|\baway from\b|\bmoved? (?:\w+ )?off\b|"
    r"\bwhere (?:we|they|you) had\b|"
    r"\b(?:ban|bann|bin|binn|drop|dropp|ditch|abandon|replac|retir|scrapp?|emptyi?|stopp?)"
    r"(?:e?d|e?s|ing|e)?\b|"
    r"\bfrom\b(?=[^.;!?]{2,60}?\bto\b))\s+" + _WORDS + _ENDS + r"|" + _WORDS + r"\s+(?:"
    r"(?:is|are|was|were|goes|went|has|have|will be|isn't|aren't)\s+(?:all )?(?:out|gone|history|"
    r"over|dead|off the table|away|retired|dropped|no use|banned|outdated|deleted|"
    r"had (?:its|their) (?:time|day)|a phase|any ?more|not any ?more|wore off)\b|"
    r"(?:no longer|no more|not any ?more|any ?more|before|previously|wore off|stops|ended)"
    r"\s*(?=$|[,.;:!?)]))",
    re.IGNORECASE,
)
_CHANGE = re.compile(
    r"\b(?:now|no longer|anymore|any more|as of|from now|from this|switched|moved|moving|changed?|"
    r"new|instead|history|since|these days|nowadays|from today|update|replaced?|used to|formerly|"
    r"previously|outdated)\b",
    re.IGNORECASE,
)

About = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One claim as its neighbours see it."""

    said: Mapping[str, float]
    """What it asserts: stems with their weights, without facets and without what it rejects."""
    rejected: frozenset[str]
    answered: frozenset[str]
    """The words of what an agent had done before: a correction shares its question with them."""
    order: tuple[str, ...]
    phrases: frozenset[tuple[str, str]]
    numbers: frozenset[str]
    negated: bool
    changes: bool
    about: About


def read(claim: Claim, about: About) -> Reading:
    """The reading of a claim about these facets."""
    return _read(claim.statement, claim.corrects, about)


@lru_cache(maxsize=8_192)
def _read(text: str, corrects: str, about: About) -> Reading:
    facets = {stem(word) for _, value in about for word in words(value)}
    said = {root: value for root, value in weighted(text).items() if root not in facets}
    rejected = {root for part in _REJECTED.findall(text) for root in weighted(" ".join(part))}
    asserted = weighted(_REJECTED.sub(" ", text)).keys()
    rejected = (rejected - asserted) & said.keys()
    roots = [stem(word) for word in words(text)]
    return Reading(
        said={root: value for root, value in said.items() if root not in rejected},
        rejected=frozenset(rejected),
        answered=frozenset(weighted(corrects)),
        order=tuple(roots),
        phrases=frozenset(pairwise(roots)),
        numbers=numbers(_REJECTED.sub(" ", text)),
        negated=negated(text),
        changes=bool(_CHANGE.search(text)),
        about=about,
    )


class Store:
    """The statistics of the claims of one run: tonight's, and those of the notes of its scope."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        by_name = {name_of(claim): claim for claim in claims}
        ordered = [by_name[name] for name in sorted(by_name)]
        self._readings = {name_of(claim): read(claim, _about(claim)) for claim in ordered}
        self._blocks: dict[About, list[Reading]] = defaultdict(list)
        for reading in self._readings.values():
            self._blocks[reading.about].append(reading)
        self._here = {
            about: Counter(root for reading in block for root in reading.said)
            for about, block in self._blocks.items()
        }
        self._everywhere: Counter[str] = Counter()
        for counts in self._here.values():
            self._everywhere.update(counts)
        self._homes = self._found_in()
        self._coherence: dict[str, float] = {}
        self._answers = self._alternates()

    def reading(self, claim: Claim) -> Reading:
        """The claim as it was given, or as it would be read here."""
        return self._readings.get(name_of(claim)) or read(claim, _about(claim))

    def size(self, about: About) -> int:
        """How many claims are about these facets."""
        return len(self._blocks.get(about, ()))

    def here(self, about: About, root: str) -> int:
        """How many claims about these facets hold the word."""
        counts = self._here.get(about)
        return counts[root] if counts else 0

    def holding(self, about: About, roots: frozenset[str]) -> int:
        """How many claims about these facets hold all of the words."""
        return sum(1 for item in self._blocks.get(about, ()) if roots <= item.said.keys())

    def coherence(self, root: str) -> float:
        """How alike the claims are that hold the word, 0..1; low for words of the frame."""
        known = self._coherence.get(root)
        if known is None:
            held = self._homes.get(root, ())
            known = _likeness(root, held) if len(held) > 1 else _UNKNOWN_COHERENCE
            self._coherence[root] = known
        return known

    def alternates(self, one: str, other: str) -> float:
        """How often one of the two was put in the other's place, 0 or more."""
        times = self._answers.get((min(one, other), max(one, other)), 0)
        if not times:
            return 0.0
        common = self._everywhere[one] * self._everywhere[other]
        return times / (math.sqrt(common) + 1.0)

    # ------------------------------------------------------------------------ derived once

    def _found_in(self) -> dict[str, list[Reading]]:
        """The first claims that hold each word."""
        homes: dict[str, list[Reading]] = defaultdict(list)
        for reading in self._readings.values():
            for root in reading.said:
                if len(homes[root]) < _HOMES:
                    homes[root].append(reading)
        return homes

    def _alternates(self) -> Counter[tuple[str, str]]:
        """Recurring words of which one stood in a correction and the other in its cause."""
        found: Counter[tuple[str, str]] = Counter()
        known = self._everywhere
        for reading in self._readings.values():
            wrong = [r for r in reading.answered if r not in reading.said and known[r] > 1]
            right = [r for r in reading.said if r not in reading.answered and known[r] > 1]
            for one in wrong:
                for other in right:
                    found[min(one, other), max(one, other)] += 1
        return found


def _about(claim: Claim) -> About:
    return tuple(sorted((key, normalise(value)) for key, value in claim.about.items()))


def _likeness(root: str, held: Sequence[Reading]) -> float:
    """Mean weighted Jaccard of the claims that hold a word, the word itself left out."""
    total = 0.0
    pairs = 0
    for left, right in combinations(held, 2):
        own = left.said[root]
        common = sum(left.said[key] for key in left.said.keys() & right.said.keys()) - own
        ours, theirs = sum(left.said.values()) - own, sum(right.said.values()) - right.said[root]
        total += common / (ours + theirs - common + 0.5)
        pairs += 1
    return total / pairs
