"""Writing the ledger: the one owner's methods, each a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sleep_runtime.core.erasure import Erasure, ErasureState, Forgotten, Target
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports.ledger_rows import Asked, Commit, Mark, NoteVector, Pin
from sleep_runtime.core.proposal import (
    Critique,
    Proposal,
)
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.run import Lease, Run, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import NO_COST, Cost
from sleep_runtime.core.undo import Undoing


class LedgerWriter(Protocol):
    """The one owner of the ledger file. Every method is one transaction.

    Methods that take a lease raise ``LeaseLost`` when a higher epoch exists or the lease is gone.
    ``cost`` (of ``pin``: the usage of its pins and ``seconds``) is what the run used since its last
    write. It is added to the run and to the spending of its organisation in the same transaction,
    and only by the call that took the step: done again, it is not counted again.
    """

    def acquire(self, scope: Scope, owner: str, *, now: datetime, ttl_s: float) -> Lease | None:
        """Take the scope if it is free, expired or already this owner's; epoch + 1 each time."""

    def renew(self, lease: Lease, *, now: datetime, ttl_s: float) -> Lease: ...

    def release(self, lease: Lease) -> None: ...

    def begin_erasure(self, erasure: Erasure, target: Target, known: Sequence[Scope]) -> Erasure:
        """Remember an erasure and shut nights out of the scopes it concerns, ``known`` included.

        They are held until the journal's part is noted as done.
        """

    def advance_erasure(
        self,
        erasure_id: str,
        state: ErasureState,
        *,
        now: datetime,
        upto: int | None = None,
        counts: Mapping[str, int] | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> Erasure:
        """Note that a step is done. One that is behind it already changes nothing."""

    def amend_erasure(
        self, erasure_id: str, receipt: Mapping[str, Any], *, now: datetime
    ) -> Erasure:
        """Replace parts of the receipt of an erasure that is over: a backup was reached later."""

    def forget(
        self,
        erasure_id: str,
        *,
        vectors: Mapping[str, bytes] | None,
        vector_model: str,
        policy: Policy,
    ) -> Forgotten:
        """Take what is erased out of the ledger, in one transaction.

        ``vectors`` are those of new wordings by statement, None to leave them out. When the answer
        has any ``lacking``, nothing was written.
        """

    def compact(self) -> None:
        """Write the file anew, so that no free page and no log holds what was deleted."""

    def plan(
        self,
        lease: Lease,
        *,
        now: datetime,
        trigger: Trigger,
        requested: str,
        journal_upto: int,
        max_observations: int,
    ) -> Run | None:
        """Resume the scope's unfinished run under this lease, or plan a new one.

        A resumed run keeps its id, range, counts and ``planned_at``; a yielded one goes back to
        ``stood_at``. Returns None when nothing is pending.
        """

    def pin(
        self,
        lease: Lease,
        run_id: str,
        step: str,
        pins: Sequence[Pin],
        *,
        now: datetime,
        seconds: float = 0.0,
    ) -> Run:
        """Remember model outputs. A key that is pinned already keeps its first output.

        Returns the run with what it cost by now.
        """

    def generated(
        self,
        lease: Lease,
        run_id: str,
        observations: Sequence[Observation],
        *,
        events: int,
        tokens: int,
        counts: Mapping[str, int],
        now: datetime,
        cost: Cost = NO_COST,
    ) -> Run:
        """planned -> generated: store the observations, move the journal cursor to the run's end,
        fix the run's range of observations, and note the observations at the scopes above."""

    def reflected(
        self,
        lease: Lease,
        run_id: str,
        judged: Sequence[tuple[Proposal, Critique]],
        *,
        counts: Mapping[str, int],
        now: datetime,
        asked: Asked | None = None,
        cost: Cost = NO_COST,
    ) -> Run:
        """generated -> reflected. What the engine was asked is remembered."""

    def commit(
        self, lease: Lease, run_id: str, commit: Commit, *, now: datetime, cost: Cost = NO_COST
    ) -> Run:
        """reflected -> committed: deltas, revisions, evidence, vectors, cursor, outbox, schedule.

        ``now`` is the instant of the commit itself: every new revision gets it as ``recorded_at``,
        whatever its delta says, every delta as ``at``, the schedule as ``last_run_at``. Raises
        ``StaleRevision`` when a delta's revision does not follow the stored one.
        """

    def projected(self, run_id: str, *, now: datetime, cost: Cost = NO_COST) -> Run:
        """committed -> projected. Needs no lease: projecting is idempotent."""

    def yield_run(
        self,
        lease: Lease,
        run_id: str,
        reason: str,
        *,
        now: datetime,
        failed: bool = False,
        cost: Cost = NO_COST,
        spent_until: datetime | None = None,
        at_once: bool = False,
    ) -> Run:
        """Stop where the run stands until after the cool-down. ``failed`` counts an attempt.

        ``at_once``: it is no fault of the run, which is due again as soon as it can go on.

        ``spent_until``: a budget is spent, and there is room again at that instant. The run is not
        due before it, and its next turn has a whole budget of its own.
        """

    def abandon(
        self, lease: Lease, run_id: str, reason: str, *, now: datetime, cost: Cost = NO_COST
    ) -> Run: ...

    def resolve(self, review_id: str, ruling: Ruling, *, by: str, now: datetime) -> Review:
        """Keep a person's decision and the verdict in it; the scope is due to do it.

        Deciding the same again changes nothing. Raises ``NotFound``, ``InvalidInput`` for a ruling
        that does not answer the question, ``Conflict`` when it has expired or another was done.
        """

    def undo(
        self,
        run_id: str,
        *,
        owner: str,
        cascade: bool,
        vectors: Mapping[str, bytes],
        vector_model: str,
        now: datetime,
    ) -> Undoing:
        """Take a run back, by a run of its own that is committed and waits to be projected.

        With ``cascade`` the later runs that built on it too; without, ``Conflict`` names them.
        ``owner`` names this request: asking again for the same one gives the run it made.
        ``vectors`` holds an embedding for each statement of ``LedgerReader.reworded``; raises
        ``StaleRevision`` when one is missing. Raises what ``LedgerReader.undoing`` raises.
        """

    def note_heads(self, heads: Sequence[ScopeHead], *, watermark: int, now: datetime) -> None:
        """Write what the journal holds into the schedules and move the watermark."""

    def request(self, scope: Scope | None, *, now: datetime) -> list[Scope]:
        """Make every schedule at or below ``scope`` that is not idle due now. Returns them."""

    def postpone(self, scope: Scope, *, until: datetime) -> None:
        """Do not consider the scope due before ``until``."""

    def keep_gpu_seconds(self, day: str, seconds: float) -> None:
        """Keep what the idle pool held of GPUs on this day; it only grows."""

    def clear_marks(self, marks: Sequence[Mark]) -> int:
        """Clear marks whose note has not moved past the marked revision. Returns how many."""

    def mark_all(self, *, generation: int) -> int:
        """Mark every note, in any status, for projection; returns how many.

        For a new ``generation``, or the present one when its index has lost what it held.
        """

    def flip_generation(self, generation: int) -> None: ...

    def store_vectors(self, vectors: Sequence[NoteVector]) -> None:
        """Replace embeddings, e.g. after the embedding model was changed."""

    def close(self) -> None: ...
