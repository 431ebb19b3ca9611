"""Searcher: which notes answer a query, for one reader. Reads only.

The notes of the scopes a reader sees are held in memory and ranked exactly. Of a scope too large
to hold its vectors, the index names the nearest by meaning; everything else about it is exact too.
What a reader may see, the ledger decides: nothing is shown that it does not have at this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Embedder, LedgerReader, ScoredNote, SeenLedger
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.cache import Scoped
from sleep_runtime.present.fold import wording
from sleep_runtime.present.hits import Held, NoteCache, take
from sleep_runtime.present.neighbours import IndexQuery, Neighbours
from sleep_runtime.present.ranking import Asked, Ranked, by_confidence, by_relevance, window
from sleep_runtime.present.rows import row_of, rows_of
from sleep_runtime.present.scopes import Scopes
from sleep_runtime.present.segments import UNKNOWN, Floats, Place, Segment, View
from sleep_runtime.present.vectors import EmbedBudget, NoteVectors
from sleep_runtime.present.visible import visible

__all__ = ["IndexQuery", "Searcher"]

MAX_K = 1000
LOOKS = 3
"""How often a question is answered anew when nights change what it looks at meanwhile."""
MAX_QUERY_CHARS = 8000
MAX_VECTORS = 20_000
PAGE = 1000
EXACT_LIMIT = 100_000
CACHE_BYTES = 384 * 1024 * 1024
# Of the memory that is given, so much is for notes that were shown; segments take the rest.
_NOTES_SHARE = 8


class Searcher:
    """Answers ``search`` from any thread. ``index`` None: large scopes are read from the ledger.

    ``exact_limit`` bounds the notes of a scope whose vectors are held in memory, ``cache_bytes``
    what is held in all, ``max_embeds`` the statements embedded within one request when the ledger
    has no vector of this embedder's model for them.
    """

    def __init__(
        self,
        reader: LedgerReader,
        index: IndexQuery | None,
        embedder: Embedder,
        *,
        exact_limit: int = EXACT_LIMIT,
        cache_bytes: int = CACHE_BYTES,
        max_embeds: int = 512,
    ) -> None:
        self._reader = reader
        self._vectors = NoteVectors(embedder, max_embeds=max_embeds, max_kept=MAX_VECTORS)
        notes_bytes = cache_bytes // _NOTES_SHARE
        self._notes = NoteCache(reader, max_bytes=notes_bytes)
        self._scopes = Scopes(
            reader, self._vectors, exact_limit=exact_limit, max_bytes=cache_bytes - notes_bytes
        )
        self._neighbours = Neighbours(reader, index, self._scopes, self._vectors)

    @property
    def degraded(self) -> str:
        """Why queries are answered by words alone just now; empty when they are not."""
        return self._vectors.away

    @property
    def segment_bytes(self) -> int:
        """About what the scopes that are held take in memory."""
        return self._scopes.cache.nbytes

    @property
    def note_bytes(self) -> int:
        """About what the notes that were shown and are held take in memory."""
        return self._notes.nbytes

    def forget(self) -> None:
        """Drop every note, segment and vector that is held: something was erased. Any thread."""
        self._scopes.cache.clear()
        self._notes.clear()
        self._vectors.forget()

    def search(
        self,
        scope: Scope,
        query: str,
        *,
        k: int = 10,
        as_of: datetime | None = None,
        include_superseded: bool = False,
        rights: Rights = EVERYTHING,
        looked: Callable[[int], None] | None = None,
    ) -> list[ScoredNote]:
        """The ``k`` visible notes that answer best, best first; the same input, the same order.

        ``as_of``: what was recorded, and true, at that instant. Without it, what is active now.
        Scores are 1.0 for what is first by meaning, words and facets, less further down. A query
        without words gives the notes of highest confidence. An unknown scope sees nothing. While
        the embedding model cannot be used, words and facets decide alone (``degraded``). What
        ``rights`` do not show is not there, as in the ledger's own queries. Raises
        ``InvalidInput`` for a ``k`` outside 1..1000, a query of more than 8,000 characters or an
        ``as_of`` without a time zone, ``StoreError`` when the ledger cannot be read.

        ``looked`` is told how many notes the answer is chosen from, before it is: what a
        question costs grows with that, and not with ``k``.
        """
        _check(query, k, as_of)
        seen = self._reader if rights.within is None else self._reader.seen_by(rights)
        if as_of is not None or include_superseded:
            notes = seen.notes(scope.lineage(), as_of=as_of)
            if looked is not None:
                looked(len(notes))
            shown = visible(notes, scope, as_of=as_of, include_superseded=include_superseded)
            return self._scan(scope, shown, query, k)
        for _ in range(LOOKS):
            found, moved = self._look(scope, query, k, seen, looked)
            if not moved:
                break
            looked = None  # it is one question
        return found if rights.within is None else _as_seen(found, rights)

    def _look(
        self,
        scope: Scope,
        query: str,
        k: int,
        seen: SeenLedger,
        looked: Callable[[int], None] | None,
    ) -> tuple[list[ScoredNote], bool]:
        """The answer out of one view, and whether a night took something out of that meanwhile.

        What it put in its place, a team's note for a person's, is then not in the view.
        """
        lineage = scope.lineage()
        scoped = self._scopes.of(lineage, self._vectors.budget(), seen)
        view = View([segment for each in scoped for segment in each.segments])
        if looked is not None:
            looked(view.size)
        ranked = self._rank(view, query, scoped, k) if query.strip() else by_confidence(view, k=k)
        moved = False

        def fetch(places: Sequence[Place]) -> Mapping[str, Held]:
            nonlocal moved
            notes = self._notes.get(places)
            moved = moved or len(notes) < len(places)
            return notes

        return take(ranked, view, fetch, lineage=lineage, k=k), moved

    def _rank(self, view: View, query: str, scoped: Sequence[Scoped], k: int) -> Ranked:
        if not view.size:
            return iter(())  # without asking the model
        vector = self._vectors.query(query)
        if vector is None:
            return by_relevance(view, Asked.of(query), None, k=k)
        cosines = view.cosines(vector)
        if large := [each for each in scoped if each.indexed]:
            self._neighbours.fill(large, view, vector, cosines, window=window(k))
        return by_relevance(view, Asked.of(query), cosines, k=k)

    # ------------------------------------------------------------------ without cache

    def _scan(self, scope: Scope, notes: Sequence[Note], query: str, k: int) -> list[ScoredNote]:
        """Exact and kept nowhere; vectors are read a page at a time."""
        held = {note.id: note for note in notes}
        by_scope = [(each, [n for n in notes if n.scope == each]) for each in scope.lineage()]
        view = View(
            [Segment(each, [row_of(note) for note in of]) for each, of in by_scope], hiding=False
        )

        def fetch(places: Sequence[Place]) -> dict[str, Held]:
            found = (held[place.segment.ids[place.at]] for place in places)
            return {note.id: Held(note, wording(note)) for note in found}

        ranked = by_confidence(view, k=k)
        if query.strip() and view.size:
            vector = self._vectors.query(query)
            ordered = [note for _, of in by_scope for note in of]
            cosines = None if vector is None else self._cosines(ordered, vector)
            ranked = by_relevance(view, Asked.of(query), cosines, k=k)
        return take(ranked, view, fetch, lineage=scope.lineage(), k=k)

    def _cosines(self, notes: Sequence[Note], vector: Floats) -> Floats:
        budget: EmbedBudget = self._vectors.budget()
        made: Floats = np.zeros(len(notes), dtype=np.float32)
        for start in range(0, len(notes), PAGE):
            rows = rows_of(notes[start : start + PAGE], self._reader)
            matrix, _ = self._vectors.rows(rows, budget)
            np.vecdot(matrix, vector, out=made[start : start + len(rows)])
        made[np.isnan(made)] = UNKNOWN
        return made


def _as_seen(found: Sequence[ScoredNote], rights: Rights) -> list[ScoredNote]:
    """The notes as the ledger would have given them: what is held in memory is whole."""
    return [
        one if note is one.note else ScoredNote(note=note, score=one.score)
        for one in found
        if (note := rights.note(one.note)) is not None
    ]


def _check(query: str, k: int, as_of: datetime | None) -> None:
    if not 1 <= k <= MAX_K:
        raise InvalidInput(f"is {k}", field="k", mend=f"choose 1 to {MAX_K}")
    if len(query) > MAX_QUERY_CHARS:
        raise InvalidInput(
            f"has {len(query):,} characters, at most {MAX_QUERY_CHARS:,} are read",
            field="query",
            mend="ask with the part that says what is wanted",
        )
    if as_of is not None and as_of.tzinfo is None:
        raise InvalidInput("has no time zone", field="as_of", mend="add an offset, e.g. Z")
