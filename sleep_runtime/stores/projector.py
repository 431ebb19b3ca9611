"""Projector: makes the index follow the ledger, from the outbox or from scratch.

What the index should hold for a note is a function of the ledger's present state: its vector if
it is active and has one, otherwise nothing. So projecting is idempotent and free of order, and a
mark is only a hint where to look. A mark is cleared when the index read back what it should hold.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.errors import IndexBroken, StoreBusy, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import (
    Embedder,
    Index,
    LedgerReader,
    LedgerWriter,
    Mark,
    NoteVector,
)
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger

PAGE = 256
BUSY_WAIT_S = 30.0
_ROUNDS = 3

log = get_logger(__name__)


class ReconcileReport(BaseModel):
    """How index and ledger differed, in notes. ``repaired`` of them read back right afterwards.

    ``missing``: active, with a vector, not in the index; ``stale``: there at another revision;
    ``orphaned``: there, but not active (any more).
    """

    model_config = ConfigDict(frozen=True)

    missing: int = 0
    stale: int = 0
    orphaned: int = 0
    repaired: int = 0


class RebuildReport(BaseModel):
    """The generation readers now use, the notes in it, the statements embedded on the way."""

    model_config = ConfigDict(frozen=True)

    generation: int
    notes: int
    embedded: int = 0


class _Wanted(NamedTuple):
    """What the index should hold for some notes: these entries and, of the rest, nothing."""

    entries: dict[str, tuple[Note, bytes]]
    absent: tuple[str, ...]

    def held_right(self, found: dict[str, int]) -> Iterator[str]:
        """The ids for which an index that holds ``found`` needs no change."""
        yield from (i for i, (note, _) in self.entries.items() if found.get(i) == note.revision)
        yield from (i for i in self.absent if i not in found)


class Projector:
    """Feeds one index; runs in its owner. One thing at a time, whatever thread asks.

    Raises ``StoreError`` when ledger or index fails: the marks stay and the next call goes on.
    """

    def __init__(self, reader: LedgerReader, writer: LedgerWriter, index: Index) -> None:
        self._reader = reader
        self._writer = writer
        self._index = index
        self._lock = threading.Lock()

    def project(self, limit: int = PAGE) -> int:
        """Apply at most ``limit`` outbox marks. Returns how many were cleared.

        0 with marks outstanding means that the index does not hold what it was given: the marks
        stay for later. Raises ``StoreBusy`` when a rebuild keeps the index for too long.
        """
        with self._exclusive():
            marks = self._reader.marks(limit=limit)
            if not marks:
                return 0
            revisions = self._apply(self._reader.generation(), [mark.note_id for mark in marks])
            failpoint("projector.upserted")
            done = [
                Mark(note_id=m.note_id, revision=revisions[m.note_id] or m.revision)
                for m in marks
                if m.note_id in revisions and not 0 < revisions[m.note_id] < m.revision
            ]
            cleared = self._writer.clear_marks(done) if done else 0
        if len(done) < len(marks):
            log.warning(LogEvent.PROJECT_FAILED, marks=len(marks), read_back=len(done))
        log.debug(LogEvent.PROJECTED, marks=len(marks), cleared=cleared)
        return cleared

    def drain(self) -> int:
        """Apply marks until none can be cleared. Returns how many were."""
        cleared = 0
        while done := self.project():
            cleared += done
        return cleared

    def reconcile(self) -> ReconcileReport:
        """Compare the whole index with the ledger and repair it. Marks are left alone.

        Leftovers of a rebuild that died are dropped too. An index that cannot be used is set
        aside, and all of it is missing.
        """
        with self._exclusive():
            generation = self._reader.generation()
            try:
                self._drop_leftovers(generation)
                report = self._align(generation)
            except IndexBroken as broken:
                self._start_over(generation, broken)
                report = self._align(generation)
        log.info(LogEvent.INDEX_RECONCILED, generation=generation, **report.model_dump())
        return report

    def rebuild(self, embedder: Embedder | None = None) -> RebuildReport:
        """Fill a new generation from the ledger and let the readers use it.

        With an ``embedder`` every statement whose vector another model made is embedded anew;
        its vector is stored page by page, so that a rebuild that died goes on where it stood.
        The new generation itself is filled from nothing each time. Readers use the old one until
        the new one was read back; raises ``StoreError`` when it does not hold what it should. An
        index that cannot be used is set aside first.
        """
        with self._exclusive():
            old = self._reader.generation()
            embedded = self._embed(embedder) if embedder else 0
            try:
                self._drop_leftovers(old)
                notes = self._fill(old + 1)
            except IndexBroken as broken:
                self._start_over(old, broken)
                notes = self._fill(old + 1)
            failpoint("index.rebuild.filled")
            self._writer.flip_generation(old + 1)
            self._index.drop(old)
        report = RebuildReport(generation=old + 1, notes=notes, embedded=embedded)
        log.info(LogEvent.INDEX_REBUILT, **report.model_dump())
        return report

    # ------------------------------------------------------------------ steps

    def _start_over(self, generation: int, broken: IndexBroken) -> None:
        """Empty the index. The marks are durable: whatever dies before it is full, they know."""
        log.warning(LogEvent.INDEX_BROKEN, reason=str(broken))
        self._index.start_over()
        self._writer.mark_all(generation=generation)

    def _apply(self, generation: int, note_ids: Sequence[str]) -> dict[str, int]:
        """Make the index right for these notes.

        Returns the ledger's revision (0: no such note) of those it read back right.
        """
        notes = {note.id: note for note in self._reader.named(note_ids)}
        wanted = self._wanted(note_ids, notes)
        if wanted.entries:
            self._index.upsert(generation, list(wanted.entries.values()))
        if wanted.absent:
            self._index.delete(generation, wanted.absent)
        found = self._index.revisions(generation, list(dict.fromkeys(note_ids)))
        return {i: notes[i].revision if i in notes else 0 for i in wanted.held_right(found)}

    def _wanted(self, note_ids: Sequence[str], notes: dict[str, Note]) -> _Wanted:
        active = [i for i, note in notes.items() if note.status is NoteStatus.ACTIVE]
        vectors = {v.note_id: v.vector for v in self._reader.vectors(active)} if active else {}
        entries = {i: (notes[i], vectors[i]) for i in active if i in vectors}
        return _Wanted(entries, tuple(i for i in dict.fromkeys(note_ids) if i not in entries))

    def _align(self, generation: int) -> ReconcileReport:
        """Make the whole generation right, page by page, and say what was wrong."""
        missing = stale = repaired = 0
        unseen = self._index.revisions(generation)
        for page in self._pages([NoteStatus.ACTIVE]):
            wanted = self._wanted([n.id for n in page], {n.id: n for n in page})
            wrong = []
            for note_id, (note, _) in wanted.entries.items():
                held = unseen.pop(note_id, None)
                missing += held is None
                stale += held is not None and held != note.revision
                if held != note.revision:
                    wrong.append(note_id)
            repaired += len(self._apply(generation, wrong)) if wrong else 0
        orphans = sorted(unseen)
        for start in range(0, len(orphans), PAGE):
            repaired += len(self._apply(generation, orphans[start : start + PAGE]))
        return ReconcileReport(
            missing=missing, stale=stale, orphaned=len(orphans), repaired=repaired
        )

    def _fill(self, generation: int) -> int:
        """Fill an empty generation. Notes may change meanwhile, so look again until none did."""
        for _ in range(_ROUNDS):
            report = self._align(generation)
            if not (report.missing or report.stale or report.orphaned):
                return len(self._index.revisions(generation))
        raise StoreError(
            f"generation {generation} still differs from the ledger: {report.missing} missing, "
            f"{report.stale} stale, {report.orphaned} orphaned",
            field="index",
            mend="readers keep the old generation; look at the disk, then rebuild again",
        )

    def _embed(self, embedder: Embedder) -> int:
        """Give every note, in any status, a vector of the embedder's model."""
        embedded = 0
        for page in self._pages(None):
            stored = {v.note_id: v for v in self._reader.vectors([n.id for n in page])}
            other = [n for n in page if n.id not in stored or stored[n.id].model != embedder.model]
            if not other:
                continue
            vectors = embedder.embed([note.claim.statement for note in other])
            self._writer.store_vectors(
                [
                    NoteVector(
                        note_id=n.id,
                        # The revision that brought the wording, which is what was embedded.
                        revision=stored[n.id].revision if n.id in stored else n.revision,
                        model=embedder.model,
                        vector=vector,
                    )
                    for n, vector in zip(other, vectors, strict=True)
                ]
            )
            embedded += len(other)
        return embedded

    def _pages(self, statuses: Sequence[NoteStatus] | None) -> Iterator[list[Note]]:
        after = ""
        while page := self._reader.notes(statuses=statuses, limit=PAGE, after=after):
            yield page
            after = page[-1].id

    def _drop_leftovers(self, generation: int) -> None:
        """A rebuild that died leaves the next generation half filled, or the last one undropped."""
        self._index.drop(generation + 1)
        if generation > 0:
            self._index.drop(generation - 1)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=BUSY_WAIT_S):
            raise StoreBusy(
                f"the index was busy for {BUSY_WAIT_S:g} s", field="index", mend="try again later"
            )
        try:
            yield
        finally:
            self._lock.release()
