"""Searcher: which notes answer a query, for one reader. Reads only.

The scopes a reader sees are taken nearest first. As many as fit into ``exact_limit`` notes are
searched exactly, in memory, and cached until the ledger changes: that is nearly every reader.
Scopes too large for that are asked of the index, and every hit is looked up in the ledger again.
The index may thus cost recall; what a reader may see, and how it scores, the ledger decides.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import Embedder, Hit, LedgerReader, ScoredNote
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.ranking import Lexicon, Table, best, searchable, words
from sleep_runtime.present.vectors import NoteVectors
from sleep_runtime.present.visible import nearest, visible
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

MAX_K = 1000
MAX_QUERY_CHARS = 8000
MAX_VECTORS = 20_000
OVER_FETCH = 4
PAGE = 1000

log = get_logger(__name__)


class IndexQuery(Protocol):
    """The part of the index that searching needs, wherever its owner runs."""

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]: ...


@dataclass(frozen=True)
class _View:
    """What one reader sees at one ledger version: notes searched exactly, scopes left to the index.

    ``small`` are all active notes of the scopes that fitted; ``table`` holds those of them that
    no nearer one hides. ``whole`` is False while some notes still wait for their vectors.
    """

    version: int
    small: tuple[Note, ...]
    large: tuple[Scope, ...]
    table: Table
    lexicon: Lexicon
    whole: bool


@dataclass(frozen=True)
class _Question:
    """One request. ``vector`` is empty when the query has no words."""

    scope: Scope
    text: str
    vector: bytes
    k: int

    def rank(self, table: Table, lexicon: Lexicon, k: int) -> list[ScoredNote]:
        """The table's ``k`` best; by confidence when nothing was asked."""
        scores = table.confidences
        if self.vector:
            scores = table.score(self.text, np.frombuffer(self.vector, dtype="<f4"), lexicon)
        return best(table.notes, scores, scope=self.scope, k=k)


class Searcher:
    """Answers ``search`` from any thread. ``index`` None: large scopes are scanned instead.

    ``exact_limit`` bounds the notes held for one reader, ``max_views`` the readers held,
    ``max_embeds`` the statements embedded within one request when the ledger has no vector of
    this embedder's model for them.
    """

    def __init__(
        self,
        reader: LedgerReader,
        index: IndexQuery | None,
        embedder: Embedder,
        *,
        exact_limit: int = 5000,
        max_views: int = 256,
        max_embeds: int = 512,
    ) -> None:
        self._reader = reader
        self._index = index
        self._exact_limit = exact_limit
        self._max_views = max_views
        self._vectors = NoteVectors(reader, embedder, max_embeds=max_embeds, max_kept=MAX_VECTORS)
        self._views: OrderedDict[Scope, _View] = OrderedDict()
        self._lock = threading.Lock()
        # One build of one view at a time: a new night must not start a build in every thread.
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
        if as_of is not None or include_superseded:
            notes = self._reader.notes(scope.lineage(), as_of=as_of)
            return self._scan(
                asked, visible(notes, scope, as_of=as_of, include_superseded=include_superseded)
            )
        view = self._view(scope)
        if view.large:
            return self._search_large(asked, view)
        return asked.rank(view.table, view.lexicon, k)

    def _ask(self, scope: Scope, query: str, k: int) -> _Question:
        text = query[:MAX_QUERY_CHARS]
        return _Question(scope, text, self._vectors.query(text) if text.strip() else b"", k)

    # ------------------------------------------------------------------ the cached view

    def _view(self, scope: Scope) -> _View:
        """The reader's view, from the cache while the ledger is at the version it was made at."""
        version = self._reader.version()
        if (view := self._cached(scope, version)) is not None:
            return view
        with self._building[hash(scope) % len(self._building)]:
            if (view := self._cached(scope, version)) is not None:
                return view
            view = self._make_view(scope, version)
            with self._lock:
                self._views[scope] = view
                self._views.move_to_end(scope)
                while len(self._views) > self._max_views:
                    self._views.popitem(last=False)
        return view

    def _cached(self, scope: Scope, version: int) -> _View | None:
        with self._lock:
            view = self._views.get(scope)
            if view is None or view.version < version or not view.whole:
                return None
            self._views.move_to_end(scope)
            return view

    def _make_view(self, scope: Scope, version: int) -> _View:
        """The version was read before the notes: what changes meanwhile is noticed next time."""
        small: list[Note] = []
        large: list[Scope] = []
        for each in scope.lineage():
            room = self._exact_limit - len(small)
            notes = self._reader.notes([each], statuses=[NoteStatus.ACTIVE], limit=room + 1)
            if len(notes) > room:
                large.append(each)
            else:
                small += [n for n in notes if n.scope == each and n.status is NoteStatus.ACTIVE]
        shown = visible(small, scope)
        rows = self._vectors.rows(shown)
        table = Table(shown, rows.matrix)
        return _View(
            version, tuple(small), tuple(large), table, Lexicon(table.texts), rows.lacking == 0
        )

    # ------------------------------------------------------------------ large scopes

    def _search_large(self, asked: _Question, view: _View) -> list[ScoredNote]:
        hits = self._from_index(asked, view.large)
        if not hits:
            active = self._reader.notes(asked.scope.lineage(), statuses=[NoteStatus.ACTIVE])
            return self._scan(asked, visible(active, asked.scope))
        shown = {n.id for n in nearest([*view.small, *hits], asked.scope.lineage())}
        near = asked.rank(view.table, view.lexicon, asked.k + len(hits))
        far = asked.rank(Table(hits, self._vectors.rows(hits).matrix), view.lexicon, len(hits))
        return _merge(asked, [one for one in (*near, *far) if one.note.id in shown])

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

    def _scan(self, asked: _Question, notes: Sequence[Note]) -> list[ScoredNote]:
        """Exact and kept nowhere: the vectors of one page at a time, and the best so far."""
        lexicon = Lexicon(words(searchable(note)) for note in notes)
        kept: list[ScoredNote] = []
        embeds = self._vectors.max_embeds
        for start in range(0, len(notes), PAGE):
            page = notes[start : start + PAGE]
            rows = self._vectors.rows(page, max_embeds=embeds)
            embeds -= rows.embedded
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
