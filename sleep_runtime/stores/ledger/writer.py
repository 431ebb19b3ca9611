"""SqliteLedger: the one owner of the ledger file, every public method one transaction.

The rules live in the modules of their nouns (leases, runs, commits, schedules, outbox) as
functions of an open transaction; this class opens the file, the transactions and nothing else.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import sqlalchemy as sa

from sleep_runtime.core.erasure import Erasure, ErasureState, Forgotten, Target
from sleep_runtime.core.errors import StoreBusy, StoreError
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.policy import Policy, TriggerPolicy
from sleep_runtime.core.ports import Asked, Commit, Mark, NoteVector, Pin
from sleep_runtime.core.proposal import Critique, Proposal
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.run import Lease, Run, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import NO_COST, Cost
from sleep_runtime.core.undo import Undoing
from sleep_runtime.stores import needles
from sleep_runtime.stores.compaction import compact
from sleep_runtime.stores.ledger import (
    commits,
    erasing,
    forgetting,
    leases,
    meta,
    outbox,
    reviews,
    runs,
    schedules,
    undoing,
)
from sleep_runtime.stores.ledger.reader import SqliteLedgerReader
from sleep_runtime.stores.ledger.revision import bring_to_head
from sleep_runtime.stores.sqlite import CHECKOUT_TIMEOUT_S, store_errors, writer_engine


class SqliteLedger:
    """The ledger in one SQLite file, for the one process that writes it.

    Opening creates the file or migrates it. A method has been fsynced when it returns; one that
    raises changed nothing. Safe to call from many threads: they take turns. ``reader`` reads the
    same file on connections of its own, so reading never waits for a write.

    Raises ``StoreTooNew`` for a file of a newer version, and ``StoreError`` (``StoreFull``,
    ``StoreBusy``) for what the disk or another owner does.
    """

    def __init__(self, path: Path | str, *, triggers: TriggerPolicy) -> None:
        self._path = Path(path)
        self._policy = triggers
        self._turn = threading.Lock()
        self._open = True
        self._engine = writer_engine(self._path)
        try:
            bring_to_head(self._engine, self._path)
            self._reader = SqliteLedgerReader(self._path)
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def reader(self) -> SqliteLedgerReader:
        """Reads what is committed; lives as long as this ledger."""
        return self._reader

    def close(self) -> None:
        """Wait for a running transaction, then close the file. Closing again does nothing."""
        with self._exclusively():
            if self._open:
                self._open = False
                self._reader.close()
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
    def _exclusively(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=CHECKOUT_TIMEOUT_S):
            raise StoreBusy(f"{self._path} is busy writing", field="ledger", mend="try again")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._exclusively():
            if not self._open:
                raise StoreError(f"{self._path} was closed", field="ledger", mend="open it again")
            with store_errors(self._path), self._engine.begin() as tx:
                yield tx

    # ------------------------------------------------------------------------ leases

    def acquire(self, scope: Scope, owner: str, *, now: datetime, ttl_s: float) -> Lease | None:
        with self._write() as tx:
            return leases.acquire(tx, scope, owner, now=now, ttl_s=ttl_s)

    def renew(self, lease: Lease, *, now: datetime, ttl_s: float) -> Lease:
        with self._write() as tx:
            return leases.renew(tx, lease, now=now, ttl_s=ttl_s)

    def release(self, lease: Lease) -> None:
        with self._write() as tx:
            leases.release(tx, lease)

    # ------------------------------------------------------------------------ runs

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
        with self._write() as tx:
            return runs.plan(
                tx,
                lease,
                now=now,
                trigger=trigger,
                requested=requested,
                journal_upto=journal_upto,
                max_observations=max_observations,
                policy=self._policy,
            )

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
        with self._write() as tx:
            return runs.pin(tx, lease, run_id, step, pins, now=now, seconds=seconds)

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
        with self._write() as tx:
            return runs.generated(
                tx,
                lease,
                run_id,
                observations,
                events=events,
                tokens=tokens,
                counts=counts,
                now=now,
                policy=self._policy,
                cost=cost,
            )

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
        with self._write() as tx:
            return runs.reflected(
                tx, lease, run_id, judged, counts=counts, now=now, asked=asked, cost=cost
            )

    def commit(
        self, lease: Lease, run_id: str, commit: Commit, *, now: datetime, cost: Cost = NO_COST
    ) -> Run:
        with self._write() as tx:
            return commits.commit(
                tx, lease, run_id, commit, now=now, policy=self._policy, cost=cost
            )

    def projected(self, run_id: str, *, now: datetime, cost: Cost = NO_COST) -> Run:
        with self._write() as tx:
            return runs.projected(tx, run_id, now=now, policy=self._policy, cost=cost)

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
        with self._write() as tx:
            return runs.yield_run(
                tx,
                lease,
                run_id,
                reason,
                now=now,
                policy=self._policy,
                failed=failed,
                cost=cost,
                spent_until=spent_until,
                at_once=at_once,
            )

    def abandon(
        self, lease: Lease, run_id: str, reason: str, *, now: datetime, cost: Cost = NO_COST
    ) -> Run:
        with self._write() as tx:
            return runs.abandon(tx, lease, run_id, reason, now=now, policy=self._policy, cost=cost)

    # ------------------------------------------------------------------------ people

    def resolve(self, review_id: str, ruling: Ruling, *, by: str, now: datetime) -> Review:
        with self._write() as tx:
            return reviews.resolve(tx, review_id, ruling, by=by, now=now, policy=self._policy)

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
        with self._write() as tx:
            return undoing.undo(
                tx,
                run_id,
                owner=owner,
                cascade=cascade,
                vectors=vectors,
                vector_model=vector_model,
                now=now,
                policy=self._policy,
            )

    # ------------------------------------------------------------------------ erasures

    def begin_erasure(self, erasure: Erasure, target: Target, known: Sequence[Scope]) -> Erasure:
        with self._write() as tx:
            return erasing.begin(tx, erasure, target, known)

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
        with self._write() as tx:
            return erasing.advance(
                tx, erasure_id, state, now=now, upto=upto, counts=counts, receipt=receipt
            )

    def amend_erasure(
        self, erasure_id: str, receipt: Mapping[str, Any], *, now: datetime
    ) -> Erasure:
        with self._write() as tx:
            return erasing.amend(tx, erasure_id, receipt, now=now)

    def forget(
        self,
        erasure_id: str,
        *,
        vectors: Mapping[str, bytes] | None,
        vector_model: str,
        policy: Policy,
    ) -> Forgotten:
        wanted = needles.read(self._path.parent, erasure_id)
        with self._exclusively(), store_errors(self._path), self._engine.connect() as tx:
            transaction = tx.begin()
            erasure = erasing.get(tx, erasure_id)
            if wanted is None and not erasure.done_with(ErasureState.FORGOTTEN):
                raise StoreError(
                    f"the file of {erasure_id} is gone", mend="ask for the erasure again"
                )
            done = forgetting.forget(
                tx,
                erasure,
                wanted or needles.Wanted(target=Target(scope=erasure.scope)),
                vectors=vectors,
                vector_model=vector_model,
                policy=policy,
            )
            if done.lacking:
                transaction.rollback()
            else:
                transaction.commit()
            return done

    def compact(self) -> None:
        with self._exclusively(), store_errors(self._path):
            raw = self._engine.raw_connection()
            try:
                compact(cast("sqlite3.Connection", raw.driver_connection), self._path)
            finally:
                raw.close()

    # ------------------------------------------------------------------------ schedules

    def note_heads(self, heads: Sequence[ScopeHead], *, watermark: int, now: datetime) -> None:
        with self._write() as tx:
            schedules.note_heads(tx, heads, policy=self._policy, now=now)
            meta.raise_to(tx, meta.WATERMARK, watermark)

    def request(self, scope: Scope | None, *, now: datetime) -> list[Scope]:
        with self._write() as tx:
            return schedules.request(tx, scope, policy=self._policy, now=now)

    def postpone(self, scope: Scope, *, until: datetime) -> None:
        with self._write() as tx:
            schedules.postpone(tx, scope, until=until)

    def keep_gpu_seconds(self, day: str, seconds: float) -> None:
        with self._write() as tx:
            meta.raise_to(tx, f"{meta.GPU_MS}{day}", round(seconds * 1000))

    # ------------------------------------------------------------------------ outbox

    def clear_marks(self, marks: Sequence[Mark]) -> int:
        with self._write() as tx:
            return outbox.clear(tx, marks)

    def mark_all(self, *, generation: int) -> int:
        with self._write() as tx:
            return outbox.mark_all(tx, generation)

    def flip_generation(self, generation: int) -> None:
        with self._write() as tx:
            outbox.flip(tx, generation)

    def store_vectors(self, vectors: Sequence[NoteVector]) -> None:
        with self._write() as tx:
            meta.bump(tx, outbox.store_vectors(tx, vectors))
