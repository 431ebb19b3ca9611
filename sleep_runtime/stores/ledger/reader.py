"""SqliteLedgerReader: everything that only looks, on read-only connections.

Each method reads one snapshot. Nothing here waits for the writer, or makes it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from sleep_runtime.core.erasure import Erasure, ErasureState
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports import Cursors, Mark, NoteVector, Pending, Pin, SegmentRow
from sleep_runtime.core.proposal import CommittedDelta, Critique, Judgement, Proposal
from sleep_runtime.core.review import RememberedVerdict, Review, ReviewState
from sleep_runtime.core.run import Lease, Run, Schedule
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.core.spending import Bucket
from sleep_runtime.core.undo import Undoing
from sleep_runtime.stores.ledger import (
    dossiers,
    lean,
    meta,
    opinions,
    reviews,
    rows,
    runs,
    schedules,
    schema,
    spending,
    totals,
    undoing,
)
from sleep_runtime.stores.ledger.digest import digest_of
from sleep_runtime.stores.ledger.revision import check_at_head
from sleep_runtime.stores.ledger.schema import observing, under
from sleep_runtime.stores.ledger.undoing import reworded
from sleep_runtime.stores.sqlite import ReadPool, reader_engine, store_errors

T = TypeVar("T")


class SqliteLedgerReader:
    """Reads a ledger file, in any process and from many threads; never writes.

    The file has to exist and be of this version: its owner creates and migrates it. Raises
    ``StoreTooNew`` and ``StoreError``.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._open = True
        self._engine = reader_engine(self._path)
        self._lean = ReadPool(self._path)
        try:
            with self._read() as tx:
                check_at_head(tx, self._path)
        except BaseException:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Close the connections. Closing again does nothing."""
        self._open = False
        self._lean.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        if not self._open:
            raise StoreError(f"{self._path} was closed", field="ledger", mend="open it again")
        with store_errors(self._path), self._engine.begin() as tx:
            yield tx

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

    def _number(self, key: str) -> int:
        with self._read() as tx:
            return meta.read(tx, key)

    # ------------------------------------------------------------------------ the whole

    def knows(self, scope: Scope) -> bool:
        seen = sa.select(schema.schedules.c.scope).where(under(schema.schedules.c.scope, scope.org))
        return self._one(seen, tuple) is not None

    def versions(self, scopes: Sequence[Scope]) -> dict[Scope, int]:
        with self._lean.connection() as connection:
            return lean.versions(connection, scopes)

    def watermark(self) -> int:
        return self._number(meta.WATERMARK)

    def furthest(self) -> int:
        with self._read() as tx:
            return totals.furthest(tx)

    def generation(self) -> int:
        return self._number(meta.GENERATION)

    def cursors(self, scope: Scope) -> Cursors:
        with self._read() as tx:
            return runs.cursors_of(tx, scope)

    def counts(self, within: Scope | None = None) -> dict[str, int]:
        with self._read() as tx:
            return totals.counts(tx, within)

    def digest(self) -> str:
        with self._read() as tx:
            return digest_of(tx)

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
        wanted = sa.select(schema.notes).select_from(source).where(key.note_id > after)
        if scopes is not None:
            wanted = wanted.where(key.scope.in_([str(scope) for scope in scopes]))
        if within is not None:
            wanted = wanted.where(under(key.scope, within))
        if statuses is not None:
            wanted = wanted.where(key.status.in_([status.value for status in statuses]))
        return self._all(wanted.order_by(key.note_id).limit(limit), rows.note)

    def note(self, note_id: str) -> Note | None:
        chain = _chain(note_id).order_by(schema.notes.c.revision.desc())
        return self._one(chain, rows.note)

    def segment(
        self, scope: Scope, *, limit: int, after: str = "", vectors: bool = True
    ) -> list[SegmentRow]:
        with self._lean.connection() as connection:
            return lean.segment(connection, scope, limit=limit, after=after, vectors=vectors)

    def active(self, scope: Scope) -> dict[str, int]:
        with self._lean.connection() as connection:
            return lean.active(connection, scope)

    def named(self, note_ids: Sequence[str]) -> list[Note]:
        with self._lean.connection() as connection:
            return lean.named(connection, note_ids)

    def history(self, note_id: str) -> list[Note]:
        return self._all(_chain(note_id).order_by(schema.notes.c.revision), rows.note)

    def dossiers(self, scope: Scope) -> list[Dossier]:
        with self._read() as tx:
            return dossiers.of(tx, scope)

    def evidence(self, note_id: str) -> list[Evidence]:
        table = schema.note_evidence
        about = sa.select(table).where(table.c.note_id == note_id)
        return self._all(about.order_by(*dossiers.EVIDENCE_ORDER), rows.evidence)

    def vectors(self, note_ids: Sequence[str]) -> list[NoteVector]:
        with self._lean.connection() as connection:
            return lean.vectors(connection, note_ids)

    # ------------------------------------------------------------------------ observations, runs

    def observations(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[Observation]:
        page = {"of": str(scope), "after": after, "upto": upto, "most": limit}
        return self._all(_OBSERVATIONS[scope.tier], rows.observation, page)

    def pins(self, run_id: str, step: str) -> dict[str, Pin]:
        found = self._all(_PINS, rows.pin, {"run": run_id, "of_step": step})
        return {pin.key: pin for pin in found}

    def run(self, run_id: str) -> Run | None:
        with self._read() as tx:
            return runs.find(tx, run_id)

    def runs(
        self, scope: Scope | None = None, *, limit: int = 50, unfinished: bool = False
    ) -> list[Run]:
        table = schema.runs
        found = sa.select(table)
        if scope is not None:
            found = found.where(under(table.c.scope, scope))
        if unfinished:
            found = found.where(table.c.state.in_(schedules.UNFINISHED))
        newest_first = (table.c.planned_at.desc(), table.c.number.desc(), table.c.scope)
        return self._all(found.order_by(*newest_first).limit(limit), rows.run)

    def deltas(self, run_id: str) -> list[CommittedDelta]:
        table = schema.deltas
        of_run = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.ordinal)
        return self._all(of_run, rows.delta)

    def proposals(self, run_id: str) -> list[tuple[Proposal, Critique]]:
        return self._all(_PROPOSALS, rows.judged, {"run": run_id})

    # ------------------------------------------------------------------------ people

    def reviews(
        self,
        scope: Scope | None = None,
        *,
        states: Sequence[ReviewState] | None = None,
        limit: int = 1000,
    ) -> list[Review]:
        return self._all(reviews.query(scope, states=states).limit(limit), rows.review)

    def review(self, review_id: str) -> Review | None:
        named = sa.select(schema.reviews).where(schema.reviews.c.id == review_id)
        return self._one(named, rows.review)

    def waiting(self, scope: Scope) -> list[Review]:
        return self._all(reviews.waiting(scope), rows.review)

    def verdicts(self, scope: Scope) -> list[RememberedVerdict]:
        with self._read() as tx:
            return opinions.said(tx, scope)

    def judgements(self, scope: Scope, engine: str, keys: Sequence[str]) -> dict[str, Judgement]:
        with self._read() as tx:
            return opinions.answered(tx, scope, engine, keys)

    def undoing(self, run_id: str, *, now: datetime) -> Undoing:
        with self._read() as tx:
            return undoing.look(tx, run_id, now=now)

    def reworded(self, undoing: Undoing) -> list[str]:
        with self._read() as tx:
            return reworded(tx, undoing)

    # ------------------------------------------------------------------------ schedules, outbox

    def schedule(self, scope: Scope) -> Schedule | None:
        found = self._all(_SCHEDULE, rows.schedule, {"of": str(scope)})
        return found[0] if found else None

    def schedules(self, scope: Scope | None = None, *, limit: int = 1000) -> list[Schedule]:
        table = schema.schedules
        pending = sa.select(table).where(schedules.NOT_IDLE)
        if scope is not None:
            pending = pending.where(under(table.c.scope, scope))
        by_due_time = pending.order_by(table.c.due_at.nulls_last(), table.c.scope)
        return self._all(by_due_time.limit(limit), rows.schedule)

    def due(
        self, now: datetime, *, limit: int, least: int = 1, without: Collection[Scope] = ()
    ) -> list[Schedule]:
        query = schedules.due(now, limit=limit, least=least, without=without)
        return self._all(query, rows.schedule)

    def spending(self, *, since: datetime, org: Scope | None = None) -> list[Bucket]:
        with self._read() as tx:
            return spending.since(tx, since, org)

    def backlog(self, now: datetime, *, without: Collection[Scope] = ()) -> Backlog:
        with self._read() as tx:
            return totals.due(tx, now, without)

    def pending_since(self) -> datetime | None:
        oldest = sa.select(sa.func.min(schema.schedules.c.pending_since))
        with self._read() as tx:
            found: datetime | None = tx.execute(oldest).scalar()
        return found

    def gpu_seconds(self, day: str) -> float:
        with self._read() as tx:
            return meta.read(tx, f"{meta.GPU_MS}{day}") / 1000.0

    def next_due(self, scope: Scope | None = None) -> Schedule | None:
        table = schema.schedules
        waiting = sa.select(table).where(table.c.due_at.is_not(None))
        if scope is not None:
            waiting = waiting.where(under(table.c.scope, scope))
        return self._one(waiting.order_by(table.c.due_at, table.c.scope), rows.schedule)

    def pending(self, scope: Scope | None = None) -> Pending:
        with self._read() as tx:
            return totals.pending(tx, scope)

    def pending_by_tier(self) -> dict[Tier, Pending]:
        with self._read() as tx:
            return totals.pending_by_tier(tx)

    def leases(self, now: datetime, scope: Scope | None = None) -> list[Lease]:
        table = schema.leases
        alive = sa.select(table).where(table.c.owner != "", table.c.expires_at > now)
        if scope is not None:
            alive = alive.where(under(table.c.scope, scope))
        return self._all(alive.order_by(table.c.scope), rows.lease)

    def marks(self, *, limit: int) -> list[Mark]:
        def mark(row: rows.Row) -> Mark:
            return Mark(note_id=row.note_id, revision=row.revision)

        return self._all(_MARKS, mark, {"most": limit})

    # ------------------------------------------------------------------------ erasures

    def erasure(self, erasure_id: str) -> Erasure | None:
        return self._one(sa.select(_ERASURES).where(_ERASURES.c.id == erasure_id), rows.erasure)

    def erasures(self, scope: Scope | None = None, *, unfinished: bool = False) -> list[Erasure]:
        found = sa.select(_ERASURES)
        if scope is not None:
            found = found.where(under(_ERASURES.c.scope, scope))
        if unfinished:
            found = found.where(_ERASURES.c.state != ErasureState.DONE.value)
        ordered = found.order_by(_ERASURES.c.requested_at, _ERASURES.c.id)
        return self._all(ordered, rows.erasure)

    def forgotten(self) -> int:
        return self._number(meta.FORGOTTEN)


# What a night reads over and over, built once: building a statement costs more than running it.
_OF: sa.BindParameter[Any] = sa.bindparam("of")
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_RUN: sa.BindParameter[Any] = sa.bindparam("run")
_MOST = sa.bindparam("most", type_=sa.Integer)
_OBSERVATIONS = {
    tier: sa.select(schema.observations)
    .where(
        observing(tier) == _OF,
        schema.observations.c.seq > sa.bindparam("after"),
        schema.observations.c.seq <= sa.bindparam("upto"),
    )
    .order_by(schema.observations.c.seq)
    .limit(_MOST)
    for tier in Tier
}
_PINS = sa.select(schema.pins).where(
    schema.pins.c.run_id == _RUN, schema.pins.c.step == sa.bindparam("of_step")
)
_PROPOSALS = (
    sa.select(schema.proposals)
    .where(schema.proposals.c.run_id == _RUN)
    .order_by(schema.proposals.c.ordinal)
)
_SCHEDULE = sa.select(schema.schedules).where(schema.schedules.c.scope == _OF)
_ERASURES = schema.erasures
_MARKS = sa.select(schema.outbox).order_by(schema.outbox.c.note_id).limit(_MOST)


def _chain(note_id: str) -> sa.Select[Any]:
    return sa.select(schema.notes).where(schema.notes.c.note_id == note_id)


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
