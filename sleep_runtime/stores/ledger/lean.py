"""The reads that every search makes, without SQLAlchemy between them and SQLite.

Building, compiling and unpacking a statement costs more there than running it does. The columns
are those of ``schema``; a test holds that both see the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from pydantic_core import from_json

from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import NoteVector, SegmentRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger.schema import from_us

_AT_ONCE = 500

_SEGMENT = """
SELECT n.note_id, n.revision, n.claim, n.confidence, n.valid_from, v.model, {vector}
FROM newest AS w
JOIN notes AS n ON n.note_id = w.note_id AND n.revision = w.revision
LEFT JOIN note_vectors AS v ON v.note_id = w.note_id AND v.revision <= w.revision
WHERE w.scope = ? AND w.status = 'active' AND w.note_id > ?
ORDER BY w.note_id LIMIT ?
"""
_WITH_VECTORS = _SEGMENT.format(vector="v.vector")
_WITHOUT_VECTORS = _SEGMENT.format(vector="NULL")
_VERSIONS = "SELECT scope, version FROM scope_versions WHERE scope IN ({places})"
_VECTORS = """
SELECT note_id, revision, model, vector FROM note_vectors
WHERE note_id IN ({places}) ORDER BY note_id
"""
_ACTIVE = "SELECT note_id, revision FROM newest WHERE scope = ? AND status = 'active'"
_NAMED = """
SELECT n.note_id, n.scope, n.claim, n.status, n.confidence, n.support, n.trust, n.helpful,
       n.harmful, n.valid_from, n.valid_to, n.recorded_at, n.superseded_by, n.revision,
       n.evidence, n.reason
FROM newest AS w JOIN notes AS n ON n.note_id = w.note_id AND n.revision = w.revision
WHERE w.note_id IN ({places}) ORDER BY w.note_id
"""


def versions(connection: sqlite3.Connection, scopes: Sequence[Scope]) -> dict[Scope, int]:
    """The version of each of these scopes, 0 where nothing was ever bumped."""
    asked = _VERSIONS.format(places=_places(scopes))
    found = dict(connection.execute(asked, [str(scope) for scope in scopes]).fetchall())
    return {scope: found.get(str(scope), 0) for scope in scopes}


def segment(
    connection: sqlite3.Connection, scope: Scope, *, limit: int, after: str, vectors: bool
) -> list[SegmentRow]:
    """One page of a scope's active notes."""
    asked = _WITH_VECTORS if vectors else _WITHOUT_VECTORS
    rows = connection.execute(asked, (str(scope), after, limit)).fetchall()
    return [_segment_row(*row) for row in rows]


def active(connection: sqlite3.Connection, scope: Scope) -> dict[str, int]:
    """The revision of each active note of a scope."""
    return dict(connection.execute(_ACTIVE, (str(scope),)).fetchall())


def named(connection: sqlite3.Connection, note_ids: Sequence[str]) -> list[Note]:
    """The newest revisions of these notes, ordered by note id."""
    return [note for batch in _batches(note_ids) for note in _notes(connection, batch)]


def vectors(connection: sqlite3.Connection, note_ids: Sequence[str]) -> list[NoteVector]:
    """The vectors of these notes, ordered by note id."""
    found: list[NoteVector] = []
    for batch in _batches(note_ids):
        rows = connection.execute(_VECTORS.format(places=_places(batch)), batch).fetchall()
        found.extend(
            NoteVector(note_id=row[0], revision=row[1], model=row[2], vector=row[3]) for row in rows
        )
    return found


def _batches(note_ids: Sequence[str]) -> Iterator[list[str]]:
    wanted = sorted(set(note_ids))
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]


def _notes(connection: sqlite3.Connection, note_ids: Sequence[str]) -> Iterator[Note]:
    rows = connection.execute(_NAMED.format(places=_places(note_ids)), note_ids).fetchall()
    for row in rows:
        yield Note(
            id=row[0],
            scope=row[1],
            claim=from_json(row[2]),
            status=NoteStatus(row[3]),
            confidence=row[4],
            support=from_json(row[5]),
            trust=row[6],
            helpful=row[7],
            harmful=row[8],
            valid_from=from_us(row[9]),
            valid_to=None if row[10] is None else from_us(row[10]),
            recorded_at=from_us(row[11]),
            superseded_by=row[12],
            revision=row[13],
            evidence=tuple(from_json(row[14])),
            reason=row[15],
        )


def _segment_row(
    note_id: str,
    revision: int,
    claim: str,
    confidence: float,
    valid_from: int,
    model: str | None,
    vector: bytes | None,
) -> SegmentRow:
    said = from_json(claim)
    return SegmentRow(
        note_id,
        revision,
        said["statement"],
        said.get("subject", ""),
        said.get("aspect", ""),
        said.get("value", ""),
        said.get("applies_when", ""),
        said.get("about", {}),
        confidence,
        valid_from,
        model or "",
        vector or b"",
    )


def _places(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
