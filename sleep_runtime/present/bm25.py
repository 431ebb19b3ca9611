"""BM25 over segments that are indexed apart and scored together.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the
weight of a word that Lucene uses, ``log(1 + (N - df + 0.5) / (df + 0.5))``. What depends on the
whole is left to the query: each reader sees other segments together, so how rare a word is, is
counted over what that reader is shown. What depends on one text is computed once, when its segment
is made. For that the length that counts as usual is a constant rather than an average: texts of two
segments could not be compared otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

K1 = 1.2
B = 0.75
USUAL_WORDS = 16.0

_WORD = re.compile(r"\w+")
# Words that stand in questions and rules alike and tell nothing apart. In a scope of ten notes
# statistics cannot know that.
_STOP_WORDS = """
a an and are as at be been but by can do does for from had has have how i if in into is it its me my
of on or our please shall should so than that the their them then there these they this to us use
using was we were what when where which who why will with would you your
"""
_STOP = frozenset(_STOP_WORDS.split())

Places = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def words(text: str) -> list[str]:
    """The words of a text in order, case folded."""
    return _WORD.findall(text.casefold())


def keys(text: str) -> list[int]:
    """The words of a text that are looked up, as 64-bit numbers: good within one process only."""
    return [key for word in words(text) if (key := _key(word))]


@lru_cache(maxsize=1 << 15)
def _key(word: str) -> int:
    """The number a word is looked up by; 0 for one that is not."""
    return 0 if word in _STOP else hash(stem(word))


def stem(word: str) -> str:
    """A word without the common endings of English: *dates*, *dated* and *dating* are *dat*.

    Harman's S-stemmer (1991) and three endings more. Words of other languages lose a letter now
    and then, the same one in a note and in a query.
    """
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        word = f"{word[:-3]}y" if word.endswith("ies") else word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


class Found(NamedTuple):
    """Where the texts that have each asked word begin and end among the postings of a segment."""

    begins: list[int]
    ends: list[int]


class Postings:
    """Which of some texts have which words, and how much each counts there.

    Four flat arrays, some 10 bytes a word of a text. Immutable: shared by threads.
    """

    def __init__(self, texts: Sequence[str], *, usual: float = USUAL_WORDS) -> None:
        split = [keys(text) for text in texts]
        lengths = np.array([len(text) for text in split], dtype=np.int64)
        total = int(lengths.sum())
        found = np.fromiter((key for text in split for key in text), dtype=np.int64, count=total)
        of = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
        order = np.argsort(found, kind="stable")
        found, of = found[order], of[order]
        starts = _changes(found, of)
        counts = np.diff(starts, append=total).astype(np.float32)
        found, self.places = found[starts], of[starts]
        norm = K1 * (1 - B + B * lengths[self.places] / usual)
        self.weights = (counts * (K1 + 1) / (counts + norm)).astype(np.float32)
        begins = _changes(found)
        self.words = found[begins]
        self.bounds = np.append(begins, len(found)).astype(np.int32)

    @property
    def nbytes(self) -> int:
        parts = (self.words, self.bounds, self.places, self.weights)
        return sum(part.nbytes for part in parts)

    def find(self, asked: npt.NDArray[np.int64]) -> Found:
        """Where the asked words are; begin and end are the same where none has the word."""
        if not len(self.words):
            return Found([0] * len(asked), [0] * len(asked))
        at = np.minimum(np.searchsorted(self.words, asked), len(self.words) - 1)
        begins = self.bounds[at]
        ends = np.where(self.words[at] == asked, self.bounds[at + 1], begins)
        return Found(begins.tolist(), ends.tolist())

    def frequencies(self, found: Found, shown: Mask | None) -> list[int]:
        """How many of the texts that are shown (None: all) have each asked word."""
        spans = zip(found.begins, found.ends, strict=True)
        if shown is None:
            return [end - begin for begin, end in spans]
        return [int(np.count_nonzero(shown[self.places[b:e]])) if e > b else 0 for b, e in spans]

    def add(self, found: Found, idf: Sequence[float], into: Scores) -> None:
        """Add to each text what the asked words it has weigh."""
        spans = [
            (slice(begin, end), weight)
            for begin, end, weight in zip(found.begins, found.ends, idf, strict=True)
            if end > begin
        ]
        if not spans:
            return
        # All words at once: one pass over what they have together, not three for each.
        places = np.concatenate([self.places[span] for span, _ in spans])
        weights = np.concatenate([self.weights[span] for span, _ in spans])
        weights *= np.repeat(
            np.array([weight for _, weight in spans], dtype=np.float32),
            [span.stop - span.start for span, _ in spans],
        )
        into += np.bincount(places, weights, minlength=len(into)).astype(np.float32)


def _changes(*columns: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Where a row of sorted columns differs from the one before; the first always does."""
    new = np.zeros(len(columns[0]), dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def idf(texts: int, having: int) -> float:
    """The weight of a word that ``having`` of ``texts`` texts have. Never negative."""
    return math.log1p((texts - having + 0.5) / (having + 0.5))
