"""Taking a run back: the look at what it comes to, and the one transaction that does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from sleep_runtime.consolidation.undo import plan_undo
from sleep_runtime.core.errors import Conflict, StaleRevision
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import NoteVector
from sleep_runtime.core.proposal import CommittedDelta, Verdict
from sleep_runtime.core.run import CursorRange, Lease, Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Folded, Undoing
from sleep_runtime.stores.ledger import (
    commits,
    leases,
    meta,
    opinions,
    outbox,
    reviews,
    rows,
    runs,
    schedules,
    schema,
)
from sleep_runtime.stores.ledger.schedules import Entry
from sleep_runtime.stores.ledger.schema import evidence_changes, newest, note_evidence, under

LEASE_S = 60.0


def look(tx: sa.Connection, run_id: str, *, now: datetime) -> Undoing:
    """What undoing the run would do. Raises ``NotFound``, and ``Conflict`` when it cannot be."""
    target = runs.get(tx, run_id)
    _refuse_unless_undoable(tx, target)
    numbers, deltas = _from(tx, target)
    history = _history(tx, {delta.note_id for delta in deltas})
    in_force = sa.select(schema.notes).select_from(rows.NEWEST_NOTES)
    in_force = in_force.where(
        newest.c.scope == str(target.scope), newest.c.status == NoteStatus.ACTIVE.value
    )
    plan = plan_undo(
        target,
        numbers,
        deltas,
        history,
        [note for note in map(rows.note, tx.execute(in_force)) if note.id not in history],
        opinions.known(tx, target.scope, Verdict.EXCLUDES),
        now=now,
    )
    folded = _folded(tx, target.scope, [item.delta.note.id for item in plan.restored])
    folds = {one.scope for one in folded} | _spoke(tx, target.scope, _turned(plan, history))
    return plan.model_copy(update={"folded": tuple(folded), "folds": tuple(sorted(folds))})


def undo(
    tx: sa.Connection,
    run_id: str,
    *,
    owner: str,
    cascade: bool,
    vectors: Mapping[str, bytes],
    vector_model: str,
    now: datetime,
    policy: TriggerPolicy,
) -> Undoing:
    """Take the run back in this transaction. The same ``owner`` asking again gets the same run.

    Raises ``Conflict`` when it cannot be undone as things stand, ``StaleRevision`` when a wording
    that comes back has no vector in ``vectors`` (by statement).
    """
    target = runs.get(tx, run_id)
    if target.undone_by and (done := runs.get(tx, target.undone_by)).owner == owner:
        return Undoing(target=run_id, scope=target.scope, run=done)
    plan = look(tx, run_id, now=now)
    if plan.later and not cascade:
        raise Conflict(
            f"later nights built on it: {_told(plan)}",
            field="cascade",
            mend="undo these too, newest first, with --cascade (or cascade: true)",
        )
    _refuse_over_erasure(tx, plan)
    lease = leases.acquire(tx, target.scope, owner, now=now, ttl_s=LEASE_S)
    if lease is None:
        raise Conflict(
            f"a night of {target.scope} is under way",
            field="run",
            mend="wait until it is over: sleep-runtime status",
        )
    run = _write(tx, plan, lease, now=now)
    _write_vectors(tx, plan, vectors, vector_model)
    _mark_folds(tx, plan, run, now=now, policy=policy)
    leases.release(tx, lease)
    return plan.model_copy(update={"run": run})


def reworded(tx: sa.Connection, plan: Undoing) -> list[str]:
    """The statements that come back in other words than the newest revision has."""
    was = {note.id: note for note in _newest(tx, [item.delta.note.id for item in plan.restored])}
    return sorted(
        {
            item.delta.note.claim.statement
            for item in plan.restored
            if item.delta.note.claim.statement != was[item.delta.note.id].claim.statement
        }
    )


# ---------------------------------------------------------------------------- may it be?


def _refuse_unless_undoable(tx: sa.Connection, target: Run) -> None:
    if target.undone_by:
        raise Conflict(
            f"run {target.id} was undone by {target.undone_by}",
            field="run",
            mend=f"to bring it back, undo that one: sleep-runtime runs undo {target.undone_by}",
        )
    if target.trigger is Trigger.ERASURE:
        raise Conflict(
            f"run {target.id} erased what somebody said", field="run", mend="that is not undone"
        )
    unfinished = sa.select(schema.runs.c.id).where(
        schema.runs.c.scope == str(target.scope), schema.runs.c.state.in_(schedules.UNFINISHED)
    )
    if open_run := tx.execute(unfinished.limit(1)).scalar():
        raise Conflict(
            f"run {open_run} of {target.scope} is not over",
            field="run",
            mend="wait for it: sleep-runtime consolidate --wait",
        )
    changed = sa.select(schema.deltas.c.ordinal).where(schema.deltas.c.run_id == target.id)
    if tx.execute(changed.limit(1)).first() is None:
        raise Conflict(f"run {target.id} changed nothing", field="run", mend="nothing to undo")


def _refuse_over_erasure(tx: sa.Connection, plan: Undoing) -> None:
    """What a note was before an erasure rested on more than is left."""
    for item in plan.later:
        if runs.get(tx, item.run_id).trigger is Trigger.ERASURE:
            raise Conflict(
                f"run {item.run_id} erased what somebody said since",
                field="run",
                mend="let the next night decide on what is left",
            )


def _told(plan: Undoing) -> str:
    return "; ".join(
        f"{item.run_id} (night {item.number}) changed {', '.join(item.notes)}"
        for item in plan.later
    )


# ---------------------------------------------------------------------------- the snapshot


def _from(tx: sa.Connection, target: Run) -> tuple[dict[str, int], list[CommittedDelta]]:
    """The runs of the scope from the target on, and what they changed."""
    table = schema.runs.c
    later = sa.select(table.id, table.number).where(
        table.scope == str(target.scope), table.number >= target.number
    )
    numbers = {row.id: row.number for row in tx.execute(later)}
    deltas = [
        rows.delta(row)
        for batch in rows.batches(sorted(numbers))
        for row in tx.execute(sa.select(schema.deltas).where(schema.deltas.c.run_id.in_(batch)))
    ]
    return numbers, deltas


def _history(tx: sa.Connection, note_ids: Iterable[str]) -> dict[str, list[Note]]:
    found: dict[str, list[Note]] = defaultdict(list)
    table = schema.notes
    for batch in rows.batches(sorted(note_ids)):
        chains = sa.select(table).where(table.c.note_id.in_(batch)).order_by(table.c.revision)
        for row in tx.execute(chains):
            found[row.note_id].append(rows.note(row))
    return dict(found)


def _newest(tx: sa.Connection, note_ids: Sequence[str]) -> list[Note]:
    query = sa.select(schema.notes).select_from(rows.NEWEST_NOTES)
    return [
        rows.note(row)
        for batch in rows.batches(note_ids)
        for row in tx.execute(query.where(newest.c.note_id.in_(batch)))
    ]


def _folded(tx: sa.Connection, scope: Scope, note_ids: Sequence[str]) -> list[Folded]:
    """Copies below that folded into one of these notes, by scope and id."""
    query = sa.select(schema.notes).select_from(rows.NEWEST_NOTES)
    query = query.where(
        under(newest.c.scope, scope),
        newest.c.scope != str(scope),
        newest.c.status == NoteStatus.RETIRED.value,
    )
    found = [
        rows.note(row)
        for batch in rows.batches(note_ids)
        for row in tx.execute(query.where(schema.notes.c.superseded_by.in_(batch)))
    ]
    found.sort(key=lambda note: (note.scope, note.id))
    return [Folded(scope=n.scope, note_id=n.id, into=n.superseded_by) for n in found]


def _turned(plan: Undoing, history: Mapping[str, Sequence[Note]]) -> list[str]:
    """The notes that come into force or end by the undo: it matters to the scopes below."""
    active = NoteStatus.ACTIVE
    return [
        item.delta.note.id
        for item in plan.restored
        if (item.delta.note.status is active)
        is not (history[item.delta.note.id][-1].status is active)
    ]


def _spoke(tx: sa.Connection, scope: Scope, note_ids: Sequence[str]) -> set[Scope]:
    """The scopes below that said one of these, and the teams between."""
    found: set[Scope] = set()
    for batch in rows.batches(note_ids):
        said = sa.select(note_evidence.c.scope).where(note_evidence.c.note_id.in_(batch)).distinct()
        for path in tx.execute(said).scalars():
            found.update(Scope(path).lineage())
    return {one for one in found if one != scope and scope.covers(one)}


# ---------------------------------------------------------------------------- writing


def _write(tx: sa.Connection, plan: Undoing, lease: Lease, *, now: datetime) -> Run:
    """The undo's own run, committed: its projection is done like every other's."""
    last = runs.last(tx, plan.scope)
    number = last.number + 1 if last else 1
    done = runs.cursors_of(tx, plan.scope)
    run = Run(
        id=stable_id("run", plan.scope, str(number)),
        scope=plan.scope,
        number=number,
        trigger=Trigger.UNDO,
        state=RunState.COMMITTED,
        epoch=lease.epoch,
        owner=lease.owner,
        planned_at=now,
        updated_at=now,
        journal=CursorRange(after=done.journal, upto=done.journal),
        observations=CursorRange(after=done.observations, upto=done.observations),
        counts=_counts(plan),
        reason=f"undid {', '.join(plan.undoes)}",
        undoes=plan.undoes,
    )
    tx.execute(sa.insert(schema.runs).values(rows.run_values(run) | {"max_observations": 0}))
    for run_id in plan.undoes:
        _take_back(tx, runs.get(tx, run_id), run)
    reviews.reopen(tx, plan.undoes)
    changes = [item.delta for item in plan.restored]
    commits.write(tx, run, changes, [item.restores for item in plan.restored])
    outbox.mark(tx, {delta.note.id: delta.note.revision for delta in changes})
    meta.bump(tx, [str(run.scope)])
    return run


def _counts(plan: Undoing) -> dict[str, int]:
    counts = {"undone.runs": len(plan.undoes)}
    for item in plan.restored:
        name = f"delta.{item.delta.kind.value}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _take_back(tx: sa.Connection, target: Run, by: Run) -> None:
    """Mark the run as undone, and give its evidence the state it had before it.

    What an undone undo had taken back is in effect again.
    """
    runs.change(tx, target, undone_by=by.id)
    for run_id in target.undoes:
        runs.change(tx, runs.get(tx, run_id), undone_by="")
    table = note_evidence.c
    mine = [
        row._asdict()
        for row in tx.execute(
            sa.select(note_evidence).where(table.run_id == target.id, table.undone.is_(False))
        )
    ]
    before = [{**row, "undone": True} for row in mine]
    changed = sa.select(evidence_changes).where(evidence_changes.c.run_id == target.id)
    before += [row._asdict() for row in tx.execute(changed)]
    commits.weigh(tx, by.id, before)


def _write_vectors(
    tx: sa.Connection, plan: Undoing, vectors: Mapping[str, bytes], vector_model: str
) -> None:
    """A note in its present words keeps its vector; one in earlier words gets that of ``vectors``.

    Runs after the notes were written: a vector of an older revision is still that of the last
    words but the restored ones.
    """
    note_ids = [item.delta.note.id for item in plan.restored]
    table = schema.note_vectors
    known = {
        row.note_id: rows.vector(row)
        for batch in rows.batches(note_ids)
        for row in tx.execute(sa.select(table).where(table.c.note_id.in_(batch)))
    }
    words = {
        (note.id, note.revision): note.claim.statement
        for chain in _history(tx, note_ids).values()
        for note in chain
    }
    kept = []
    for item in plan.restored:
        note, vector = item.delta.note, known.get(item.delta.note.id)
        if note.claim.statement in vectors:
            kept.append(_vector(note, vectors[note.claim.statement], vector_model))
        elif vector and words.get((note.id, vector.revision)) == note.claim.statement:
            kept.append(_vector(note, vector.vector, vector.model))
        elif vector:
            raise StaleRevision(
                f"note {note.id} comes back in words that have no vector",
                field="vectors",
                mend="look at the undo again and embed what it rewords",
            )
    outbox.store_vectors(tx, kept)


def _vector(note: Note, vector: bytes, model: str) -> NoteVector:
    return NoteVector(note_id=note.id, revision=note.revision, model=model, vector=vector)


def _mark_folds(
    tx: sa.Connection, plan: Undoing, run: Run, *, now: datetime, policy: TriggerPolicy
) -> None:
    """Let the scopes below look again, and keep this one due until it is projected."""

    def mark(entry: Entry) -> Entry:
        return entry.having(folds=entry.schedule.folds + 1)

    schedules.revise(tx, plan.folds, mark, policy=policy, now=now)
    schedules.revise(tx, [run.scope], lambda entry: entry, policy=policy, now=now)
