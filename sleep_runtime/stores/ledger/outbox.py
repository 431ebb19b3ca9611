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
    tx.execute(
        _MARK,
        [{"note_id": note_id, "revision": revisions[note_id]} for note_id in sorted(revisions)],
    )


def clear(tx: sa.Connection, marks: Sequence[Mark]) -> int:
    """Clear marks, except where the note was marked again at a higher revision."""
    done = [{"of": one.note_id, "upto": one.revision} for one in marks]
    return tx.execute(_CLEAR, done).rowcount if done else 0


def mark_all(tx: sa.Connection, generation: int) -> int:
    """Mark every note at its newest revision. Returns how many there are."""
    _not_backwards(tx, generation)
    every = sa.select(newest.c.note_id, newest.c.revision).where(sa.true())
    statement = insert(outbox).from_select(["note_id", "revision"], every)
    highest = sa.func.max(outbox.c.revision, statement.excluded.revision)
    return tx.execute(
        statement.on_conflict_do_update(index_elements=["note_id"], set_={"revision": highest})
    ).rowcount


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


def store_vectors(tx: sa.Connection, vectors: Sequence[NoteVector]) -> set[str]:
    """Keep vectors of notes that exist, unless a vector of a later wording is there already.

    Returns the scopes of the notes whose vector was written.
    """
    return {scope for batch in rows.batches(vectors) for scope in _store_batch(tx, batch)}


def _store_batch(tx: sa.Connection, vectors: Sequence[NoteVector]) -> set[str]:
    known = _scopes_and_revisions(tx, [vector.note_id for vector in vectors])
    kept = {
        vector.note_id: rows.vector_values(vector)
        for vector in sorted(vectors, key=lambda vector: vector.revision)
        if vector.note_id in known and vector.revision >= known[vector.note_id][1]
    }
    if kept:
        tx.execute(_KEEP_VECTOR, list(kept.values()))
    return {known[note_id][0] for note_id in kept}


def _scopes_and_revisions(tx: sa.Connection, note_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The scope of each of these notes that exists, and the revision of the vector it has."""
    found = tx.execute(_PLACES, {"notes": note_ids})
    return {row.note_id: (row.scope, row.revision or 0) for row in found}


_NEW_MARK = insert(outbox)
_MARK = _NEW_MARK.on_conflict_do_update(
    index_elements=["note_id"],
    set_={"revision": sa.func.max(outbox.c.revision, _NEW_MARK.excluded.revision)},
)
_CLEAR = sa.delete(outbox).where(
    outbox.c.note_id == sa.bindparam("of"), outbox.c.revision <= sa.bindparam("upto")
)
_PLACES = (
    sa.select(newest.c.note_id, newest.c.scope, note_vectors.c.revision)
    .join(note_vectors, note_vectors.c.note_id == newest.c.note_id, isouter=True)
    .where(newest.c.note_id.in_(sa.bindparam("notes", expanding=True)))
)
_VECTOR = insert(note_vectors)
_KEEP_VECTOR = _VECTOR.on_conflict_do_update(
    index_elements=["note_id"],
    set_={name: _VECTOR.excluded[name] for name in ("revision", "model", "vector")},
)
