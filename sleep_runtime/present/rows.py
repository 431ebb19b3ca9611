"""Notes that are at hand already, as the rows that are searched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import LedgerReader, NoteVector, SegmentRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def rows_of(notes: Sequence[Note], reader: LedgerReader) -> list[SegmentRow]:
    """The rows of these notes with the vectors the ledger has for their wording."""
    held = {vector.note_id: vector for vector in reader.vectors([note.id for note in notes])}
    return [row_of(note, held.get(note.id)) for note in notes]


def row_of(note: Note, vector: NoteVector | None = None) -> SegmentRow:
    """One note as it is searched. A vector of a later wording is none."""
    claim = note.claim
    if vector is not None and vector.revision > note.revision:
        vector = None
    return SegmentRow(
        note_id=note.id,
        revision=note.revision,
        statement=claim.statement,
        subject=claim.subject,
        aspect=claim.aspect,
        value=claim.value,
        applies_when=claim.applies_when,
        about=claim.about,
        confidence=note.confidence,
        since_us=(note.valid_from - _EPOCH) // _MICROSECOND,
        model=vector.model if vector else "",
        vector=vector.vector if vector else b"",
    )
