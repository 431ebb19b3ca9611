"""Segments: the active notes of one scope, made ready once and shared by all who see that scope.

A reader's view is put together for each query from the segments of its lineage, at most three: it
costs a set intersection, while a segment costs reading and indexing every note of a scope. So a
night of one scope makes one segment anew, whoever reads it, and nobody else notices.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.ports import SegmentRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.bm25 import Mask, Postings, Scores, idf, words
from sleep_runtime.present.visible import slot_of

Floats = npt.NDArray[np.float32]
NO_VECTORS: Floats = np.zeros((0, 0), dtype=np.float32)
UNKNOWN = np.float32(-2.0)
"""The cosine of a note whose cosine nobody computed: below every real one."""
# Python objects of one segment and one note, beside their arrays. Measured, see the benchmark.
_SEGMENT_BYTES = 2600
_NOTE_BYTES = 330


# As many slots are compared faster than looked up.
_QUICK_SLOTS = 32


class Place(NamedTuple):
    """One note of a view: the segment it is in and its place there."""

    segment: Segment
    at: int


class Segment:
    """Notes of one scope, indexed for searching. Immutable: shared by threads.

    ``vectors`` has a row a note, zeros where there is none; no rows at all where the index knows
    them. ``dead`` marks notes that are gone since it was made (None: none). ``era`` counts the
    erasures of the scope before: a note that was erased may come back under the same revision.
    """

    def __init__(
        self,
        scope: Scope,
        rows: Sequence[SegmentRow],
        vectors: Floats = NO_VECTORS,
        *,
        era: int = 0,
    ) -> None:
        self.scope = scope
        self.era = era
        self.vectors = vectors
        self.ids = [row.note_id for row in rows]
        self.revisions = [row.revision for row in rows]
        self.confidences = np.array([row.confidence for row in rows], dtype=np.float64)
        self.since = np.array([row.since_us for row in rows], dtype=np.int64)
        self.postings = Postings([searchable(row) for row in rows])
        self.dead: Mask | None = None
        self._facets = _facets(rows)
        self._slots = _slots(rows)
        self._hidden: WeakKeyDictionary[Segment, list[int]] | None = None

    @property
    def held(self) -> int:
        """How many notes it holds."""
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """About what it takes in memory."""
        arrays = self.vectors.nbytes + self.postings.nbytes + 16 * self.held
        return arrays + _SEGMENT_BYTES + _NOTE_BYTES * self.held

    def cosines(self, vector: Floats, into: Floats) -> None:
        """The cosine of each note, where this segment holds vectors of that length."""
        if self.held and self.vectors.shape == (self.held, len(vector)):
            # Row by row: BLAS would share the product among threads, which on busy cores takes
            # many times as long and adds up in another order each time.
            np.vecdot(self.vectors, vector, out=into)

    def facets(self, asked: frozenset[str], into: Scores) -> bool:
        """Set 1 where the query names, whole, a value the note is about. True if any."""
        named = False
        for word in asked & self._facets.keys():
            for value, places in self._facets[word]:
                if value <= asked:
                    into[places] = 1.0
                    named = True
        return named

    def shown(self, nearer: Sequence[Segment]) -> Mask | None:
        """Which notes no note of a nearer scope hides by answering the same slot; None: all."""
        hidden = [
            place for other in nearer if other.scope != self.scope for place in other.hides(self)
        ]
        if not hidden:
            return None if self.dead is None else ~self.dead
        mask = np.ones(self.held, dtype=np.bool_) if self.dead is None else ~self.dead
        mask[hidden] = False
        return mask

    def hides(self, wider: Segment) -> list[int]:
        """The places of the notes of a wider scope whose slots are answered here."""
        if min(len(self._slots), len(wider._slots)) <= _QUICK_SLOTS:
            return self._hides(wider)
        # Every reader of the team asks the same of team and organisation.
        remembered = self._hidden = self._hidden or WeakKeyDictionary()
        if (known := remembered.get(wider)) is None:
            known = remembered[wider] = self._hides(wider)
        return known

    def _hides(self, wider: Segment) -> list[int]:
        both = self._slots.keys() & wider._slots.keys()
        return [place for key in both if self.answers(key) for place in wider._slots[key]]

    def answers(self, key: int) -> bool:
        """Whether a note that is still there answers this slot."""
        places = self._slots.get(key, [])
        return bool(places) and (self.dead is None or not self.dead[places].all())

    def without(self, places: Sequence[int]) -> Segment:
        """The same notes, those at ``places`` gone. Shares everything else."""
        made = copy(self)
        made._hidden = None  # noqa: SLF001 - another of its kind
        made.dead = np.zeros(self.held, dtype=np.bool_) if self.dead is None else self.dead.copy()
        made.dead[list(places)] = True
        return made


def searchable(row: SegmentRow) -> str:
    """Everything of a note that a query's words are looked up in."""
    about = row.about.values()
    return " ".join([row.statement, row.subject, row.aspect, row.value, row.applies_when, *about])


