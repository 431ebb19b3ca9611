"""How well notes answer a query: meaning first, then words, then whom it is about.

Pure and exact: one matrix product over unit vectors, one inverted index over words. The weights
are small beside cosine, so words and facets decide among notes of like meaning.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import ScoredNote
from sleep_runtime.core.scope import Scope

LEXICAL_WEIGHT = 0.15
FACET_WEIGHT = 0.10
# Scores closer than this are a tie: two builds of one model already differ by more.
TIE = 3

_WORD = re.compile(r"\w+")
_NOWHERE = np.empty(0, dtype=np.intp)
Floats = npt.NDArray[np.float32]


def words(text: str) -> frozenset[str]:
    """The distinct words of a text, case folded."""
    return frozenset(_WORD.findall(text.casefold()))


class Weights(Protocol):
    """How much a word tells apart in one set of notes."""

    def weight(self, word: str) -> float: ...


class Lexicon:
    """Weights of the words of some texts, counted once."""

    def __init__(self, texts: Iterable[frozenset[str]]) -> None:
        counted = list(texts)
        self._documents = len(counted)
        self._frequency = Counter(word for text in counted for word in text)

    def weight(self, word: str) -> float:
        return idf(self._documents, self._frequency[word])


def idf(documents: int, frequency: int) -> float:
    """The weight of a word that ``frequency`` of ``documents`` texts have: ``log(1 + n / df)``."""
    return math.log(1 + (documents + 1) / (frequency + 1))


class Table:
    """Some notes made ready for scoring. ``vectors`` has a row a note, zeros where there is none;
    ``places`` says where each word is.

    Immutable after it is made: may be shared by threads.
    """

    def __init__(self, notes: Sequence[Note], vectors: Floats) -> None:
        self.notes = tuple(notes)
        self.vectors = vectors
        self.confidences = np.array([note.confidence for note in notes], dtype=np.float64)
        found: dict[str, list[int]] = defaultdict(list)
        self._facets: dict[frozenset[str], list[int]] = defaultdict(list)
        for place, note in enumerate(notes):
            for word in words(searchable(note)):
                found[word].append(place)
            for value in note.claim.about.values():
                self._facets[words(value)].append(place)
        self._places = {word: np.array(at, dtype=np.intp) for word, at in found.items()}

    def places(self, word: str) -> npt.NDArray[np.intp]:
        """The places of the notes that have the word, ascending."""
        return self._places.get(word, _NOWHERE)

    def score(self, query: str, vector: Floats, lexicon: Weights) -> npt.NDArray[np.float64]:
        """One score a note: cosine, plus the shares of the query's words and facets it has."""
        scores = np.zeros(len(self.notes))
        if vector.shape[0] == self.vectors.shape[1]:
            # Row by row: BLAS would share the product among threads, which on busy cores takes
            # many times as long and adds up in another order each time.
            scores += np.vecdot(self.vectors, vector)
        asked = words(query)
        scores += LEXICAL_WEIGHT * self._overlap(asked, lexicon)
        scores += FACET_WEIGHT * self._facet_matches(asked)
        return np.nan_to_num(scores, nan=-1.0)

    def _overlap(self, asked: frozenset[str], lexicon: Weights) -> npt.NDArray[np.float64]:
        """The idf-weighted share of the query's words that each note has, 0..1."""
        share = np.zeros(len(self.notes))
        weights = {word: lexicon.weight(word) for word in sorted(asked)}
        for word, weight in weights.items():
            share[self.places(word)] += weight
        return share / (sum(weights.values()) or 1.0)

    def _facet_matches(self, asked: frozenset[str]) -> npt.NDArray[np.float64]:
        """1 where the query names, whole, a value the note is about."""
        matches = np.zeros(len(self.notes))
        for value, places in self._facets.items():
            if value and value <= asked:
                matches[places] = 1.0
        return matches


def searchable(note: Note) -> str:
    """Everything of a note that a query's words are looked up in."""
    claim = note.claim
    about = claim.about.values()
    return " ".join(
        [claim.statement, claim.subject, claim.aspect, claim.value, claim.applies_when, *about]
    )


def best(
    notes: Sequence[Note], scores: npt.NDArray[np.float64], *, scope: Scope, k: int
) -> list[ScoredNote]:
    """The k best, in one order for equal input: score, then confidence, nearness and id.

    A score of minus infinity hides a note.
    """
    rank = {each: place for place, each in enumerate(scope.lineage())}
    rounded = np.round(scores, TIE)
    places = np.flatnonzero(rounded > -np.inf)
    if len(places) > k:
        floor = np.partition(rounded[places], len(places) - k)[len(places) - k]
        places = np.flatnonzero(rounded >= floor)
    ordered = sorted(
        places.tolist(),
        key=lambda i: (-rounded[i], -notes[i].confidence, rank[notes[i].scope], notes[i].id),
    )
    return [ScoredNote(note=notes[i], score=float(scores[i])) for i in ordered[:k]]
