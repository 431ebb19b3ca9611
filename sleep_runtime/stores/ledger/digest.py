"""The digest: one hash of what was learned, to compare an interrupted night with a quiet one.

It covers notes with every revision, their evidence and the reasons of their changes, the
observations, and how far every scope is done. It leaves out what depends on when and by whom the
work was done: run ids, epochs, owners, the clock, and the order in which scopes finished (an
observation's seq; a cursor over them counts as the ids that are still past it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger.schema import (
    cursors,
    deltas,
    note_evidence,
    notes,
    observations,
    observed_below,
    to_us,
)

_NOTES = tuple(
    column
    for column in notes.c
    if column.name not in ("recorded_at", "valid_from", "valid_to", "confidence")
)
_EVIDENCE = tuple(column for column in note_evidence.c if column.name != "run_id")
_DELTAS = (deltas.c.note_id, deltas.c.revision, deltas.c.kind, deltas.c.code, deltas.c.reason)
_OBSERVATIONS = tuple(
    column for column in observations.c if column.name not in ("seq", "org", "team")
)


def digest_of(tx: sa.Connection) -> str:
    """SHA-256 as hex digits. Streams: it holds one row at a time."""
    sha = hashlib.sha256()
    for record in _records(tx):
        line = canonical_json(record).encode("utf-8", "surrogatepass")
        sha.update(len(line).to_bytes(8, "big"))
        sha.update(line)
    return sha.hexdigest()


def _records(tx: sa.Connection) -> Iterator[list[Any]]:
    confidence = sa.func.round(notes.c.confidence, 6)
    yield from _rows(tx, "note", sa.select(*_NOTES, confidence), notes.primary_key.columns)
    yield from _rows(tx, "delta", sa.select(*_DELTAS), _DELTAS)
    evidence = sa.select(*_EVIDENCE)
    yield from _rows(tx, "evidence", evidence, note_evidence.primary_key.columns)
    yield from _rows(tx, "observation", sa.select(*_OBSERVATIONS), [observations.c.id])
    for row in tx.execute(sa.select(cursors).order_by(cursors.c.scope)).all():
        yield ["cursor", row.scope, row.journal]
        scope = Scope(row.scope)
        past = sa.select(observations.c.id).where(
            observed_below(scope), observations.c.seq > row.observations
        )
        yield from _rows(tx, "past", past, [observations.c.id])


def _rows(
    tx: sa.Connection, kind: str, statement: sa.Select[Any], order: Any
) -> Iterator[list[Any]]:
    for row in tx.execute(statement.order_by(*order)):
        yield [kind, *(to_us(value) if hasattr(value, "tzinfo") else value for value in row)]
