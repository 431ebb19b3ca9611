"""SqliteSeenLedger: what the rights of a reader show of a ledger.

Every method carries the rights in its own query: there is no other way from a request to the
ledger. One snapshot a method; nothing here waits for the writer, or makes it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from sleep_runtime.core.access import Rights
from sleep_runtime.core.erasure import Erasure, ErasureState
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.ports import Pending
from sleep_runtime.core.proposal import CommittedDelta, Critique, Proposal
from sleep_runtime.core.review import Review, ReviewState
from sleep_runtime.core.run import Lease, Run, Schedule
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.stores.ledger import (
    dossiers,
    lean,
    meta,
    reviews,
    rows,
    runs,
    schedules,
    schema,
    totals,
    undoing,
)
from sleep_runtime.stores.ledger.schema import covered, note_columns, shown, under
from sleep_runtime.stores.ledger.undoing import reworded
from sleep_runtime.stores.sqlite import ReadPool, reader_engine, store_errors

T = TypeVar("T")


class Connections:
    """The read-only connections to one ledger file, shared by every view of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lean = ReadPool(path)
        self._open = True
        self._engine = reader_engine(path)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One snapshot. Raises ``StoreError`` once they are closed."""
        if not self._open:
            raise StoreError(f"{self.path} was closed", field="ledger", mend="open it again")
        with store_errors(self.path), self._engine.begin() as tx:
            yield tx

    def close(self) -> None:
        """Closing again does nothing."""
        self._open = False
        self.lean.close()
        self._engine.dispose()


class SqliteSeenLedger:
    """A ``SeenLedger``: cheap to make, for one request. From any thread."""

    def __init__(self, connections: Connections, rights: Rights) -> None:
        self._connections = connections
        self._rights = rights
        self._whole = rights.within is None

    def _read(self) -> AbstractContextManager[sa.Connection]:
        return self._connections.read()

    def _all(
        self,
        statement: sa.Select[Any],
        make: Callable[[rows.Row], T],
        values: Mapping[str, Any] | None = None,
    ) -> list[T]:
        with self._read() as tx:
            return [make(row) for row in tx.execute(statement, values)]

    def _one(self, statement: sa.Select[Any], make: Callable[[rows.Row], T]) -> T | None:
        found = self._all(statement.limit(1), make)
        return found[0] if found else None

    def _within(
        self, column: sa.ColumnElement[str], scope: Scope | None = None
    ) -> sa.ColumnElement[bool]:
        """What is covered by the rights, at and below ``scope``."""
        seen = covered(column, self._rights)
        return seen if scope is None else sa.and_(under(column, scope), seen)

    # ------------------------------------------------------------------------ the whole

    def knows(self, scope: Scope) -> bool:
        """A key for a scope is proof enough of it: what others have there is not told."""
        if not self._whole:
            return self._rights.covers(scope)
        seen = sa.select(schema.schedules.c.scope).where(under(schema.schedules.c.scope, scope.org))
        return self._one(seen, tuple) is not None

    def versions(self, scopes: Sequence[Scope]) -> dict[Scope, int]:
        with self._connections.lean.connection() as connection:
            found = lean.versions(connection, scopes)
        if self._whole:
            return found
        return {scope: found[scope] if self._rights.shows(scope) else 0 for scope in scopes}

    def generation(self) -> int:
        with self._read() as tx:
            return meta.read(tx, meta.GENERATION)

    def counts(self, within: Scope | None = None) -> dict[str, int]:
        with self._read() as tx:
            return totals.counts(tx, within, self._rights)

    # ------------------------------------------------------------------------ notes

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
        source = _as_of(as_of) if as_of else rows.NEWEST_NOTES
        # The narrow table is the one to search, where it has the columns.
        key = schema.notes.c if as_of else schema.newest.c
        wanted = sa.select(*note_columns(self._rights)).select_from(source)
        wanted = wanted.where(key.note_id > after, shown(key.scope, key.status, self._rights))
        if scopes is not None:
            wanted = wanted.where(key.scope.in_([str(scope) for scope in scopes]))
        if within is not None:
            wanted = wanted.where(under(key.scope, within))
        if statuses is not None:
            wanted = wanted.where(key.status.in_([status.value for status in statuses]))
        return self._all(wanted.order_by(key.note_id).limit(limit), rows.note)

    def note(self, note_id: str) -> Note | None:
        newest = schema.newest.c
        wanted = sa.select(*note_columns(self._rights)).select_from(rows.NEWEST_NOTES)
        named = wanted.where(
            newest.note_id == note_id, shown(newest.scope, newest.status, self._rights)
        )
        return self._one(named, rows.note)

    def history(self, note_id: str) -> list[Note]:
        table, newest = schema.notes.c, schema.newest.c
        chain = (
            sa.select(*note_columns(self._rights))
            .join(schema.newest, newest.note_id == table.note_id)
            .where(
                table.note_id == note_id,
                shown(newest.scope, newest.status, self._rights),
                shown(table.scope, table.status, self._rights),
            )
        )
        return self._all(chain.order_by(table.revision), rows.note)

    def dossiers(self, scope: Scope) -> list[Dossier]:
        own = {"of": str(scope)}
        notes_of, evidence_of, said = dossiers.NOTES_OF, dossiers.EVIDENCE_OF, dossiers.SAID
        if not self._whole:
            here = self._within(schema.newest.c.scope)
            notes_of, evidence_of = notes_of.where(here), evidence_of.where(here)
            said = said.where(self._within(schema.observations.c.scope))
        with self._read() as tx:
            found = [rows.note(row) for row in tx.execute(notes_of, own)]
            evidence: dict[str, list[Evidence]] = {note.id: [] for note in found}
            for row in tx.execute(evidence_of, own):
                evidence[row.note_id].append(rows.evidence(row))
            named = {name for said in evidence.values() for name in dossiers.first_said(said)}
            seen = dict[str, Observation]()
            for batch in rows.batches(sorted(named)):
                for row in tx.execute(said, {"ids": batch}):
                    item = rows.observation(row)
                    seen[item.id] = item
        return [dossiers.dossier(note, evidence[note.id], seen) for note in found]

    def evidence(self, note_id: str) -> list[Evidence]:
        table = schema.note_evidence
        about = sa.select(table).where(table.c.note_id == note_id)
        if not self._whole:
            newest = schema.newest.c
            about = about.join(schema.newest, newest.note_id == table.c.note_id).where(
                shown(newest.scope, newest.status, self._rights), self._within(table.c.scope)
            )
        return self._all(about.order_by(*dossiers.EVIDENCE_ORDER), rows.evidence)

    # ------------------------------------------------------------------------ erasures

    def erasure(self, erasure_id: str) -> Erasure | None:
        table = schema.erasures
        own = sa.select(table).where(table.c.id == erasure_id, self._within(table.c.scope))
        return self._one(own, rows.erasure)

    def erasures(self, scope: Scope | None = None, *, unfinished: bool = False) -> list[Erasure]:
        table = schema.erasures
        found = sa.select(table).where(self._within(table.c.scope, scope))
        if unfinished:
            found = found.where(table.c.state != ErasureState.DONE.value)
        return self._all(found.order_by(table.c.requested_at, table.c.id), rows.erasure)

    # ------------------------------------------------------------------------ runs

    def run(self, run_id: str) -> Run | None:
        with self._read() as tx:
            return runs.find(tx, run_id, self._rights)

    def runs(
        self, scope: Scope | None = None, *, limit: int = 50, unfinished: bool = False
    ) -> list[Run]:
        table = schema.runs
        found = sa.select(table).where(self._within(table.c.scope, scope))
        if unfinished:
            found = found.where(table.c.state.in_(schedules.UNFINISHED))
        newest_first = (table.c.planned_at.desc(), table.c.number.desc(), table.c.scope)
        return self._all(found.order_by(*newest_first).limit(limit), rows.run)

    def deltas(self, run_id: str) -> list[CommittedDelta]:
        table = schema.deltas.c
        of_run = sa.select(schema.deltas).where(table.run_id == run_id, self._within(table.scope))
        return self._all(of_run.order_by(table.ordinal), rows.delta)

    def proposals(self, run_id: str) -> list[tuple[Proposal, Critique]]:
        of_run = _PROPOSALS
        if not self._whole:
            table = schema.runs.c
            of_run = of_run.join(schema.runs, table.id == schema.proposals.c.run_id)
            of_run = of_run.where(self._within(table.scope))
        return self._all(of_run, rows.judged, {"run": run_id})

    def undoing(self, run_id: str, *, now: datetime) -> Undoing:
        with self._read() as tx:
            if runs.find(tx, run_id, self._rights) is None:
                raise runs.no_such_run(run_id)
            return undoing.look(tx, run_id, now=now)

    def reworded(self, undoing: Undoing) -> list[str]:
        if not self._rights.covers(undoing.scope):
            return []
        with self._read() as tx:
            return reworded(tx, undoing)

    # ------------------------------------------------------------------------ people

    def reviews(
        self,
        scope: Scope | None = None,
        *,
        states: Sequence[ReviewState] | None = None,
        limit: int = 1000,
    ) -> list[Review]:
        queue = reviews.query(scope, states=states, rights=self._rights)
        return self._all(queue.limit(limit), rows.review)

    def review(self, review_id: str) -> Review | None:
        table = schema.reviews.c
        named = sa.select(schema.reviews).where(table.id == review_id, self._within(table.scope))
        return self._one(named, rows.review)

    # ------------------------------------------------------------------------ schedules

    def due(
        self, now: datetime, *, limit: int, least: int = 1, without: Collection[Scope] = ()
    ) -> list[Schedule]:
        query = schedules.due(now, limit=limit, least=least, without=without, rights=self._rights)
        return self._all(query, rows.schedule)

    def next_due(self, scope: Scope | None = None) -> Schedule | None:
        table = schema.schedules
        waiting = sa.select(table).where(
            table.c.due_at.is_not(None), self._within(table.c.scope, scope)
        )
        return self._one(waiting.order_by(table.c.due_at, table.c.scope), rows.schedule)

    def pending(self, scope: Scope | None = None) -> Pending:
        with self._read() as tx:
            return totals.pending(tx, scope, self._rights)

    def leases(self, now: datetime, scope: Scope | None = None) -> list[Lease]:
        table = schema.leases
        alive = sa.select(table).where(
            table.c.owner != "",
            table.c.expires_at > now,
            self._within(table.c.scope, scope),
        )
        return self._all(alive.order_by(table.c.scope), rows.lease)


# What a night reads over and over, built once: building a statement costs more than running it.
_RUN: sa.BindParameter[Any] = sa.bindparam("run")
_PROPOSALS = (
    sa.select(schema.proposals)
    .where(schema.proposals.c.run_id == _RUN)
    .order_by(schema.proposals.c.ordinal)
)


def _as_of(instant: datetime) -> sa.FromClause:
    """Each note's newest revision that was recorded by then."""
    notes = schema.notes
    known = (
        sa.select(notes.c.note_id, sa.func.max(notes.c.revision).label("revision"))
        .where(notes.c.recorded_at <= instant)
        .group_by(notes.c.note_id)
    ).subquery("known")
    return notes.join(
        known,
        sa.and_(notes.c.note_id == known.c.note_id, notes.c.revision == known.c.revision),
    )
