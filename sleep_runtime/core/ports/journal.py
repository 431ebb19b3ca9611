"""The journal as others see it: what is appended, read and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sleep_runtime.core.access import Rights
from sleep_runtime.core.event import StoredEvent
from sleep_runtime.core.journal import AppendResult, JournalRow, ScopeHead
from sleep_runtime.core.scope import Scope


class SeenJournal(Protocol):
    """What one reader's rights show of the journal: all that a request may ask of it."""

    def events(self, org: Scope, ids: Sequence[str]) -> list[StoredEvent]:
        """The events of one organisation with these ids; unknown ids are left out."""

    def knows(self, scope: Scope) -> bool:
        """True when the organisation of this scope has any event, or the rights name the scope."""

    def count(self) -> int: ...


class JournalViews(Protocol):
    """A journal as requests reach it: never but through somebody's rights."""

    def seen_by(self, rights: Rights) -> SeenJournal: ...


class JournalReader(SeenJournal, JournalViews, Protocol):
    """Reads raw events, with the rights to everything. In any process of the machine."""

    def read(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[StoredEvent]:
        """Events of exactly this scope with ``after`` < seq <= ``upto``, in seq order."""

    def before(self, scope: Scope, session: str, *, seq: int, limit: int) -> list[StoredEvent]:
        """The last ``limit`` events of one session that arrived before ``seq``, in seq order."""

    def heads(self, *, after: int, limit: int) -> list[ScopeHead]:
        """Heads of scopes that got events after journal position ``after``, by last_seq."""

    def head(self, scope: Scope) -> ScopeHead | None: ...

    def last_seq(self) -> int:
        """The highest position of any event the journal ever took; 0 when it is empty.

        A ledger that has been further (``LedgerReader.furthest``) belongs to another journal, or
        to a later state of this one.
        """


class JournalWriter(Protocol):
    """The one owner of the journal file."""

    def append(self, rows: Sequence[JournalRow]) -> AppendResult:
        """Make a batch durable. Returns only when every accepted row is on the disk.

        Raises ``Overloaded`` when the queue is full and ``StoreFull`` when the disk is.
        """

    def close(self) -> None: ...
