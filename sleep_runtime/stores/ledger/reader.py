"""SqliteLedgerReader: everything that only looks, on read-only connections.

Each method reads one snapshot. Nothing here waits for the writer, or makes it wait.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.note import Note
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports import Cursors, Mark, NoteVector, Pending, Pin, SegmentRow
from sleep_runtime.core.proposal import Judgement
from sleep_runtime.core.review import RememberedVerdict, Review
from sleep_runtime.core.run import Schedule
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.core.spending import Bucket
from sleep_runtime.stores.ledger import (
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
)
from sleep_runtime.stores.ledger.digest import digest_of
from sleep_runtime.stores.ledger.revision import check_at_head
from sleep_runtime.stores.ledger.schema import observing, under
from sleep_runtime.stores.ledger.seen import Connections, SqliteSeenLedger


class SqliteLedgerReader(SqliteSeenLedger):
    """Reads a ledger file, in any process and from many threads; never writes.

    The file has to exist and be of this version: its owner creates and migrates it. Raises
    ``StoreTooNew`` and ``StoreError``.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(Connections(Path(path)), EVERYTHING)
        try:
            with self._read() as tx:
                check_at_head(tx, self._connections.path)
        except BaseException:
            self.close()
            raise

    def seen_by(self, rights: Rights) -> SqliteSeenLedger:
        """What these rights show, over the same connections. Costs next to nothing."""
        return SqliteSeenLedger(self._connections, rights)

    def close(self) -> None:
        """Close the connections. Closing again does nothing."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _number(self, key: str) -> int:
        with self._read() as tx:
            return meta.read(tx, key)

    # ------------------------------------------------------------------------ the whole

    def watermark(self) -> int:
        return self._number(meta.WATERMARK)

    def furthest(self) -> int:
        with self._read() as tx:
            return totals.furthest(tx)

    def cursors(self, scope: Scope) -> Cursors:
        with self._read() as tx:
            return runs.cursors_of(tx, scope)

    def digest(self) -> str:
        with self._read() as tx:
            return digest_of(tx)

    # ------------------------------------------------------------------------ notes

    def segment(
        self, scope: Scope, *, limit: int, after: str = "", vectors: bool = True
    ) -> list[SegmentRow]:
        with self._connections.lean.connection() as connection:
            return lean.segment(connection, scope, limit=limit, after=after, vectors=vectors)

    def active(self, scope: Scope) -> dict[str, int]:
        with self._connections.lean.connection() as connection:
            return lean.active(connection, scope)

    def named(self, note_ids: Sequence[str]) -> list[Note]:
        with self._connections.lean.connection() as connection:
            return lean.named(connection, note_ids)

    def vectors(self, note_ids: Sequence[str]) -> list[NoteVector]:
        with self._connections.lean.connection() as connection:
            return lean.vectors(connection, note_ids)

    # ------------------------------------------------------------------------ observations, runs

    def observations(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[Observation]:
        page = {"of": str(scope), "after": after, "upto": upto, "most": limit}
        return self._all(_OBSERVATIONS[scope.tier], rows.observation, page)

    def pins(self, run_id: str, step: str) -> dict[str, Pin]:
        found = self._all(_PINS, rows.pin, {"run": run_id, "of_step": step})
        return {pin.key: pin for pin in found}

    # ------------------------------------------------------------------------ people

    def waiting(self, scope: Scope) -> list[Review]:
        return self._all(reviews.waiting(scope), rows.review)

    def verdicts(self, scope: Scope) -> list[RememberedVerdict]:
        with self._read() as tx:
            return opinions.said(tx, scope)

    def judgements(self, scope: Scope, engine: str, keys: Sequence[str]) -> dict[str, Judgement]:
        with self._read() as tx:
            return opinions.answered(tx, scope, engine, keys)

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

    def pending_by_tier(self) -> dict[Tier, Pending]:
        with self._read() as tx:
            return totals.pending_by_tier(tx)

    def marks(self, *, limit: int) -> list[Mark]:
        def mark(row: rows.Row) -> Mark:
            return Mark(note_id=row.note_id, revision=row.revision)

        return self._all(_MARKS, mark, {"most": limit})

    # ------------------------------------------------------------------------ erasures

    def forgotten(self) -> int:
        return self._number(meta.FORGOTTEN)


# What a night reads over and over, built once: building a statement costs more than running it.
_RUN: sa.BindParameter[Any] = sa.bindparam("run")
_OF: sa.BindParameter[Any] = sa.bindparam("of")
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
_SCHEDULE = sa.select(schema.schedules).where(schema.schedules.c.scope == _OF)
_MARKS = sa.select(schema.outbox).order_by(schema.outbox.c.note_id).limit(_MOST)
