"""The commit: everything a night changed becomes true in one transaction, or nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.errors import StaleRevision, StoreError
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import Commit, NoteVector
from sleep_runtime.core.proposal import Delta
from sleep_runtime.core.run import Lease, Run, RunState
from sleep_runtime.core.spending import NO_COST, Cost
from sleep_runtime.stores.ledger import (
    meta,
    observations,
    opinions,
    outbox,
    reviews,
    rows,
    runs,
    schedules,
)
from sleep_runtime.stores.ledger.schedules import Entry
from sleep_runtime.stores.ledger.schema import (
    deltas,
    evidence_changes,
    newest,
    note_evidence,
    notes,
)

_NEWEST = insert(newest)
_MOVE_NEWEST = _NEWEST.on_conflict_do_update(
    index_elements=["note_id"],
    set_={name: _NEWEST.excluded[name] for name in ("revision", "scope", "status")},
)
_EVIDENCE = insert(note_evidence)
_WEIGH_EVIDENCE = _EVIDENCE.on_conflict_do_update(
    index_elements=["note_id", "event_id", "observation_id"],
    set_={name: _EVIDENCE.excluded[name] for name in ("weight", "undone")},
)
_KEY = ("note_id", "event_id", "observation_id")
_THIS_PIECE = [note_evidence.c[name] == sa.bindparam(f"of_{name}") for name in _KEY]
# What a piece of evidence was before a run changed it for the first time.
_WAS = (
    insert(evidence_changes)
    .from_select(
        ["run_id", *_KEY, "weight", "undone"],
        sa.select(
            sa.bindparam("by_run", type_=sa.Text),
            *(note_evidence.c[name] for name in (*_KEY, "weight", "undone")),
        ).where(*_THIS_PIECE),
    )
    .on_conflict_do_nothing(index_elements=["run_id", *_KEY])
)
_WEIGH = (
    sa.update(note_evidence)
    .where(*_THIS_PIECE)
    .values(weight=sa.bindparam("new_weight"), undone=sa.bindparam("new_undone"))
)


def commit(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    what: Commit,
    *,
    now: datetime,
    policy: TriggerPolicy,
    cost: Cost = NO_COST,
) -> Run:
    """reflected -> committed. Raises ``StaleRevision`` when a note moved on since it was read."""
    run = runs.held(tx, lease, run_id)
    if not runs.stands_at(run, RunState.REFLECTED):
        return run
    changes = [_recorded(delta, now) for delta in what.deltas]
    revisions = _follow(tx, run, changes)
    done = runs.change(
        tx,
        runs.charge(tx, run, cost, now=now),
        state=RunState.COMMITTED,
        counts=runs.added(run.counts, what.counts),
        reason=what.reason,
        updated_at=now,
    )
    if changes:
        write(tx, done, changes)
        outbox.mark(tx, revisions)
        meta.bump(tx, [str(run.scope)])
    _write_vectors(tx, what, revisions)
    observed = run.observations.upto if what.observed_upto is None else what.observed_upto
    runs.move_cursors(tx, run.scope, journal=0, observed=observed)
    _mark_folds(tx, run, what, now=now, policy=policy)
    reviews.close(tx, run, what.applied, what.expired)
    reviews.ask(tx, run, what.questions, now=now)
    opinions.remember(tx, run.scope, what.asked, now=now)
    _close_schedule(tx, run, observed, now=now, policy=policy)
    return done


def _recorded(delta: Delta, now: datetime) -> Delta:
    """The change as it is known from this instant on, not from when its run was planned.

    Else a note could appear in what was known before anybody could read it.
    """
    return delta.model_copy(update={"note": delta.note.model_copy(update={"recorded_at": now})})


def _follow(tx: sa.Connection, run: Run, changes: Sequence[Delta]) -> dict[str, int]:
    """The newest revision each note will have. Raises before anything is written."""
    stored = _revisions(tx, sorted({delta.note.id for delta in changes}))
    revisions: dict[str, int] = {}
    for delta in changes:
        note = delta.note
        if note.scope != run.scope:
            raise StoreError(
                f"run {run.id} of {run.scope} cannot write {note.id} of {note.scope}",
                field="delta.note.scope",
            )
        current = revisions.get(note.id, stored.get(note.id, 0))
        if note.revision != current + 1:
            raise StaleRevision(
                f"note {note.id} is at revision {current}, the change is for {note.revision}",
                field="delta.note.revision",
                mend="read the note again and decide anew",
            )
        revisions[note.id] = note.revision
    return revisions


def _revisions(tx: sa.Connection, note_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for batch in rows.batches(note_ids):
        for row in tx.execute(sa.select(newest).where(newest.c.note_id.in_(batch))):
            found[row.note_id] = row.revision
    return found


def write(
    tx: sa.Connection,
    run: Run,
    changes: Sequence[Delta],
    restores: Sequence[int] | None = None,
) -> None:
    """Write changes of a committed run; in an undo each with the revision that it restores."""
    back: Sequence[int | None] = restores or [None] * len(changes)
    tx.execute(sa.insert(notes), [rows.note_values(delta.note) for delta in changes])
    tx.execute(
        sa.insert(deltas),
        [
            rows.delta_values(run, ordinal, delta, revision)
            for ordinal, (delta, revision) in enumerate(zip(changes, back, strict=True))
        ],
    )
    heads = {delta.note.id: delta.note for delta in changes}
    tx.execute(
        _MOVE_NEWEST,
        [
            {"note_id": n.id, "revision": n.revision, "scope": str(n.scope), "status": n.status}
            for n in heads.values()
        ],
    )
    _write_evidence(tx, run, changes)


def _write_evidence(tx: sa.Connection, run: Run, changes: Sequence[Delta]) -> None:
    """Evidence named again counts with its newest weight, once."""
    values = [
        rows.evidence_values(delta.note.id, evidence, run.id)
        for delta in changes
        for evidence in delta.evidence
    ]
    if values:
        tx.execute(_WAS, [_piece(value, run.id) for value in values])
        tx.execute(_WEIGH_EVIDENCE, values)


def weigh(tx: sa.Connection, run_id: str, pieces: Sequence[Mapping[str, Any]]) -> None:
    """Give stored evidence these weights, and remember for the run what it was before."""
    if not pieces:
        return
    tx.execute(_WAS, [_piece(row, run_id) for row in pieces])
    tx.execute(
        _WEIGH,
        [
            {**_piece(row, run_id), "new_weight": row["weight"], "new_undone": row["undone"]}
            for row in pieces
        ],
    )


def _piece(row: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    return {"by_run": run_id, **{f"of_{name}": row[name] for name in _KEY}}


def _write_vectors(tx: sa.Connection, what: Commit, revisions: Mapping[str, int]) -> None:
    unknown = sorted(set(what.vectors) - set(revisions))
    if unknown:
        raise StoreError(f"{unknown[0]} has a vector but no delta", field="commit.vectors")
    outbox.store_vectors(
        tx,
        [
            NoteVector(
                note_id=note_id, revision=revisions[note_id], model=what.vector_model, vector=vector
            )
            for note_id, vector in sorted(what.vectors.items())
        ],
    )


def _close_schedule(
    tx: sa.Connection, run: Run, observed: int, *, now: datetime, policy: TriggerPolicy
) -> None:
    """What the run consumed is done; what arrived meanwhile, or was too much for it, stays."""
    left = observations.pending(tx, run.scope, after=max(observed, run.observations.after))

    def close(entry: Entry) -> Entry:
        was = entry.schedule
        closed = runs.anew(entry).having(
            observations_done=was.observations_seen - left,
            folds=max(0, was.folds - run.folds),
            reviews=max(0, was.reviews - run.reviews),
            last_run_at=now,
            pending_since=None,
        )
        requested = "" if closed.schedule.idle else was.requested
        return replace(closed.having(requested=requested), not_before=None)

    schedules.revise(tx, [run.scope], close, policy=policy, now=now)


def _mark_folds(
    tx: sa.Connection, run: Run, what: Commit, *, now: datetime, policy: TriggerPolicy
) -> None:
    """Let the scopes below look at what became active here."""
    asked = schedules.asked_of(tx, run)

    def mark(entry: Entry) -> Entry:
        return schedules.passed_on(asked, entry.having(folds=entry.schedule.folds + 1))

    schedules.revise(tx, sorted(set(what.folds)), mark, policy=policy, now=now)