def _facets(rows: Sequence[SegmentRow]) -> dict[str, list[tuple[frozenset[str], list[int]]]]:
    """The values notes are about, by one of their words, so that a query finds them quickly."""
    places: dict[frozenset[str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for value in row.about.values():
            if named := frozenset(words(value)):
                places[named].append(place)
    by_word: dict[str, list[tuple[frozenset[str], list[int]]]] = defaultdict(list)
    for named, at in places.items():
        by_word[max(named, key=lambda word: (len(word), word))].append((named, at))
    return dict(by_word)


def _slots(rows: Sequence[SegmentRow]) -> dict[int, list[int]]:
    """The questions that the notes answer, as hashes: good within one process only."""
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        if row.subject and row.aspect:
            key = slot_of(row.subject, row.aspect, row.applies_when, row.about)
            if key is not None:
                places.setdefault(hash(key), []).append(place)
    return places


class View:
    """What one reader sees of some segments, given nearest first. Made for one query.

    Without ``hiding`` a note is shown though a nearer one answers its question. Arrays have a
    number a note, in the order of the segments.
    """

    def __init__(self, segments: Sequence[Segment], *, hiding: bool = True) -> None:
        self.segments = [segment for segment in segments if segment.held]
        self._masks = [
            each.shown(self.segments[:at] if hiding else ())
            for at, each in enumerate(self.segments)
        ]
        self._begins = [0]
        for segment in self.segments:
            self._begins.append(self._begins[-1] + segment.held)
        self.size = self._begins[-1]
        hidden = [np.count_nonzero(~mask) for mask in self._masks if mask is not None]
        self.count = self.size - int(sum(hidden))

    def hidden(self) -> Mask | None:
        """Which notes are not shown; None when all are."""
        if self.count == self.size:
            return None
        made = np.zeros(self.size, dtype=np.bool_)
        for begin, mask in zip(self._begins, self._masks, strict=False):
            if mask is not None:
                made[begin : begin + len(mask)] = ~mask
        return made

    def cosines(self, vector: Floats) -> Floats:
        """The cosine of each note, ``UNKNOWN`` in segments that hold no vectors."""
        made = np.full(self.size, UNKNOWN, dtype=np.float32)
        for segment, part in self._parts(made):
            segment.cosines(vector, part)
        made[np.isnan(made)] = UNKNOWN
        return made

    def lexical(self, asked: Sequence[int]) -> Scores:
        """The BM25 score of each note. A word is as rare as it is among the notes shown."""
        made = np.zeros(self.size, dtype=np.float32)
        if not asked:
            return made
        distinct = np.array(sorted(set(asked)), dtype=np.int64)
        found = [segment.postings.find(distinct) for segment in self.segments]
        having = [
            segment.postings.frequencies(at, mask)
            for segment, at, mask in zip(self.segments, found, self._masks, strict=True)
        ]
        weights = [idf(self.count, sum(counts)) for counts in zip(*having, strict=True)]
        for (segment, part), at in zip(self._parts(made), found, strict=True):
            segment.postings.add(at, weights, part)
        return made

    def facets(self, asked: frozenset[str]) -> Scores | None:
        """1 for each note about something that is asked about; None when none is."""
        made = np.zeros(self.size, dtype=np.float32)
        named = [segment.facets(asked, part) for segment, part in self._parts(made)]
        return made if any(named) else None

    def confidences(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        return np.concatenate([segment.confidences for segment in self.segments])[places]

    def since(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        return np.concatenate([segment.since for segment in self.segments])[places]

    def order(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Where each place comes by nearness and id, whether or not its scope is in two parts."""
        if len({segment.scope for segment in self.segments}) == len(self.segments):
            return places
        parts = {scope: n for n, scope in enumerate(dict.fromkeys(s.scope for s in self.segments))}
        names = [self.place(at) for at in places.tolist()]
        keys = [(parts[one.scope], one.ids[at]) for one, at in names]
        made = np.empty(len(places), dtype=np.intp)
        made[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(places))
        return made

    def begin(self, segment: Segment) -> int:
        """Where the notes of a segment begin."""
        return self._begins[self.segments.index(segment)]

    def place(self, at: int) -> Place:
        """The note at a place of the view."""
        number = bisect_right(self._begins, at) - 1
        return Place(self.segments[number], at - self._begins[number])

    def _parts(self, whole: Floats) -> list[tuple[Segment, Floats]]:
        return [
            (segment, whole[begin : begin + segment.held])
            for segment, begin in zip(self.segments, self._begins, strict=False)
        ]
