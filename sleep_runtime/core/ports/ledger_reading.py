"""Reading the ledger: what a request's rights show, and everything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from sleep_runtime.core.access import Rights
from sleep_runtime.core.erasure import Erasure
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports.ledger_rows import Cursors, Mark, NoteVector, Pending, Pin, SegmentRow
from sleep_runtime.core.proposal import (
    CommittedDelta,
    Critique,
    Judgement,
    Proposal,
)
from sleep_runtime.core.review import RememberedVerdict, Review, ReviewState
from sleep_runtime.core.run import Lease, Run, Schedule
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.core.spending import Bucket
from sleep_runtime.core.undo import Undoing


class SeenLedger(Protocol):
    """What one reader's rights show of the ledger: all that a request may ask of it.

    Notes of covered scopes are whole. Those in force above are shown bare (``Note.bare``), the rest
    of the ledger as if it did not exist: no row of it is given, counted, paged over or named.
    """

    def knows(self, scope: Scope) -> bool:
        """True when anything was ever seen in the organisation of this scope, or the rights name
        the scope."""

    def versions(self, scopes: Sequence[Scope]) -> dict[Scope, int]:
        """For each of these scopes a number that grows with every change of its notes or vectors.

        0 for a scope that never had a note. What caches are checked against.
        """

    def erasure(self, erasure_id: str) -> Erasure | None: ...

    def erasures(self, scope: Scope | None = None, *, unfinished: bool = False) -> list[Erasure]:
        """Erasures of scopes at and below this one, oldest first."""

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
        """Newest revisions of notes of exactly these scopes, or at and below ``within``.

        With ``as_of`` the newest revision recorded at or before that instant. Ordered by note
        id; ``after`` and ``limit`` page. ``None`` means all.
        """

    def note(self, note_id: str) -> Note | None: ...

    def history(self, note_id: str) -> list[Note]:
        """Every revision, oldest first."""

    def dossiers(self, scope: Scope) -> list[Dossier]:
        """All notes of exactly this scope in any status, with their evidence."""

    def evidence(self, note_id: str) -> list[Evidence]: ...

    def run(self, run_id: str) -> Run | None: ...

    def runs(
        self, scope: Scope | None = None, *, limit: int = 50, unfinished: bool = False
    ) -> list[Run]:
        """Runs of this scope and those below, newest first."""

    def deltas(self, run_id: str) -> list[CommittedDelta]: ...

    def proposals(self, run_id: str) -> list[tuple[Proposal, Critique]]: ...

    def undoing(self, run_id: str, *, now: datetime) -> Undoing:
        """What undoing the run at ``now`` would do. Writes nothing.

        Raises ``NotFound``, and ``Conflict`` when it was undone, changed nothing, or is not over.
        """

    def reworded(self, undoing: Undoing) -> list[str]:
        """The statements an undo brings back in other words than the notes have now."""

    def reviews(
        self,
        scope: Scope | None = None,
        *,
        states: Sequence[ReviewState] | None = None,
        limit: int = 1000,
    ) -> list[Review]:
        """Reviews of this scope and those below, oldest first; ``None``: in every state."""

    def review(self, review_id: str) -> Review | None: ...

    def due(
        self, now: datetime, *, limit: int, least: int = 1, without: Collection[Scope] = ()
    ) -> list[Schedule]:
        """Schedules with ``due_at`` <= now, fairly over organisations, earliest first.

        The first of every organisation comes before the second of any, up to ``limit`` in all; the
        ``least`` earliest of each are there whatever the limit, so one organisation's thousand
        never hide another's one. Organisations in ``without`` are left out. One indexed query,
        whose time grows with what is due.
        """

    def next_due(self, scope: Scope | None = None) -> Schedule | None:
        """The schedule that is due earliest, of this scope and those below."""

    def pending(self, scope: Scope | None = None) -> Pending:
        """What is pending at this scope and those below, however many there are."""

    def leases(self, now: datetime, scope: Scope | None = None) -> list[Lease]:
        """Leases alive at ``now``, of this scope and those below."""

    def generation(self) -> int:
        """The index generation that readers use."""

    def counts(self, within: Scope | None = None) -> dict[str, int]:
        """Row counts by noun and ``notes.<status>``, zeros included, for status and metrics.

        With ``within`` only what belongs to notes, runs and schedules of that scope and those
        below. Marks of notes that are gone have no scope and count only without it.
        """


class LedgerViews(Protocol):
    """A ledger as requests reach it: never but through somebody's rights."""

    def seen_by(self, rights: Rights) -> SeenLedger: ...


