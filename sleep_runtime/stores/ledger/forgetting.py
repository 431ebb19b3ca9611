"""Forgetting: the ledger's part of an erasure, in one transaction.

First what was said goes, then what rested on it alone; what others support too is derived anew
from what remains. A crash leaves all of it or nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sleep_runtime.consolidation import departed
from sleep_runtime.consolidation.erase import lowered
from sleep_runtime.core.erasure import VERSION_STEP, Erasure, ErasureState, Forgotten, Kept
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import Note, NoteStatus, Support
from sleep_runtime.core.observation import Claim, Observation
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import NoteVector
from sleep_runtime.core.proposal import Delta
from sleep_runtime.core.run import CursorRange, Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import (
    commits,
    dossiers,
    erasing,
    meta,
    outbox,
    rows,
    runs,
    schedules,
    schema,
)
from sleep_runtime.stores.ledger.schedules import Entry
from sleep_runtime.stores.ledger.schema import under
from sleep_runtime.stores.ledger.scrubbing import ERASED, Scrubber, delete_of_runs
from sleep_runtime.stores.needles import Wanted

_evidence = schema.note_evidence
_observations = schema.observations


def forget(
    tx: sa.Connection,
    erasure: Erasure,
    wanted: Wanted,
    *,
    vectors: Mapping[str, bytes] | None,
    vector_model: str,
    policy: Policy,
) -> Forgotten:
    """Take everything that is erased out of the ledger. Done again, it says what it did.

    ``vectors`` are those of new wordings, by statement; None: they are left to be made later. With
    any ``lacking`` in the answer the caller takes the transaction back.
    """
    if erasure.done_with(ErasureState.FORGOTTEN):
        return Forgotten(
            counts=erasure.counts,
            kept=tuple(Kept.model_validate(one) for one in erasure.receipt.get("kept", ())),
        )
    return _Forgetting(tx, erasure, wanted, policy).run(vectors, vector_model)


class _Forgetting:
    """One run of it: what was found so far, and the steps that find more."""

    def __init__(self, tx: sa.Connection, erasure: Erasure, wanted: Wanted, policy: Policy) -> None:
        self._tx = tx
        self._erasure = erasure
        self._wanted = wanted
        self._target = wanted.target
        self._policy = policy
        self._now = erasure.requested_at
        self._org = self._target.scope.org
        self._counts: Counter[str] = Counter()
        self._events = frozenset(wanted.events)
        self._gone: dict[str, str] = {}
        self._touched: dict[str, Note] = {}
        self._lacking: list[str] = []
        self._seen: set[str] = set()

    def run(self, vectors: Mapping[str, bytes] | None, model: str) -> Forgotten:
        self._seen.update(self._versions_of())
        said = self._take_observations()
        self._take_evidence(said)
        names = {*self._events, *said, self._target.session, self._target.event} - {""}
        claims = [item.claim for item in said.values() if not self._still_said(item.claim)]
        scrub = Scrubber(self._tx, self._org, self._wanted.finder(), names=names, claims=claims)
        self._give_up_runs()
        self._touch_tainted(scrub)
        self._take_notes()
        scrub.everything(event_kind=self._target.kind != "scope")
        self._counts.update(scrub.counts)
        kept = self._derive(scrub, vectors, model)
        self._settle_schedules(said)
        if self._lacking:
            return Forgotten(lacking=tuple(sorted(set(self._lacking))))
        meta.bump(self._tx, self._seen, by=VERSION_STEP)
        meta.raise_to(self._tx, meta.FORGOTTEN, meta.read(self._tx, meta.FORGOTTEN) + 1)
        counts = {name: count for name, count in sorted(self._counts.items()) if count}
        erasing.advance(
            self._tx,
            self._erasure.id,
            ErasureState.FORGOTTEN,
            now=self._now,
            counts=counts,
            receipt={"kept": [one.model_dump(mode="json") for one in kept]},
        )
        return Forgotten(counts=counts, kept=tuple(kept))

    def _whole(self, scope: Scope) -> bool:
        """Whether everything of this scope goes."""
        return self._target.kind == "scope" and self._target.scope.covers(scope)

    def _versions_of(self) -> list[str]:
        """Scopes with notes that go whole: whoever caches them has to look again."""
        if self._target.kind != "scope":
            return []
        table = schema.scope_versions.c.scope
        own = sa.select(table).where(under(table, self._target.scope))
        return list(self._tx.execute(own).scalars())

    # ------------------------------------------------------------------ what was said

    def _take_observations(self) -> dict[str, Observation]:
        """Delete what was observed of it; returns that by id."""
        table = _observations.c
        own = sa.select(_observations).where(under(table.scope, self._target.scope))
        if self._target.kind == "session":
            own = own.where(table.session == self._target.session)
        gone: dict[str, Observation] = {}
        for row in self._tx.execute(own).all():
            item = rows.observation(row)
            if self._target.kind == "event" and self._target.event not in item.evidence:
                continue
            if item.id in self._wanted.keeps:
                left = list(self._wanted.keeps[item.id])
                this = table.id == item.id
                self._tx.execute(sa.update(_observations).where(this).values(evidence=left))
                self._counts["observations_lowered"] += 1
            else:
                gone[item.id] = item
        for batch in rows.batches(sorted(gone)):
            self._tx.execute(sa.delete(_observations).where(table.id.in_(batch)))
        self._counts["observations"] = len(gone)
        return gone

    def _still_said(self, claim: Claim) -> bool:
        found = sa.select(_observations.c.id).where(
            _observations.c.org == str(self._org),
            sa.func.json_extract(_observations.c.claim, "$.statement") == claim.statement,
        )
        return self._tx.execute(found.limit(1)).first() is not None

    def _take_evidence(self, said: Iterable[str]) -> None:
        """Delete the evidence; remember which notes lost some."""
        table = _evidence.c
        which = under(table.scope, self._target.scope)
        if self._target.kind == "session":
            which = sa.and_(which, table.session == self._target.session)
        if self._target.kind == "event":
            which = sa.and_(which, table.event_id == self._target.event)
        conditions = [which, *(table.observation_id.in_(b) for b in rows.batches(sorted(said)))]
        for condition in conditions:
            lost = sa.select(table.note_id).where(condition).distinct()
            self._touch(self._tx.execute(lost).scalars())
            self._counts["evidence"] += self._tx.execute(
                sa.delete(_evidence).where(condition)
            ).rowcount
        changes = schema.evidence_changes
        held = sa.exists().where(
            *(table[name] == changes.c[name] for name in ("note_id", "event_id", "observation_id"))
        )
        self._tx.execute(sa.delete(changes).where(~held))

    def _touch(self, note_ids: Iterable[str]) -> None:
        for batch in rows.batches(sorted(set(note_ids) - set(self._touched))):
            query = sa.select(schema.notes).select_from(rows.NEWEST_NOTES)
            for row in self._tx.execute(query.where(schema.newest.c.note_id.in_(batch))).all():
                self._touched[row.note_id] = rows.note(row)

    def _touch_tainted(self, scrub: Scrubber) -> None:
        """Notes that hold erased words though no evidence of theirs went."""
        table = schema.notes.c
        query = sa.select(table.note_id, table.claim, table.reason, table.evidence)
        own = query.where(under(table.scope, self._org))
        self._touch(
            {
                row.note_id
                for row in self._tx.execute(own).all()
                if scrub.tainted([row.claim, row.reason, row.evidence])
            }
        )

    # ------------------------------------------------------------------ runs

    def _give_up_runs(self) -> None:
        """Runs of the scopes that go are deleted; others that read it are planned anew."""
        found = self._tx.execute(
            sa.select(schema.runs).where(
                schema.runs.c.scope.in_([str(s) for s in erasing.concerned(self._tx, self._target)])
            )
        ).all()
        runs_found = [rows.run(row) for row in found]
        whole = [run.id for run in runs_found if self._whole(run.scope)]
        self._counts.update(delete_of_runs(self._tx, whole))
        for run in runs_found:
            if run.id not in whole:
                self._give_up(run)

    def _give_up(self, run: Run) -> None:
        pins = schema.pins
        gone = self._tx.execute(sa.delete(pins).where(pins.c.run_id == run.id))
        self._counts["pins"] += gone.rowcount
        if run.state.terminal or RunState.COMMITTED in (run.state, run.stood_at):
            return
        judged = schema.proposals
        self._tx.execute(sa.delete(judged).where(judged.c.run_id == run.id))
        runs.change(
            self._tx,
            run,
            state=RunState.ABANDONED,
            stood_at=None,
            reason="what it had read was erased",
            updated_at=self._now,
        )
        self._counts["runs_planned_anew"] += 1

    # ------------------------------------------------------------------ notes

    def _take_notes(self) -> None:
        """Delete the notes of scopes that go whole, and those for which nothing speaks any more."""
        if self._target.kind == "scope":
            below = sa.select(schema.newest.c.note_id).where(
                under(schema.newest.c.scope, self._target.scope)
            )
            self._touch(self._tx.execute(below).scalars())
        speaks = self._speaks_for(self._touched)
        for note in list(self._touched.values()):
            if self._whole(note.scope) or note.id not in speaks:
                self._gone[note.id] = note.superseded_by
                self._seen.add(str(note.scope))
                outbox.mark(self._tx, {note.id: note.revision + 1})
                del self._touched[note.id]
        tables = (
            (schema.notes, "revisions"),
            (schema.newest, "notes"),
            (schema.note_vectors, "vectors"),
            (_evidence, "evidence"),
            (schema.deltas, "deltas"),
            (schema.evidence_changes, "evidence_changes"),
        )
        for batch in rows.batches(sorted(self._gone)):
            for table, noun in tables:
                found = self._tx.execute(sa.delete(table).where(table.c.note_id.in_(batch)))
                self._counts[noun] += found.rowcount
        if self._target.kind == "scope":
            self._take_rows_of_scopes()

    def _speaks_for(self, note_ids: Iterable[str]) -> set[str]:
        table = _evidence.c
        found: set[str] = set()
        for batch in rows.batches(sorted(note_ids)):
            left = sa.select(table.note_id).where(
                table.note_id.in_(batch), table.weight > 0, table.undone.is_(False)
            )
            found |= set(self._tx.execute(left.distinct()).scalars())
        return found

    def _take_rows_of_scopes(self) -> None:
        for table in (schema.judgements, schema.reviews):
            gone = sa.delete(table).where(under(table.c.scope, self._target.scope))
            self._counts[table.name] += self._tx.execute(gone).rowcount
        if self._target.scope == self._org:
            for table in (schema.verdicts, schema.spending):
                gone = sa.delete(table).where(table.c.org == str(self._org))
                self._counts[table.name] += self._tx.execute(gone).rowcount

    # ------------------------------------------------------------------ what stays

    def _derive(
        self, scrub: Scrubber, vectors: Mapping[str, bytes] | None, model: str
    ) -> list[Kept]:
        """Write new revisions of what others support, and take the erased out of the old ones."""
        left = departed.listed(self._policy.tiers.departed)
        touched = {note_id: self._claims_for(note_id) for note_id in sorted(self._touched)}
        kept: list[Kept] = []
        for scope in sorted(self._scopes_left()):
            found = departed.dossiers(dossiers.of(self._tx, scope), left)
            deltas = lowered(scope, found, touched, self._gone, policy=self._policy, now=self._now)
            if not deltas:
                continue
            before = {one.note.id: one.note for one in found}
            self._write(scope, deltas)
            for delta in deltas:
                was = before[delta.note.id]
                self._rewrite(scrub, was, delta.note, touched.get(was.id, ()))
                self._vector(was, delta.note, vectors, model)
                if was.id in touched:
                    kept.append(_kept(was, delta))
            self._mark_folds(deltas, before)
        return kept

    def _claims_for(self, note_id: str) -> list[Claim]:
        """What still speaks for a note, in the words it was said in."""
        table = _evidence.c
        query = sa.select(table.observation_id).where(
            table.note_id == note_id, table.weight > 0, table.undone.is_(False)
        )
        names = self._tx.execute(query.distinct().order_by(table.ts, table.event_id)).scalars()
        order = list(dict.fromkeys(names))
        said = dossiers.said(self._tx, set(order))
        return [said[name].claim for name in order if name in said]

    def _scopes_left(self) -> set[Scope]:
        """Scopes with notes that lost evidence, or lost what had taken their place."""
        found = {note.scope for note in self._touched.values()}
        query = sa.select(schema.newest.c.scope).select_from(rows.NEWEST_NOTES)
        for batch in rows.batches(sorted(self._gone)):
            heirs = query.where(schema.notes.c.superseded_by.in_(batch)).distinct()
            found |= {Scope(path) for path in self._tx.execute(heirs).scalars()}
        return found

    def _write(self, scope: Scope, deltas: Sequence[Delta]) -> None:
        """The erasure's own run of a scope: it changed notes, and every change has a run."""
        last = runs.last(self._tx, scope)
        number = last.number + 1 if last else 1
        done = runs.cursors_of(self._tx, scope)
        epoch = sa.select(schema.leases.c.epoch).where(schema.leases.c.scope == str(scope))
        run = Run(
            id=stable_id("run", scope, str(number)),
            scope=scope,
            number=number,
            trigger=Trigger.ERASURE,
            state=RunState.PROJECTED,
            epoch=self._tx.execute(epoch).scalar() or 0,
            owner=erasing.owner(self._erasure.id),
            planned_at=self._now,
            updated_at=self._now,
            journal=CursorRange(after=done.journal, upto=done.journal),
            observations=CursorRange(after=done.observations, upto=done.observations),
            counts={f"delta.{delta.code}": len(deltas) for delta in deltas},
            reason="what somebody said was erased",
        )
        values = rows.run_values(run) | {"max_observations": 0}
        self._tx.execute(sa.insert(schema.runs).values(values))
        commits.write(self._tx, run, deltas)
        outbox.mark(self._tx, {delta.note.id: delta.note.revision for delta in deltas})
        self._seen.add(str(scope))
        self._counts["notes_kept"] += len(deltas)

    def _rewrite(self, scrub: Scrubber, was: Note, note: Note, said: Sequence[Claim]) -> None:
        """Earlier revisions say nothing that was erased, and claim no more support than is left."""
        by_words = {claim.statement: claim for claim in said}
        table = schema.notes
        chain = sa.select(table).where(table.c.note_id == was.id, table.c.revision < note.revision)
        for row in self._tx.execute(chain).all():
            old = rows.note(row)
            changed = _without(old, note, by_words, scrub, self._events, self._gone)
            if changed == old:
                continue
            this = sa.and_(table.c.note_id == old.id, table.c.revision == old.revision)
            self._tx.execute(sa.update(table).where(this).values(rows.note_values(changed)))
            self._counts["revisions_rewritten"] += 1

    def _vector(
        self, was: Note, note: Note, vectors: Mapping[str, bytes] | None, model: str
    ) -> None:
        statement = note.claim.statement
        if statement == was.claim.statement:
            return
        table = schema.note_vectors
        self._tx.execute(sa.delete(table).where(table.c.note_id == note.id))
        self._counts["vectors"] += 1
        if vectors is None:
            return
        if statement not in vectors:
            self._lacking.append(statement)
            return
        vector = NoteVector(
            note_id=note.id, revision=note.revision, model=model, vector=vectors[statement]
        )
        outbox.store_vectors(self._tx, [vector])

    # ------------------------------------------------------------------ schedules

    def _mark_folds(self, deltas: Sequence[Delta], before: Mapping[str, Note]) -> None:
        """Let the scopes below look again at copies of what left view here."""
        left = [
            delta.note.id
            for delta in deltas
            if before[delta.note.id].status is NoteStatus.ACTIVE
            and delta.note.status is not NoteStatus.ACTIVE
        ]
        below: set[Scope] = set()
        for batch in rows.batches(left):
            said = sa.select(_evidence.c.scope).where(_evidence.c.note_id.in_(batch)).distinct()
            for path in self._tx.execute(said).scalars():
                below.update(Scope(path).lineage())
        own = {delta.note.scope for delta in deltas}
        wanted = {s for s in below if any(o != s and o.covers(s) for o in own)}

        def mark(entry: Entry) -> Entry:
            return entry.having(folds=entry.schedule.folds + 1)

        self._revise(sorted(wanted), mark)

    def _settle_schedules(self, said: Mapping[str, Observation]) -> None:
        """Nothing that is gone is pending any more."""
        concerned = sorted(erasing.concerned(self._tx, self._target))
        unread = {scope: self._unread(scope, said.values()) for scope in concerned}
        known = schema.schedules.c.scope
        query = sa.select(known).where(known.in_([str(scope) for scope in concerned]))
        has_one = {Scope(path) for path in self._tx.execute(query).scalars()}

        def settle(entry: Entry) -> Entry:
            was = entry.schedule
            events, tokens = self._wanted.pending.get(str(was.scope), (0, 0))
            done = entry.having(
                events_done=was.events_done + events,
                events_seen=max(was.events_seen, was.events_done + events),
                tokens_done=was.tokens_done + tokens,
                tokens_seen=max(was.tokens_seen, was.tokens_done + tokens),
                observations_done=min(
                    was.observations_seen, was.observations_done + unread[was.scope]
                ),
            )
            if not self._whole(was.scope):
                return done
            return done.having(
                observations_done=was.observations_seen, folds=0, reviews=0, requested=""
            )

        self._revise(
            [s for s in concerned if s in has_one or str(s) in self._wanted.pending], settle
        )

    def _unread(self, scope: Scope, said: Iterable[Observation]) -> int:
        after = runs.cursors_of(self._tx, scope).observations
        return sum(1 for item in said if scope.covers(item.scope) and item.seq > after)

    def _revise(self, scopes: Sequence[Scope], change: schedules.Change) -> None:
        schedules.revise(self._tx, scopes, change, policy=self._policy.triggers, now=self._now)


