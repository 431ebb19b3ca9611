"""A journal in memory: reader and writer in one object, with the rules of the real one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sleep_runtime.core.access import Rights
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.event import Event, StoredEvent, Trust
from sleep_runtime.core.journal import AppendResult, JournalRow, ScopeHead
from sleep_runtime.core.ports import Clock, SeenJournal
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.clock import ManualClock


class InMemoryJournal:
    """``JournalReader`` and ``JournalWriter`` over a list. Safe for many threads; keeps nothing."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._lock = threading.Lock()
        self._stored: list[StoredEvent] = []
        self._known: dict[tuple[str, str], bytes] = {}
        self._heads: dict[Scope, ScopeHead] = {}
        self._closed = False

    def append(self, rows: Sequence[JournalRow]) -> AppendResult:
        with self._lock:
            if self._closed:
                raise StoreError("the journal is closed")
            accepted = duplicates = 0
            conflicts: list[int] = []
            for index, row in enumerate(rows):
                digest = self._known.get((Scope(row.scope).org, row.id))
                if digest is None:
                    self._keep(row)
                    accepted += 1
                elif digest == row.digest:
                    duplicates += 1
                else:
                    conflicts.append(index)
        return AppendResult(accepted=accepted, duplicates=duplicates, conflicts=tuple(conflicts))

    def _keep(self, row: JournalRow) -> None:
        scope = Scope(row.scope)
        seq = len(self._stored) + 1
        self._stored.append(
            StoredEvent(
                seq=seq,
                event=Event.model_validate_json(row.body),
                trust=Trust(row.trust),
                received_at=self._clock.now(),
            )
        )
        self._known[(scope.org, row.id)] = row.digest
        old = self._heads.get(scope)
        self._heads[scope] = ScopeHead(
            scope=scope,
            last_seq=seq,
            events=(old.events if old else 0) + 1,
            tokens=(old.tokens if old else 0) + row.tokens,
            received_at=self._stored[-1].received_at,
        )

    def read(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[StoredEvent]:
        with self._lock:
            part = self._stored[after:upto] if upto > after else []
        return [stored for stored in part if stored.event.scope == scope][:limit]

    def before(self, scope: Scope, session: str, *, seq: int, limit: int) -> list[StoredEvent]:
        with self._lock:
            part = self._stored[: max(seq - 1, 0)]
        same = [s for s in part if s.event.scope == scope and s.event.session == session]
        return same[max(len(same) - limit, 0) :]

    def events(self, org: Scope, ids: Sequence[str]) -> list[StoredEvent]:
        wanted = set(ids)
        with self._lock:
            stored = list(self._stored)
        return [s for s in stored if s.event.scope.org == org.org and s.event.id in wanted]

    def seen_by(self, rights: Rights) -> SeenJournal:
        return _Seen(self, rights)

    def heads(self, *, after: int, limit: int) -> list[ScopeHead]:
        with self._lock:
            newer = [head for head in self._heads.values() if head.last_seq > after]
        return sorted(newer, key=lambda head: head.last_seq)[:limit]

    def head(self, scope: Scope) -> ScopeHead | None:
        with self._lock:
            return self._heads.get(scope)

    def knows(self, scope: Scope) -> bool:
        with self._lock:
            return any(known.org == scope.org for known in self._heads)

    def count(self) -> int:
        with self._lock:
            return len(self._stored)

    def last_seq(self) -> int:
        with self._lock:
            return len(self._stored)

    def close(self) -> None:
        """Refuse further appends; reading goes on."""
        with self._lock:
            self._closed = True


class _Seen:
    """A ``SeenJournal`` over the list."""

    def __init__(self, whole: InMemoryJournal, rights: Rights) -> None:
        self._whole = whole
        self._rights = rights

    def events(self, org: Scope, ids: Sequence[str]) -> list[StoredEvent]:
        found = self._whole.events(org, ids)
        return [stored for stored in found if self._rights.covers(stored.event.scope)]

    def knows(self, scope: Scope) -> bool:
        if self._rights.within is None:
            return self._whole.knows(scope)
        return self._rights.covers(scope)

    def count(self) -> int:
        heads = self._whole.heads(after=0, limit=self._whole.count())
        return sum(head.events for head in heads if self._rights.covers(head.scope))
