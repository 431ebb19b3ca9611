"""The whole runtime inside one process, without Ray: for tests, benchmarks and notebooks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from uuid import uuid4

from sleep_runtime.actors.driver import DriverParts, RunDriver
from sleep_runtime.actors.scheduler import Scheduler
from sleep_runtime.compose.cold import check_same_age, make_driver_parts, make_embedder
from sleep_runtime.compose.hot import make_hot_path_parts
from sleep_runtime.config import Settings
from sleep_runtime.core.audit import AuditLog
from sleep_runtime.core.erasure import Erasure, Target, public
from sleep_runtime.core.ports import Clock, Embedder, Engine, Index, LedgerReader
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.run import Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.serve.app import build_app
from sleep_runtime.serve.front import Authenticate, Front, anybody
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.erase_in import mend_backup
from sleep_runtime.stores.eraser import Eraser, EraserParts
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader
from sleep_runtime.stores.projector import Projector
from sleep_runtime.telemetry.clock import SystemClock
from sleep_runtime.telemetry.metrics import registry, render

# The directory's lock lets one process in at a time, so the name may outlive the process: what a
# dead one held is taken up again at once, under a higher epoch.
OWNER = "embedded"


@dataclass
class Embedded:
    """The whole runtime in this process, without Ray, one night after the other.

    A context manager: the stores are opened on entry and closed on exit. ``clock``, ``engine``
    and ``embedder`` replace the configured ones, which is how tests make days pass.
    """

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    engine: Engine | None = None
    embedder: Embedder | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._closing = opening
            self._open()
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.close()

    def _open(self) -> None:
        paths = DataDir(self.settings.data_dir)
        self._closing.enter_context(paths.lock("runtime"))
        self.embedder = self.embedder or make_embedder(self.settings)
        self.journal = self._close_later(
            SqliteJournal(
                paths.journal_path,
                max_batch=self.settings.journal.max_batch,
                max_pending=self.settings.journal.max_pending,
                max_pending_bytes=self.settings.journal.max_pending_bytes,
                clock=self.clock,
            )
        )
        self.writer = self._close_later(
            SqliteLedger(paths.ledger_path, triggers=self.settings.policy.triggers)
        )
        check_same_age(self.settings)
        self.ledger: LedgerReader = self._close_later(SqliteLedgerReader(paths.ledger_path))
        self.journal_reader = self._close_later(SqliteJournalReader(paths.journal_path))
        index = ChromaIndex(paths.index_path, buckets=self.settings.index.buckets)
        self.index: Index = self._close_later(index)
        if index.set_aside is not None or index.fresh:
            self.writer.mark_all(generation=self.ledger.generation())
        self.projector = Projector(self.ledger, self.writer, self.index)
        self._chroma = index
        self.eraser = Eraser(
            EraserParts(
                directory=paths.path,
                journal=self.journal,
                ledger=self.ledger,
                writer=self.writer,
                purge_index=self._purge_index,
                mend_backup=partial(mend_backup, paths),
                clock=self.clock,
                policy=self.settings.policy,
                embedder=self.embedder,
            )
        )
        self.driver_parts = self._driver_parts()
        self.driver = RunDriver(OWNER, self.driver_parts)
        self.scheduler = Scheduler(
            journal=self.journal_reader,
            ledger=self.ledger,
            writer=self.writer,
            dispatch=self._run_now,
            clock=self.clock,
            max_due=self.settings.scheduler.max_due,
            settle_s=self.settings.scheduler.settle_s,
            policy=self.settings.policy,
        )
        self.eraser.resume()

    def erase(self, scope: Scope, *, session: str = "", event: str = "") -> dict[str, Any]:
        """Erase everything at and below a scope, or one session or event of it; the receipt."""
        asked = self.eraser.request(Target(scope=scope, session=session, event=event))
        return public(self._finish(asked))

    def _finish(self, asked: Erasure) -> Erasure:
        done = self.eraser.finish(asked.id)
        self.driver.forget()
        return done

    def _purge_index(self) -> None:
        self._chroma.wipe()
        self.writer.mark_all(generation=self.ledger.generation())
        self.project()

    def nights(self, scope: Scope | None = None, *, max_rounds: int = 20) -> list[Run]:
        """Consolidate everything pending at and below ``scope`` until it is quiet.

        Stops early when a round came to nothing but yielded runs.
        """
        self._done: list[Run] = []
        for _ in range(max_rounds):
            before = len(self._done)
            self.scheduler.request(scope)
            self.scheduler.tick()
            if all(run.state is RunState.YIELDED for run in self._done[before:]):
                break
        return self._done

    def undo(self, run_id: str, *, cascade: bool = False) -> Undoing:
        """Take a run back, with leave to take later ones back too. Raises ``Conflict``."""
        assert self.embedder is not None  # noqa: S101 - set when it was opened
        plan = self.ledger.undoing(run_id, now=self.clock.now())
        words = self.ledger.reworded(plan)
        vectors = dict(zip(words, self.embedder.embed(words), strict=True))
        return self._take_back(run_id, cascade, vectors)

    def _take_back(self, run_id: str, cascade: bool, vectors: Mapping[str, bytes]) -> Undoing:  # noqa: FBT001 - the signature the hot path calls
        assert self.embedder is not None  # noqa: S101 - set when it was opened
        done: Undoing = self.writer.undo(
            run_id,
            owner=f"undo-{uuid4().hex}",
            cascade=cascade,
            vectors=vectors,
            vector_model=self.embedder.model,
            now=self.clock.now(),
        )
        self.project()
        if done.run is not None:
            self.writer.projected(done.run.id, now=self.clock.now())
        return done

    def project(self) -> int:
        """Empty the outbox."""
        return self.projector.drain()

    def app(self, authenticate: Authenticate = anybody, audit: AuditLog | None = None) -> Front:
        """The HTTP application over these stores.

        It asks nobody for a key, and enters nothing into an audit log, unless told how and where.
        """
        parts = make_hot_path_parts(
            self.settings,
            append=lambda rows: asyncio.wrap_future(self.journal.submit(rows)),
            request_night=self._request,
            repair=self._repair,
            undo=self._undo,
            resolve=self._resolve,
            erase=self._erase,
            gather_metrics=_own_metrics,
            ready=_true,
            pool=_no_pool,
            give_way=_nothing_to_give,
            index=self.index,
            audit=audit,
            clock=self.clock,
            embedder=self.embedder,
        )
        self._close_later(parts.journal)
        self._close_later(parts.ledger)
        self._close_later(parts.forgetter)
        self._close_later(parts.auditor)
        return build_app(parts, authenticate)

    async def _request(self, scope: Scope | None) -> list[Scope]:
        scopes = await asyncio.to_thread(self.scheduler.request, scope)
        await asyncio.to_thread(self.nights, scope)
        return scopes

    async def _erase(self, target: Target) -> Erasure:
        asked = await asyncio.to_thread(self.eraser.request, target)
        return await asyncio.to_thread(self._finish, asked)

    async def _undo(self, run_id: str, cascade: bool, vectors: Mapping[str, bytes]) -> Undoing:  # noqa: FBT001
        return await asyncio.to_thread(self._take_back, run_id, cascade, vectors)

    async def _resolve(self, review_id: str, ruling: Ruling, by: str) -> Review:
        keep = partial(self.writer.resolve, review_id, ruling, by=by, now=self.clock.now())
        return await asyncio.to_thread(keep)

    async def _repair(self, what: str) -> dict[str, int]:
        if what == "reconcile":
            return (await asyncio.to_thread(self.projector.reconcile)).model_dump()
        return (await asyncio.to_thread(self.projector.rebuild, self.embedder)).model_dump()

    def _run_now(self, scope: Scope, trigger: Trigger, requested: str) -> bool:
        run = self.driver.consolidate(scope, trigger, requested)
        if run is not None:
            self._done = [*getattr(self, "_done", []), run]
        return run is not None

    def _driver_parts(self) -> DriverParts:
        parts = make_driver_parts(
            self.settings,
            self.writer,
            self.project,
            clock=self.clock,
            engine=self.engine,
            embedder=self.embedder,
        )
        self._close_later(parts.journal)
        self._close_later(parts.ledger)
        if hasattr(parts.engine, "close"):
            self._close_later(parts.engine)
        return parts

    def _close_later(self, part: Any) -> Any:
        self._closing.callback(part.close)
        return part


async def _true() -> bool:
    return True


async def _no_pool() -> dict[str, Any]:
    return {"state": "none", "reason": "nights run in this process", "engines": [], "where": {}}


async def _nothing_to_give(seconds: float) -> dict[str, Any]:  # noqa: ARG001 - the signature the hot path calls
    return {"freed": True, "waited_ms": 0.0}


async def _own_metrics() -> bytes:
    return render(registry())
