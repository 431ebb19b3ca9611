"""Concrete parts of the hot path: which stores and compilers stand behind each port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sleep_runtime import __version__
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.redact import redact
from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.config import Settings
from sleep_runtime.consolidation import budget
from sleep_runtime.consolidation.nearest import nearest
from sleep_runtime.core.audit import AuditLog
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.core.policy import BudgetPolicy
from sleep_runtime.core.ports import Clock, Embedder, LedgerReader, SpentBudget
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.present.registry import get_compiler, load_compilers
from sleep_runtime.present.search import IndexQuery, Searcher
from sleep_runtime.present.tokens import make_counter
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.hot_path import HotPathParts
from sleep_runtime.serve.latency import LatencyWindow
from sleep_runtime.serve.limits import Limiter
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.forgetter import Forgetter
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.clock import SystemClock


def make_hot_path_parts(
    settings: Settings,
    *,
    append: Callable[[Sequence[JournalRow]], Awaitable[AppendResult]],
    request_night: Callable[[Scope | None], Awaitable[list[Scope]]],
    repair: Callable[[str], Awaitable[dict[str, int]]],
    undo: Callable[[str, bool, Mapping[str, bytes]], Awaitable[Undoing]],
    resolve: Callable[[str, Ruling, str], Awaitable[Review]],
    erase: Callable[[Target], Awaitable[Erasure]],
    gather_metrics: Callable[[], Awaitable[bytes]],
    ready: Callable[[], Awaitable[bool]],
    pool: Callable[[], Awaitable[dict[str, Any]]],
    give_way: Callable[[float], Awaitable[dict[str, Any]]],
    index: IndexQuery,
    clock: Clock | None = None,
    embedder: Embedder | None = None,
    started_at: datetime | None = None,
    latency: LatencyWindow | None = None,
    audit: AuditLog | None = None,
) -> HotPathParts:
    """What answers requests, reading the stores of this machine."""
    paths = DataDir(settings.data_dir)
    clock = clock or SystemClock()
    embedder = embedder or make_embedder(settings)
    ledger = SqliteLedgerReader(paths.ledger_path)
    searcher = Searcher(
        ledger,
        index,
        embedder,
        exact_limit=settings.index.exact_limit,
        cache_bytes=settings.search.cache_mb * 1024 * 1024,
    )
    compilers = load_compilers(counter=make_counter(settings.compiler.tokenizer))
    get_compiler(compilers, settings.compiler.name)  # a wrong default is an error now, not later
    return HotPathParts(
        append=append,
        request_night=request_night,
        repair=repair,
        undo=undo,
        resolve=resolve,
        nearest=partial(nearest, policy=settings.policy),
        spent=partial(_spent, ledger, settings.policy.budget),
        embedder=embedder,
        gather_metrics=gather_metrics,
        ready=ready,
        pool=pool,
        give_way=give_way,
        latency=latency,
        journal=SqliteJournalReader(paths.journal_path),
        ledger=ledger,
        searcher=searcher,
        forgetter=Forgetter(ledger, searcher.forget),
        erase=erase,
        compilers=compilers,
        redact=redact,
        clock=clock,
        engine_name=settings.engine.kind,
        version=__version__,
        started_at=started_at or clock.now(),
        body_s=settings.http.body_timeout_s,
        max_bodies_bytes=settings.http.max_bodies_bytes,
        limits=CaptureLimits(max_body_bytes=settings.http.max_body_bytes),
        auditor=Auditor(audit, clock),
        limiter=Limiter(settings.limits, replicas=settings.http.replicas),
        default_compiler=settings.compiler.name,
        default_budget_tokens=settings.compiler.budget_tokens,
        default_k=settings.search.k,
        max_k=settings.search.max_k,
    )


def _spent(ledger: LedgerReader, limits: BudgetPolicy, now: datetime) -> list[SpentBudget]:
    """The budgets that keep nights from starting now."""
    if not budget.windowed(limits):
        return []
    held = budget.held(ledger.spending(since=budget.window_start(limits, now)), limits, now)
    return [
        SpentBudget(limit=one.field, org=one.who, reason=one.reason, until=one.until)
        for one in held.all()
        if one.until is not None
    ]
