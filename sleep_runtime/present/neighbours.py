"""The nearest by meaning of scopes too large to hold their vectors.

A scope of a hundred thousand notes has 150 MB of vectors and a fifth of that of everything else.
So its words, facets and what hides what are known exactly, and only the nearest by meaning are
asked of the index, as many as ranks are told apart. What the index names is looked up in what the
ledger said: it may cost recall, never isolation. When it cannot be asked, or has nothing true to
say, the ledger's vectors are gone through instead, a page at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ports import Hit, LedgerReader
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.away import Away
from sleep_runtime.present.cache import Scoped
from sleep_runtime.present.scopes import Scopes
from sleep_runtime.present.segments import Floats, Segment, View
from sleep_runtime.present.vectors import NoteVectors
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

# Notes that are hidden or gone take places among the neighbours.
SPARE = 1.25

log = get_logger(__name__)


class IndexQuery(Protocol):
    """The part of the index that searching needs, wherever its owner runs."""

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]: ...


class Neighbours:
    """Fills in cosines that no segment can give. Any thread. ``index`` None: always the ledger."""

    def __init__(
        self, reader: LedgerReader, index: IndexQuery | None, scopes: Scopes, vectors: NoteVectors
    ) -> None:
        self._reader = reader
        self._index = index
        self._scopes = scopes
        self._vectors = vectors
        self._away = Away()

    def fill(
        self, large: Sequence[Scoped], view: View, vector: Floats, cosines: Floats, *, window: int
    ) -> None:
        """Set the cosines of the nearest notes of these scopes, at least ``window`` of them."""
        asked = [each for each in large if not each.foreign]
        if len(asked) < len(large):
            METRICS.search_degraded.labels("index").inc()
        if not asked or self._from_index(asked, view, vector, cosines, window):
            return
        METRICS.search_degraded.labels("index").inc()
        for each in asked:
            base = each.segments[0]
            begin = view.begin(base)
            self._from_ledger(each.scope, base, vector, cosines[begin : begin + base.held])

    def _from_index(
        self,
        asked: Sequence[Scoped],
        view: View,
        vector: Floats,
        cosines: Floats,
        window: int,
    ) -> bool:
        """False when the index cannot be asked, or names nothing of scopes known to be large."""
        if self._index is None or self._away:
            return False
        wanted = int(SPARE * window)
        try:
            generation = self._reader.generation()
            scopes = [each.scope for each in asked]
            hits = self._index.query(generation, vector.tobytes(), scopes, k=wanted)[:wanted]
        except StoreError as error:
            self._away.mark(str(error))
            log.warning(LogEvent.INDEX_BROKEN, reason=str(error))
            return False
        places = self._confirmed(hits, asked, view, vector)
        for place, score in places.items():
            cosines[place] = score
        return bool(places)

    def _confirmed(
        self, hits: Sequence[Hit], asked: Sequence[Scoped], view: View, vector: Floats
    ) -> dict[int, float]:
        """The cosines of the hits the ledger confirms, from its own vectors, by place."""
        places: dict[str, int] = {}
        for base in (each.segments[0] for each in asked):
            begin = view.begin(base)
            for hit in hits:
                if (at := _place(base, hit.note_id, hit.revision)) is not None:
                    places[hit.note_id] = begin + at
        found = [v for v in self._reader.vectors(list(places)) if self._vectors.made(v)]
        if not found:
            return {}
        scores = _cosines([each.vector for each in found], vector)
        return {places[v.note_id]: score for v, score in zip(found, scores, strict=True)}

    def _from_ledger(self, scope: Scope, base: Segment, vector: Floats, into: Floats) -> None:
        """Every cosine, exactly: some milliseconds for each thousand notes."""
        for rows in self._scopes.pages(scope, vectors=True):
            usable = [row for row in rows if self._vectors.made(row)]
            if not usable:
                continue
            scores = _cosines([row.vector for row in usable], vector)
            for row, score in zip(usable, scores, strict=True):
                if (at := _place(base, row.note_id, row.revision)) is not None:
                    into[at] = score


def _cosines(vectors: Sequence[bytes], vector: Floats) -> list[float]:
    matrix = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
    scores: list[float] = np.vecdot(matrix, vector).tolist()
    return scores


def _place(base: Segment, note_id: str, revision: int) -> int | None:
    at = bisect_left(base.ids, note_id)
    same = at < base.held and base.ids[at] == note_id and base.revisions[at] == revision
    return at if same else None
