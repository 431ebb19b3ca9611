"""Reading the journal: read-only connections, in any process, any thread, any time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.event import Event, StoredEvent, Trust
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.journal_schema import LAST_SEQ, SCHEMA_VERSION, from_us
from sleep_runtime.stores.sqlite import (
    check_version,
    reader_engine,
    store_errors,
)

_IDS_PER_QUERY = 500

_events = sa.table(
    "events",
    *(sa.column(c) for c in ("seq", "org", "id", "scope", "session", "trust", "received_us")),
    sa.column("body"),
)
_heads = sa.table(
    "heads", *(sa.column(c) for c in ("scope", "last_seq", "events", "tokens", "received_us"))
)
_stored = sa.select(_events.c.seq, _events.c.trust, _events.c.received_us, _events.c.body)


class SqliteSeenJournal:
    """A ``SeenJournal``: every query carries the rights. Cheap to make, for one request."""

    def __init__(self, path: Path, engine: sa.Engine, rights: Rights) -> None:
        self.path = path
        self._engine = engine
        self._rights = rights

    def events(self, org: Scope, ids: Sequence[str]) -> list[StoredEvent]:
        """See ``SeenJournal.events``; in seq order, each event once."""
        wanted = list(dict.fromkeys(ids))
        found: list[StoredEvent] = []
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            part = wanted[start : start + _IDS_PER_QUERY]
            query = _stored.where(
                _events.c.org == str(org.org),
                _events.c.id.in_(part),
                _covered(_events.c.scope, self._rights),
            )
            found += self._stored_events(query)
        return sorted(found, key=lambda stored: stored.seq)

    def knows(self, scope: Scope) -> bool:
        """See ``SeenJournal.knows``; one probe of the heads' primary key and one range of it."""
        if self._rights.within is not None:
            return self._rights.covers(scope)
        column = _heads.c.scope
        return bool(self._rows(sa.select(column).where(_under(column, scope.org)).limit(1)))

    def count(self) -> int:
        """How many events the journal took: the sum over the heads, not a scan of the events."""
        summed = sa.select(sa.func.coalesce(sa.func.sum(_heads.c.events), 0))
        rows = self._rows(summed.where(_covered(_heads.c.scope, self._rights)))
        return int(rows[0][0])

    def _stored_events(self, query: sa.Select[Any]) -> list[StoredEvent]:
        return [_stored_event(row) for row in self._rows(query)]

    def _rows(self, query: sa.Select[Any] | sa.TextClause) -> Sequence[sa.Row[Any]]:
        with store_errors(self.path), self._engine.connect() as connection:
            return connection.execute(query).all()


class SqliteJournalReader(SqliteSeenJournal):
    """A ``JournalReader`` over read-only connections: any process, any thread, any time.

    Every call sees the newest commit. Raises ``StoreError`` when there is no journal yet and
    ``StoreTooNew`` when a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(Path(path), reader_engine(Path(path)), EVERYTHING)
        try:
            self._check_version()
        except BaseException:
            self._engine.dispose()
            raise

    def _check_version(self) -> None:
        with store_errors(self.path), self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        check_version(found, self.path, ours=SCHEMA_VERSION)

    def seen_by(self, rights: Rights) -> SqliteSeenJournal:
        """What these rights show, over the same connections. Costs next to nothing."""
        return SqliteSeenJournal(self.path, self._engine, rights)

    def read(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[StoredEvent]:
        columns = _events.c
        query = _stored.where(columns.scope == str(scope), columns.seq > after, columns.seq <= upto)
        return self._stored_events(query.order_by(columns.seq).limit(limit))

    def before(self, scope: Scope, session: str, *, seq: int, limit: int) -> list[StoredEvent]:
        columns = _events.c
        query = _stored.where(
            columns.scope == str(scope), columns.session == session, columns.seq < seq
        )
        return self._stored_events(query.order_by(columns.seq.desc()).limit(limit))[::-1]

    def heads(self, *, after: int, limit: int) -> list[ScopeHead]:
        query = sa.select(_heads).where(_heads.c.last_seq > after)
        rows = self._rows(query.order_by(_heads.c.last_seq).limit(limit))
        return [_scope_head(row) for row in rows]

    def head(self, scope: Scope) -> ScopeHead | None:
        rows = self._rows(sa.select(_heads).where(_heads.c.scope == str(scope)))
        return _scope_head(rows[0]) if rows else None

    def last_seq(self) -> int:
        """See ``JournalReader.last_seq``; the ends of two indexes."""
        return int(self._rows(sa.text(LAST_SEQ))[0][0])

    def close(self) -> None:
        self._engine.dispose()


def _under(column: sa.ColumnElement[str], scope: Scope) -> sa.ColumnElement[bool]:
    """This scope or below it: one probe and one range of the index."""
    path = str(scope)
    return sa.or_(column == path, sa.and_(column >= f"{path}/", column < f"{path}0"))  # "/" + 1


def _covered(column: sa.ColumnElement[str], rights: Rights) -> sa.ColumnElement[bool]:
    if rights.within is None:
        return sa.true()
    return sa.or_(sa.false(), *(_under(column, scope) for scope in rights.within))


def _stored_event(row: sa.Row[Any]) -> StoredEvent:
    return StoredEvent(
        seq=row.seq,
        event=Event.model_validate_json(row.body),
        trust=Trust(row.trust),
        received_at=from_us(row.received_us),
    )


def _scope_head(row: sa.Row[Any]) -> ScopeHead:
    return ScopeHead(
        scope=Scope(row.scope),
        last_seq=row.last_seq,
        events=row.events,
        tokens=row.tokens,
        received_at=from_us(row.received_us),
    )
