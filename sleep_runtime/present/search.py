"""Searcher: which notes answer a query, for one reader. Reads only.

The scopes a reader sees are taken nearest first. As many as fit into ``exact_limit`` notes are
searched exactly, in memory, and held until a night of that scope: that is nearly every reader.
Scopes too large for that are asked of the index, and every hit is looked up in the ledger again.
The index may thus cost recall; what a reader may see, and how it scores, the ledger decides.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import Embedder, Hit, LedgerReader, ScoredNote
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.ranking import Lexicon, Table, Weights, best, searchable, words
from sleep_runtime.present.segments import Segment, SegmentCache, View
from sleep_runtime.present.vectors import EmbedBudget, NoteVectors
from sleep_runtime.present.visible import visible
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

MAX_K = 1000
MAX_QUERY_CHARS = 8000
MAX_VECTORS = 20_000
MAX_NOTES = 30_000  # some 6 kB each, vectors included
OVER_FETCH = 4
PAGE = 1000

log = get_logger(__name__)


class IndexQuery(Protocol):
    """The part of the index that searching needs, wherever its owner runs."""

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]: ...


@dataclass(frozen=True)
class _Question:
    """One request. ``vector`` is empty when the query has no words."""

    scope: Scope
    text: str
    vector: bytes
    k: int

    def rank(self, among: Table | View, weights: Weights, k: int) -> list[ScoredNote]:
        """The ``k`` best that are shown; by confidence when nothing was asked."""
        scores = among.confidences
        if self.vector:
            scores = among.score(self.text, np.frombuffer(self.vector, dtype="<f4"), weights)
        return best(among.notes, scores, scope=self.scope, k=k)


class Searcher:
    """Answers ``search`` from any thread. ``index`` None: large scopes are scanned instead.

    ``exact_limit`` bounds the notes one reader searches in memory, ``max_views`` and ``max_notes``
    the scopes held in memory and their notes together, ``max_embeds`` the statements embedded
    within one request when the ledger has no vector of this embedder's model for them.
    """

    def __init__(
        self,
        reader: LedgerReader,
        index: IndexQuery | None,
        embedder: Embedder,
        *,
        exact_limit: int = 5000,
        max_views: int = 256,
        max_notes: int = MAX_NOTES,
        max_embeds: int = 512,
    ) -> None:
        self._reader = reader
        self._index = index
        self._exact_limit = exact_limit
        self._vectors = NoteVectors(reader, embedder, max_embeds=max_embeds, max_kept=MAX_VECTORS)
        self._segments = SegmentCache(max_segments=max_views, max_notes=max_notes)
        # One build of one segment at a time: a new night must not start a build in every thread.
        self._building = tuple(threading.Lock() for _ in range(16))

    def search(
        self,
        scope: Scope,
        query: str,
        *,
        k: int = 10,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> list[ScoredNote]:
        """The ``k`` visible notes that answer best, best first; the same input, the same order.

        ``as_of``: what was recorded, and true, at that instant. Without it, what is active now.
        Only the first 8,000 characters of a query count; one without words gives the notes of
        highest confidence. An unknown scope sees nothing. Raises ``InvalidInput`` for a ``k``
        outside 1..1000 or an ``as_of`` without a time zone, ``StoreError`` when the ledger
        cannot be read.
        """
        if not 1 <= k <= MAX_K:
            raise InvalidInput(f"is {k}", field="k", mend=f"choose 1 to {MAX_K}")
        if as_of is not None and as_of.tzinfo is None:
            raise InvalidInput("has no time zone", field="as_of", mend="add an offset, e.g. Z")
        asked = self._ask(scope, query, k)
        budget = self._vectors.budget()
        if as_of is not None or include_superseded:
            notes = self._reader.notes(scope.lineage(), as_of=as_of)
            shown = visible(notes, scope, as_of=as_of, include_superseded=include_superseded)
            return self._scan(asked, shown, budget)
        view, large = self._see(scope, budget)
        if large:
            return self._search_large(asked, view, large, budget)
        return asked.rank(view, view, k)

    def _ask(self, scope: Scope, query: str, k: int) -> _Question:
        text = query[:MAX_QUERY_CHARS]
        return _Question(scope, text, self._vectors.query(text) if text.strip() else b"", k)

    # ------------------------------------------------------------------ cached segments

    def _see(self, scope: Scope, budget: EmbedBudget) -> tuple[View, tuple[Scope, ...]]:
        """What is searched in memory, and the scopes left to the index: nearest first, both."""
        versions = self._reader.versions(scope.lineage())
        small: list[Segment] = []
        large: list[Scope] = []
        room = self._exact_limit
        for each in scope.lineage():
            segment = self._segment(each, versions[each], budget)
            if segment.size > room:
                large.append(each)
            else:
                small.append(segment)
                room -= segment.size
        return View(small), tuple(large)

    def _segment(self, scope: Scope, version: int, budget: EmbedBudget) -> Segment:
        """The scope's segment, from the cache while its notes are at the version it was made at."""
        if version == 0:
            return Segment.empty(scope)
        if (segment := self._segments.get(scope, version)) is not None:
            return segment
        with self._building[hash(scope) % len(self._building)]:
            if (segment := self._segments.get(scope, version)) is not None:
                return segment
            segment = self._make_segment(scope, version, budget)
            self._segments.put(segment)
        return segment

    def _make_segment(self, scope: Scope, version: int, budget: EmbedBudget) -> Segment:
        """The version was read before the notes: what changes meanwhile is noticed next time."""
        limit = self._exact_limit
        notes = self._reader.notes([scope], statuses=[NoteStatus.ACTIVE], limit=limit + 1)
        if len(notes) > limit:
            return Segment.too_large(scope, version, size=len(notes))
        mine = [n for n in notes if n.scope == scope and n.status is NoteStatus.ACTIVE]
        return Segment(scope, version, mine, self._vectors.rows(mine, budget))

    # ------------------------------------------------------------------ large scopes

    def _search_large(
        self, asked: _Question, view: View, large: Sequence[Scope], budget: EmbedBudget
    ) -> list[ScoredNote]:
        hits = self._from_index(asked, large)
        if not hits:
            active = self._reader.notes(asked.scope.lineage(), statuses=[NoteStatus.ACTIVE])
            return self._scan(asked, visible(active, asked.scope), budget)
        segments = {segment.scope: segment for segment in view.segments}
        for scope in large:
            found = [note for note in hits if note.scope == scope]
            segments[scope] = Segment(scope, 0, found, self._vectors.rows(found, budget))
        both = View([segments[scope] for scope in asked.scope.lineage()])
        return asked.rank(both, view, asked.k)

    def _from_index(self, asked: _Question, scopes: Sequence[Scope]) -> list[Note]:
        """The hits that the ledger confirms.

        Empty when the index cannot be asked, and when it has nothing to say of scopes that are
        known to be large: it is then behind or broken, and the caller scans.
        """
        if self._index is None or not asked.vector:
            return []
        wanted = OVER_FETCH * asked.k
        try:
            generation = self._reader.generation()
            hits = self._index.query(generation, asked.vector, scopes, k=wanted)[:wanted]
        except StoreError as error:
            log.warning(LogEvent.INDEX_BROKEN, reason=str(error))
            return []
        confirmed: dict[str, Note] = {}
        for hit in hits:
            note = self._reader.note(hit.note_id)
            if note is not None and _confirms(note, hit, scopes):
                confirmed[note.id] = note
        return list(confirmed.values())

    # ------------------------------------------------------------------ without cache

    def _scan(
        self, asked: _Question, notes: Sequence[Note], budget: EmbedBudget
    ) -> list[ScoredNote]:
        """Exact and kept nowhere: the vectors of one page at a time, and the best so far."""
        lexicon = Lexicon(words(searchable(note)) for note in notes)
        kept: list[ScoredNote] = []
        for start in range(0, len(notes), PAGE):
            page = notes[start : start + PAGE]
            rows = self._vectors.rows(page, budget)
            kept = _merge(asked, [*kept, *asked.rank(Table(page, rows.matrix), lexicon, asked.k)])
        return kept


def _confirms(note: Note, hit: Hit, scopes: Sequence[Scope]) -> bool:
    """True when the ledger's note is what the index took it for, and of a scope that was asked."""
    return (
        note.id == hit.note_id
        and note.revision == hit.revision
        and note.status is NoteStatus.ACTIVE
        and note.scope in scopes
    )


def _merge(asked: _Question, ranked: Sequence[ScoredNote]) -> list[ScoredNote]:
    scores = np.array([one.score for one in ranked], dtype=np.float64)
    return best([one.note for one in ranked], scores, scope=asked.scope, k=asked.k)
