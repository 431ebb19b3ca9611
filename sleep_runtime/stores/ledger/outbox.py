"""The outbox: notes whose newest revision the index may not show yet, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ports import Mark, NoteVector
from sleep_runtime.stores.ledger import meta, rows
from sleep_runtime.stores.ledger.schema import newest, note_vectors, outbox


def mark(tx: sa.Connection, revisions: Mapping[str, int]) -> None:
    """Mark notes for projection, each at least at this revision."""
    if not revisions:
        return
    statement = insert(outbox)
    highest = sa.func.max(outbox.c.revision, statement.excluded.revision)
    tx.execute(
        statement.on_conflict_do_update(index_elements=["note_id"], set_={"revision": highest}),
        [{"note_id": note_id, "revision": revisions[note_id]} for note_id in sorted(revisions)],
    )


def clear(tx: sa.Connection, marks: Sequence[Mark]) -> int:
    """Clear marks, except where the note was marked again at a higher revision."""
    cleared = 0
    for one in marks:
        done = sa.delete(outbox).where(
            outbox.c.note_id == one.note_id, outbox.c.revision <= one.revision
        )
        cleared += tx.execute(done).rowcount
    return cleared


def mark_all(tx: sa.Connection, generation: int) -> int:
    """Mark every note at its newest revision. Returns how many there are."""
    _not_backwards(tx, generation)
    found = {row.note_id: row.revision for row in tx.execute(sa.select(newest))}
    mark(tx, found)
    return len(found)


def flip(tx: sa.Connection, generation: int) -> None:
    """Let readers use a generation that has been built."""
    _not_backwards(tx, generation)
    meta.raise_to(tx, meta.GENERATION, generation)


def _not_backwards(tx: sa.Connection, generation: int) -> None:
    current = meta.read(tx, meta.GENERATION)
    if generation < current:
        raise StoreError(
            f"index generation {generation} is over, readers use {current}",
            field="generation",
            mend="build a generation higher than the current one",
        )


def store_vectors(tx: sa.Connection, vectors: Sequence[NoteVector]) -> int:
    """Keep vectors of notes that exist, unless a vector of a later wording is there already.

    Returns how many rows were written.
    """
    return sum(_store_batch(tx, batch) for batch in rows.batches(vectors))


def _store_batch(tx: sa.Connection, vectors: Sequence[NoteVector]) -> int:
    names = sa.select(newest.c.note_id).where(newest.c.note_id.in_([v.note_id for v in vectors]))
    known = set(tx.execute(names).scalars())
    kept = [rows.vector_values(vector) for vector in vectors if vector.note_id in known]
    if not kept:
        return 0
    statement = insert(note_vectors)
    return tx.execute(
        statement.on_conflict_do_update(
            index_elements=["note_id"],
            set_={name: statement.excluded[name] for name in ("revision", "model", "vector")},
            where=statement.excluded.revision >= note_vectors.c.revision,
        ),
        kept,
    ).rowcount
