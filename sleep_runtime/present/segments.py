"""Segments: the active notes of one scope, made ready once and shared by all who see that scope.

A reader's view is put together for each query from the segments of its lineage, at most three: it
costs a set intersection, while a segment costs reading and indexing every note of a scope. So a
night of one scope makes one segment anew, whoever reads it, and nobody else notices.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.note import Note
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.ranking import Floats, Table, Weights, idf
from sleep_runtime.present.vectors import Rows
from sleep_runtime.present.visible import slot


class Segment:
    """All active notes of one scope at one version of it. Immutable: shared by threads.

    ``size`` counts them; one made by ``too_large`` knows that they are too many and holds none.
    ``whole`` is False while some still wait for their vectors. ``slots`` are the questions that
    its notes answer.
    """

    def __init__(self, scope: Scope, version: int, notes: Sequence[Note], rows: Rows) -> None:
        self.scope = scope
        self.version = version
        self.size = len(notes)
        self.table = Table(notes, rows.matrix)
        self.whole = rows.lacking == 0
        # By the slot's text, which unlike a tuple remembers its hash and is quick to compare.
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, note in enumerate(notes):
            if (key := slot(note)) is not None:
                self._places[repr(key)].append(place)
        self.slots = frozenset(self._places)

    @classmethod
    def empty(cls, scope: Scope, version: int = 0) -> Segment:
        return cls(scope, version, (), Rows(np.zeros((0, 0), dtype=np.float32), 0))

    @classmethod
    def too_large(cls, scope: Scope, version: int, *, size: int) -> Segment:
        """A segment that only remembers that the scope has at least ``size`` notes."""
        made = cls.empty(scope, version)
        made.size = size
        return made

    def shown(self, nearer: Sequence[Segment]) -> npt.NDArray[np.bool_]:
        """Which notes no note of a nearer scope hides by answering the same slot."""
        hidden = [
            place
            for other in nearer
            for key in self.slots & other.slots
            for place in self._places[key]
        ]
        mask = np.ones(len(self.table.notes), dtype=np.bool_)
        mask[np.array(hidden, dtype=np.intp)] = False
        return mask


class View:
    """What one reader sees of some segments, given nearest first. Made for one query.

    Is ``Weights`` too: a word counts in the notes that are shown.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)
        self._tables = [segment.table for segment in segments]
        self._masks = [each.shown(segments[:place]) for place, each in enumerate(segments)]
        self._documents = sum(int(np.count_nonzero(mask)) for mask in self._masks)

    @property
    def notes(self) -> Sequence[Note]:
        return list(chain.from_iterable(table.notes for table in self._tables))

    @property
    def confidences(self) -> npt.NDArray[np.float64]:
        """One number a note, minus infinity for those that are hidden."""
        return self._only_shown([table.confidences for table in self._tables])

    def weight(self, word: str) -> float:
        having = (
            np.count_nonzero(mask[table.places(word)])
            for table, mask in zip(self._tables, self._masks, strict=True)
        )
        return idf(self._documents, int(sum(having)))

    def score(self, query: str, vector: Floats, weights: Weights) -> npt.NDArray[np.float64]:
        """One score a note, minus infinity for those that are hidden."""
        return self._only_shown([table.score(query, vector, weights) for table in self._tables])

    def _only_shown(self, values: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        if not values:
            return np.zeros(0)
        return np.where(np.concatenate(self._masks), np.concatenate(values), -np.inf)


class SegmentCache:
    """The segments that were used last: at most so many, holding at most so many notes together.

    The newest is kept even if it alone is over the bound. Thread-safe.
    """

    def __init__(self, *, max_segments: int, max_notes: int) -> None:
        self._max_segments = max_segments
        self._max_notes = max_notes
        self._kept: OrderedDict[Scope, Segment] = OrderedDict()
        self._notes = 0
        self._lock = threading.Lock()

    def get(self, scope: Scope, version: int) -> Segment | None:
        """The scope's segment if it is whole and at this version or a later one."""
        with self._lock:
            segment = self._kept.get(scope)
            if segment is None or segment.version < version or not segment.whole:
                return None
            self._kept.move_to_end(scope)
            return segment

    def put(self, segment: Segment) -> None:
        with self._lock:
            self._take_out(segment.scope)
            self._kept[segment.scope] = segment
            self._notes += len(segment.table.notes)
            while len(self._kept) > 1 and self._over():
                self._take_out(next(iter(self._kept)))

    def _over(self) -> bool:
        return len(self._kept) > self._max_segments or self._notes > self._max_notes

    def _take_out(self, scope: Scope) -> None:
        if (old := self._kept.pop(scope, None)) is not None:
            self._notes -= len(old.table.notes)