class LedgerReader(SeenLedger, LedgerViews, Protocol):
    """Reads the ledger, with the rights to everything. In any process; never writes."""

    def forgotten(self) -> int:
        """A number that grows with every erasure: who holds notes in memory drops them then."""

    def cursors(self, scope: Scope) -> Cursors: ...

    def segment(
        self, scope: Scope, *, limit: int, after: str = "", vectors: bool = True
    ) -> list[SegmentRow]:
        """The active notes of exactly this scope as they are searched, ordered by note id.

        ``after`` and ``limit`` page. Without ``vectors`` every ``vector`` is empty, the ``model``
        is still named. Meant for the hot path: one indexed query, nothing is validated again.
        """

    def active(self, scope: Scope) -> dict[str, int]:
        """The revision of each active note of exactly this scope: what a cache is compared with."""

    def named(self, note_ids: Sequence[str]) -> list[Note]:
        """The newest revisions of those of these notes that exist, ordered by note id."""

    def vectors(self, note_ids: Sequence[str]) -> list[NoteVector]: ...

    def observations(self, scope: Scope, *, after: int, upto: int, limit: int) -> list[Observation]:
        """Observations of this scope and those below, ``after`` < seq <= ``upto``, in order."""

    def pins(self, run_id: str, step: str) -> dict[str, Pin]: ...

    def waiting(self, scope: Scope) -> list[Review]:
        """What a night of exactly this scope has to look at: its open reviews, and those that
        were decided and not done yet."""

    def verdicts(self, scope: Scope) -> list[RememberedVerdict]:
        """What people of the scope's organisation said of pairs, in the order they said it."""

    def judgements(self, scope: Scope, engine: str, keys: Sequence[str]) -> dict[str, Judgement]:
        """What this engine answered in this scope about these pairs; unknown ones left out."""

    def schedule(self, scope: Scope) -> Schedule | None: ...

    def schedules(self, scope: Scope | None = None, *, limit: int = 1000) -> list[Schedule]:
        """Schedules of this scope and those below that are not idle, by due time."""

    def spending(self, *, since: datetime, org: Scope | None = None) -> list[Bucket]:
        """What nights cost, by hour and organisation, in hours that began after ``since``."""

    def backlog(self, now: datetime, *, without: Collection[Scope] = ()) -> Backlog:
        """How many scopes are due at ``now``, and their pending tokens. One indexed query.

        Organisations in ``without`` are left out.
        """

    def pending_since(self) -> datetime | None:
        """Since when the oldest pending thing waits for a night; None when nothing does."""

    def gpu_seconds(self, day: str) -> float:
        """What the idle pool held of GPUs on this day (``2026-11-26``), as far as it was kept."""

    def pending_by_tier(self) -> dict[Tier, Pending]:
        """What is pending at all scopes of each tier; every tier has its entry."""

    def watermark(self) -> int:
        """The journal position up to which heads were noted."""

    def furthest(self) -> int:
        """The furthest journal position this ledger relies on; 0 before it saw any event.

        The highest of the watermark, every scope's cursor and the ranges of unfinished runs.
        """

    def marks(self, *, limit: int) -> list[Mark]: ...

    def digest(self) -> str:
        """SHA-256 of what was learned: notes, revisions, evidence, observations, cursors.

        Owners, epochs, run ids and wall-clock times are left out, so that an interrupted night
        and an undisturbed one can be compared.
        """
