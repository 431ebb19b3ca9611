"""Dossiers: the notes of one scope with everything that speaks for them, read in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sleep_runtime.core.note import MAX_WORDINGS, Dossier, Evidence, Note, wordings
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows, schema

EVIDENCE_ORDER = (
    schema.note_evidence.c.note_id,
    schema.note_evidence.c.ts,
    schema.note_evidence.c.event_id,
    schema.note_evidence.c.observation_id,
)
# What a night reads over and over, built once: building a statement costs more than running it.
_OF: sa.BindParameter[Any] = sa.bindparam("of")
NOTES_OF = (
    sa.select(schema.notes)
    .select_from(rows.NEWEST_NOTES)
    .where(schema.newest.c.scope == _OF)
    .order_by(schema.newest.c.note_id)
)
EVIDENCE_OF = (
    sa.select(schema.note_evidence)
    .join(schema.newest, schema.newest.c.note_id == schema.note_evidence.c.note_id)
    .where(schema.newest.c.scope == _OF)
    .order_by(*EVIDENCE_ORDER)
)
SAID = sa.select(schema.observations).where(
    schema.observations.c.id.in_(sa.bindparam("ids", expanding=True)),
    schema.observations.c.feedback_on == "",
)


def of(tx: sa.Connection, scope: Scope) -> list[Dossier]:
    """The dossiers of exactly this scope, by note id."""
    own = {"of": str(scope)}
    found = [rows.note(row) for row in tx.execute(NOTES_OF, own)]
    evidence: dict[str, list[Evidence]] = {note.id: [] for note in found}
    for row in tx.execute(EVIDENCE_OF, own):
        evidence[row.note_id].append(rows.evidence(row))
    seen = said(tx, {name for pieces in evidence.values() for name in first_said(pieces)})
    return [dossier(note, evidence[note.id], seen) for note in found]


def said(tx: sa.Connection, observation_ids: set[str]) -> dict[str, Observation]:
    """These observations by id, those that only vote left out."""
    return {
        row.id: rows.observation(row)
        for batch in rows.batches(sorted(observation_ids))
        for row in tx.execute(SAID, {"ids": batch})
    }


def first_said(evidence: Sequence[Evidence]) -> list[str]:
    """The first observations behind a note: however often it was said, a bounded number."""
    for_it = [item.observation_id for item in evidence if item.weight > 0]
    return list(dict.fromkeys(for_it))[:MAX_WORDINGS]


def dossier(note: Note, evidence: Sequence[Evidence], seen: Mapping[str, Observation]) -> Dossier:
    """A note with all of its evidence, and those of its first observations that were ``seen``."""
    first = [seen[name] for name in first_said(evidence) if name in seen]
    names = {item.observation_id for item in evidence if item.weight > 0}
    return Dossier(
        note=note,
        evidence=tuple(item for item in evidence if not item.undone),
        wordings=wordings(note.claim, (item.claim for item in first)),
        undone=tuple(item.event_id for item in evidence if item.undone),
        said=tuple(first) if len(first) == len(names) else (),
    )