def _kept(was: Note, delta: Delta) -> Kept:
    reworded = was.claim.statement != delta.note.claim.statement
    people = delta.note.support.people
    who = "somebody else" if people == 1 else f"{people} others" if people else "agents"
    return Kept(
        note=was.id,
        scope=was.scope,
        status=delta.note.status.value,
        support_before=was.support,
        support_after=delta.note.support,
        reworded=reworded,
        why=f"{who} said it too",
    )


def _without(
    old: Note,
    note: Note,
    said: Mapping[str, Claim],
    scrub: Scrubber,
    events: frozenset[str],
    gone: Mapping[str, Any],
) -> Note:
    """An earlier revision as it may be read from now on."""
    own = said.get(old.claim.statement)
    claim = own.model_copy(update={"kind": old.claim.kind}) if own else note.claim
    if not said and not scrub.tainted(old.claim.model_dump(mode="json")):
        claim = old.claim  # it lost no evidence itself
    return old.model_copy(
        update={
            "claim": claim,
            "support": _least(old.support, note.support) if said else old.support,
            "confidence": min(old.confidence, note.confidence) if said else old.confidence,
            "evidence": tuple(name for name in old.evidence if name not in events),
            "reason": ERASED if scrub.tainted(old.reason) else old.reason,
            "superseded_by": "" if old.superseded_by in gone else old.superseded_by,
        }
    )


def _least(left: Support, right: Support) -> Support:
    return Support(
        events=min(left.events, right.events),
        sessions=min(left.sessions, right.sessions),
        people=min(left.people, right.people),
        days=min(left.days, right.days),
    )
