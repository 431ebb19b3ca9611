"""Notebook: the notes' part of a ledger in memory, for tests of what reads and projects notes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sleep_runtime.core.note import Note, NoteStatus, Support
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.ports import (
    Embedder,
    LedgerReader,
    LedgerWriter,
    Mark,
    NoteVector,
    SegmentRow,
)
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.rows import row_of

MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)


def make_note(
    note_id: str,
    statement: str = "",
    *,
    scope: str = "acme/banking",
    status: NoteStatus = NoteStatus.ACTIVE,
    revision: int = 1,
    confidence: float = 0.9,
    day: int = 0,
    people: int = 2,
    **claim: Any,
) -> Note:
    """A note with sensible defaults. ``day`` counts from ``MORNING``: recorded and valid then."""
    then = MORNING + timedelta(days=day)
    return Note(
        id=note_id,
        scope=Scope(scope),
        claim=Claim(
            statement=statement or f"Lesson {note_id}.",
            kind=claim.pop("kind", NoteKind.CONVENTION),
            **claim,
        ),
        status=status,
        confidence=confidence,
        support=Support(events=people, sessions=people, people=people, days=1),
        valid_from=then,
        recorded_at=then,
        revision=revision,
        evidence=(f"event-of-{note_id}",),
        reason="said with standing intent",
    )


class Notebook:
    """Implements the methods of ``LedgerReader`` and ``LedgerWriter`` that concern notes.

    ``write`` is a night's commit: revisions, their vectors when there is an embedder, marks.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._lock = threading.RLock()
        self._revisions: dict[str, list[Note]] = {}
        self._vectors: dict[str, NoteVector] = {}
        self._marks: dict[str, int] = {}
        self._generation = 0
        self._versions: Counter[Scope] = Counter()

    @property
    def reader(self) -> LedgerReader:
        return cast("LedgerReader", self)

    @property
    def writer(self) -> LedgerWriter:
        return cast("LedgerWriter", self)

    def write(self, *notes: Note) -> None:
        with self._lock:
            for note in notes:
                chain = self._revisions.setdefault(note.id, [])
                reworded = not chain or chain[-1].claim.statement != note.claim.statement
                chain.append(note)
                self._marks[note.id] = note.revision
                if self._embedder and reworded:
                    self._vectors[note.id] = _vector(note, self._embedder)
                self._versions[note.scope] += 1

    def erase(self, note_id: str) -> None:
        with self._lock:
            newest = self._revisions.pop(note_id)[-1]
            self._marks[note_id] = newest.revision
            self._vectors.pop(note_id, None)
            self._versions[newest.scope] += 1

    # ------------------------------------------------------------------ reading

    def versions(self, scopes: Sequence[Scope]) -> dict[Scope, int]:
        with self._lock:
            return {scope: self._versions[scope] for scope in scopes}

    def generation(self) -> int:
        return self._generation

    def notes(
        self,
        scopes: Sequence[Scope] | None = None,
        *,
        within: Scope | None = None,
        statuses: Sequence[NoteStatus] | None = None,
        as_of: datetime | None = None,
        limit: int | None = None,
        after: str = "",
    ) -> list[Note]:
        with self._lock:
            chains = [chain for _, chain in sorted(self._revisions.items())]
        known = [[n for n in chain if as_of is None or n.recorded_at <= as_of] for chain in chains]
        found = [
            chain[-1]
            for chain in known
            if chain
            and chain[-1].id > after
            and (scopes is None or chain[-1].scope in scopes)
            and (within is None or within.covers(chain[-1].scope))
            and (statuses is None or chain[-1].status in statuses)
        ]
        return found[:limit]

    def segment(
        self, scope: Scope, *, limit: int, after: str = "", vectors: bool = True
    ) -> list[SegmentRow]:
        with self._lock:
            newest = [chain[-1] for _, chain in sorted(self._revisions.items())]
            shown = [
                note
                for note in newest
                if note.scope == scope and note.status is NoteStatus.ACTIVE and note.id > after
            ]
            rows = [row_of(note, self._vectors.get(note.id)) for note in shown[:limit]]
        return rows if vectors else [row._replace(vector=b"") for row in rows]

    def active(self, scope: Scope) -> dict[str, int]:
        with self._lock:
            newest = [chain[-1] for _, chain in sorted(self._revisions.items())]
        shown = [n for n in newest if n.scope == scope and n.status is NoteStatus.ACTIVE]
        return {note.id: note.revision for note in shown}

    def note(self, note_id: str) -> Note | None:
        with self._lock:
            chain = self._revisions.get(note_id)
            return chain[-1] if chain else None

    def named(self, note_ids: Sequence[str]) -> list[Note]:
        found = (self.note(note_id) for note_id in sorted(set(note_ids)))
        return [note for note in found if note]

    def history(self, note_id: str) -> list[Note]:
        with self._lock:
            return list(self._revisions.get(note_id, []))

    def vectors(self, note_ids: Sequence[str]) -> list[NoteVector]:
        with self._lock:
            return [self._vectors[i] for i in note_ids if i in self._vectors]

    def marks(self, *, limit: int) -> list[Mark]:
        with self._lock:
            marks = [Mark(note_id=i, revision=r) for i, r in sorted(self._marks.items())]
        return marks[:limit]

    # ------------------------------------------------------------------ writing

    def clear_marks(self, marks: Sequence[Mark]) -> int:
        with self._lock:
            done = [m.note_id for m in marks if self._marks.get(m.note_id, 1 << 30) <= m.revision]
            for note_id in done:
                del self._marks[note_id]
            return len(done)

    def mark_all(self, *, generation: int) -> int:  # noqa: ARG002 - marks are of any generation
        with self._lock:
            self._marks |= {i: chain[-1].revision for i, chain in self._revisions.items()}
            return len(self._revisions)

    def flip_generation(self, generation: int) -> None:
        self._generation = generation

    def store_vectors(self, vectors: Sequence[NoteVector]) -> None:
        with self._lock:
            for vector in vectors:
                if vector.note_id in self._revisions:
                    self._vectors[vector.note_id] = vector
                    self._versions[self._revisions[vector.note_id][-1].scope] += 1


def _vector(note: Note, embedder: Embedder) -> NoteVector:
    (vector,) = embedder.embed([note.claim.statement])
    return NoteVector(note_id=note.id, revision=note.revision, model=embedder.model, vector=vector)
