"""Scopes: what is held in memory of each scope, brought up to the ledger's version when asked.

A version that is read before the notes may be older than they are, never newer: what changes
meanwhile is noticed the next time. A small scope is read again whole; of a large one only what
changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard

from sleep_runtime.core.erasure import erasures_in
from sleep_runtime.core.errors import StoreBusy
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import LedgerReader, SeenLedger, SegmentRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.cache import Scoped, SegmentCache
from sleep_runtime.present.rows import rows_of
from sleep_runtime.present.segments import Segment
from sleep_runtime.present.vectors import EmbedBudget, NoteVectors
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

PAGE = 5000
# Of a large scope so much may have changed before it is read again whole.
FRESH_SHARE = 0.2
FRESH_LEAST = 500
# Smaller ones are read again faster than compared.
RENEWED_FROM = 2000
BUILD_TIMEOUT_S = 30.0
_LOCKS = 64

log = get_logger(__name__)


class Scopes:
    """Makes and holds what is searched. ``of`` may be called from any thread.

    Up to ``exact_limit`` notes of a scope are held with their vectors. One thread makes a scope
    ready, others that ask for it meanwhile wait for that.
    """

    def __init__(
        self, reader: LedgerReader, vectors: NoteVectors, *, exact_limit: int, max_bytes: int
    ) -> None:
        self._reader = reader
        self._vectors = vectors
        self._exact_limit = exact_limit
        self.cache = SegmentCache(max_bytes=max_bytes)
        # A new night must not start a build of one scope in every thread.
        self._building = tuple(threading.Lock() for _ in range(_LOCKS))

    def of(self, lineage: Sequence[Scope], budget: EmbedBudget, seen: SeenLedger) -> list[Scoped]:
        """What these scopes hold now, in their order.

        Those that never had a note are left out, and those that ``seen`` does not show: whoever
        made a scope ready, only what the asker's own look at the ledger names is given.
        """
        versions = seen.versions(lineage)
        return [self._of(each, versions[each], budget) for each in lineage if versions[each]]

    def _of(self, scope: Scope, version: int, budget: EmbedBudget) -> Scoped:
        if _serves(held := self.cache.get(scope), version):
            return held
        building = self._building[hash(scope) % _LOCKS]
        if not building.acquire(timeout=BUILD_TIMEOUT_S):
            raise StoreBusy(f"{scope} is still being read", field="scope", mend="ask again")
        try:
            if _serves(held := self.cache.get(scope), version):
                return held
            made = self._make(scope, version, held, budget)
            self.cache.put(made)
        finally:
            building.release()
        return made

    def _make(self, scope: Scope, version: int, held: Scoped | None, budget: EmbedBudget) -> Scoped:
        if (
            held is not None
            and _renewable(held, version)
            and (made := self._renew(held, version, budget))
        ):
            return made
        rows = self._reader.segment(scope, limit=self._exact_limit + 1)
        if len(rows) > self._exact_limit:
            return self._make_large(scope, version)
        matrix, lacking = self._vectors.rows(rows, budget)
        segment = Segment(scope, rows, matrix, era=erasures_in(version))
        return Scoped(scope, version, (segment,), whole=lacking == 0)

    def _make_large(self, scope: Scope, version: int) -> Scoped:
        rows = [row for page in self.pages(scope, vectors=False) for row in page]
        usable = sum(row.model == self._vectors.model for row in rows)
        if usable < len(rows):
            log.warning(
                LogEvent.SEARCH_DEGRADED,
                part="index",
                scope=str(scope),
                reason=f"{len(rows) - usable} of {len(rows)} notes have no vector of the model"
                f" {self._vectors.model}",
                mend="sleep-runtime rebuild",
            )
        segments = (Segment(scope, rows, era=erasures_in(version)),)
        return Scoped(scope, version, segments, indexed=True, foreign=usable == 0)

    def pages(self, scope: Scope, *, vectors: bool) -> Iterator[list[SegmentRow]]:
        """All active notes of a scope, some at a time."""
        after = ""
        while rows := self._reader.segment(scope, limit=PAGE, after=after, vectors=vectors):
            yield rows
            if len(rows) < PAGE:
                return
            after = rows[-1].note_id

    def _renew(self, held: Scoped, version: int, budget: EmbedBudget) -> Scoped | None:
        """A scope with what changed; None when that is too much, or too little is left."""
        base = held.segments[0]
        now = self._reader.active(held.scope)
        was = dict(zip(base.ids, base.revisions, strict=True))
        gone = [at for at, note_id in enumerate(base.ids) if now.get(note_id) != was[note_id]]
        fresh = [note_id for note_id, revision in now.items() if was.get(note_id) != revision]
        most = max(FRESH_LEAST, int(FRESH_SHARE * base.held))
        if len(fresh) > most or len(gone) > most:
            return None
        if held.indexed != (len(now) > self._exact_limit):
            return None
        notes = [
            note
            for note in self._reader.named(fresh)
            if note.scope == held.scope and note.status is NoteStatus.ACTIVE
        ]
        rows = rows_of(notes, self._reader)
        matrix, lacking = self._vectors.rows(rows, budget)
        fresh_segment = Segment(held.scope, rows, matrix, era=base.era)
        segments = (base.without(gone), fresh_segment)
        return replace(held, version=version, segments=segments, whole=lacking == 0)


def _renewable(held: Scoped, version: int) -> bool:
    """Whether it is large enough, and nothing but its notes may have changed.

    Vectors may be stored anew under an unchanged note. Where all are of this model already, that
    gives the same bits; where some are not, the scope is read again.
    """
    if erasures_in(held.version) != erasures_in(version):
        return False  # what was made of erased notes is not kept as a part of something else
    if not held.whole or held.foreign:
        return False
    return held.indexed or (len(held.segments) > 0 and held.segments[0].held >= RENEWED_FROM)


def _serves(held: Scoped | None, version: int) -> TypeGuard[Scoped]:
    return held is not None and held.version >= version and held.whole
