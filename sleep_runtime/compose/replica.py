"""What a Serve replica is made of: the HTTP application, wired to the owners of the stores."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from ray.exceptions import RayActorError, RayError, RayTaskError

from sleep_runtime.actors.journal_client import JournalClient
from sleep_runtime.actors.owners import IndexClient, unwrap
from sleep_runtime.actors.whereabouts import here
from sleep_runtime.compose.access import make_authenticator
from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.compose.hot import make_hot_path_parts
from sleep_runtime.config import Settings
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.errors import EngineError, StoreError
from sleep_runtime.core.ports import Embedder
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.serve.app import build_app
from sleep_runtime.serve.front import Front
from sleep_runtime.serve.latency import LatencyWindow
from sleep_runtime.stores.audit import AuditFile
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import configure, get_logger
from sleep_runtime.telemetry.metrics import Sample, merge, registry, snapshot

REQUEST_TIMEOUT_S = 30.0
REPAIR_TIMEOUT_S = 600.0
METRICS_TIMEOUT_S = 2.0
READY_TIMEOUT_S = 2.0
POOL_TIMEOUT_S = 5.0
REPORT_EVERY_S = 1.0

log = get_logger(__name__)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Owners:
    """Handles of the actors that own the stores and the nights."""

    journal: Any
    ledger: Any
    index: Any
    watch: Any

    def each(self) -> tuple[Any, ...]:
        return (self.journal, self.ledger, self.index, self.watch)


def build_replica_app(settings: Settings, owners: Owners) -> Front:
    """Runs once in each replica, when it starts."""
    configure(settings.log.level, settings.log.format)
    embedder = make_embedder(settings)
    journal = JournalClient(
        partial(_find_journal, owners),
        max_pending=settings.journal.max_pending,
        max_pending_bytes=settings.journal.max_pending_bytes,
    )
    # Loading the model takes longer than the first request should wait for it.
    threading.Thread(target=_warm_up, args=(embedder,), daemon=True).start()
    return build_app(
        make_hot_path_parts(
            settings,
            embedder=embedder,
            append=journal.append,
            request_night=partial(_request_night, owners),
            repair=partial(_repair, owners),
            undo=partial(_undo, owners, embedder.model),
            resolve=partial(_resolve, owners),
            erase=partial(_erase, owners),
            gather_metrics=partial(_gather_metrics, owners),
            ready=partial(_ready, owners),
            pool=partial(_pool, owners),
            give_way=partial(_give_way, owners, settings.pool.grace_s),
            latency=_watched(settings, owners),
            index=IndexClient(owners.index),
            audit=AuditFile(DataDir(settings.data_dir).audit_path),
        ),
        make_authenticator(settings),
    )


def _warm_up(embedder: Embedder) -> None:
    try:
        embedder.embed(["warm up"])
    except EngineError as error:
        # Capture needs no model, and search answers by words until there is one.
        log.warning(LogEvent.SEARCH_DEGRADED, part="embedder", reason=str(error))


def _watched(settings: Settings, owners: Owners) -> LatencyWindow | None:
    """A window the night watch is told of every second, if the pool looks at the hot path."""
    if settings.pool.hot_p99_ms is None and settings.pool.max_queued is None:
        return None
    window, name = LatencyWindow(), f"replica-{uuid4().hex}"

    def report() -> None:
        pause = threading.Event()
        while not pause.wait(REPORT_EVERY_S):
            p99_ms, ongoing = window.read()
            # Nobody waits for it: a watch that is being restarted has missed one report.
            owners.watch.hot_path.remote(name, p99_ms, ongoing)

    threading.Thread(target=report, name="latency-report", daemon=True).start()
    return window


async def _pool(owners: Owners) -> dict[str, Any]:
    """The idle pool as the night watch sees it; a watch that is away is a state of its own."""
    try:
        found: dict[str, Any] = await _ask(
            owners.watch.pool.remote(), "night watch", POOL_TIMEOUT_S
        )
    except StoreError as error:
        return {"state": "unknown", "reason": error.reason, "engines": [], "where": {}}
    asked = {name: getattr(owners, name).where.remote() for name in ("journal", "ledger", "index")}
    answers = await asyncio.gather(
        *(asyncio.wait_for(ref, READY_TIMEOUT_S) for ref in asked.values()), return_exceptions=True
    )
    places = {
        name: asdict(answer)
        for name, answer in zip(asked, answers, strict=True)
        if not isinstance(answer, BaseException)
    }
    return {**found, "where": {**places, "hot-path": asdict(here()), **found["where"]}}


async def _give_way(owners: Owners, grace_s: float, seconds: float) -> dict[str, Any]:
    asked = owners.watch.give_way.remote(seconds, grace_s)
    freed: dict[str, Any] = await _ask(asked, "night watch", grace_s + REQUEST_TIMEOUT_S)
    return freed


async def _find_journal(owners: Owners) -> str:
    return await _ask(owners.journal.address.remote(), "journal", READY_TIMEOUT_S)


async def _request_night(owners: Owners, scope: Scope | None) -> list[Scope]:
    return await _ask(owners.watch.request.remote(scope), "night watch", REQUEST_TIMEOUT_S)


async def _repair(owners: Owners, what: str) -> dict[str, int]:
    return await _ask(getattr(owners.index, what).remote(), "index", REPAIR_TIMEOUT_S)


async def _undo(
    owners: Owners,
    vector_model: str,
    run_id: str,
    cascade: bool,  # noqa: FBT001 - the signature the hot path calls
    vectors: Mapping[str, bytes],
) -> Undoing:
    """Take a run back and project it. An index that is away catches up by itself."""
    how = {
        "owner": f"undo-{uuid4().hex}",
        "cascade": cascade,
        "vectors": dict(vectors),
        "vector_model": vector_model,
        "now": datetime.now(UTC),
    }
    done: Undoing = await _tell_ledger(owners, "undo", (run_id,), how)
    try:
        await _ask(owners.index.project.remote(), "index", REQUEST_TIMEOUT_S)
        if done.run is not None:
            await _tell_ledger(owners, "projected", (done.run.id,), {"now": datetime.now(UTC)})
    except StoreError as error:
        log.warning(LogEvent.PROJECT_FAILED, run=run_id, reason=str(error))
    return done


async def _erase(owners: Owners, target: Target) -> Erasure:
    """Ask for an erasure; the night watch carries it out, whatever dies meanwhile."""
    return await _ask(owners.watch.erase.remote(target), "night watch", REQUEST_TIMEOUT_S)


async def _resolve(owners: Owners, review_id: str, ruling: Ruling, by: str) -> Review:
    how = {"by": by, "now": datetime.now(UTC)}
    kept: Review = await _tell_ledger(owners, "resolve", (review_id, ruling), how)
    return kept


async def _tell_ledger(
    owners: Owners, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    asked = owners.ledger.call.remote(method, args, kwargs)
    return await _ask(asked, "ledger", REQUEST_TIMEOUT_S)


async def _ask(answer: Awaitable[Answer], owner: str, timeout_s: float) -> Answer:
    """Wait for an owner's answer, at most ``timeout_s``; its errors come out as our own."""
    try:
        return await asyncio.wait_for(answer, timeout_s)
    except RayTaskError as error:
        raise unwrap(error) from None
    except RayActorError:
        raise StoreError(f"the {owner} is being restarted", mend="send it again") from None
    except TimeoutError:
        raise StoreError(f"the {owner} gave no answer in time", mend="send it again") from None


async def _gather_metrics(owners: Owners) -> bytes:
    asked = [owner.metrics.remote() for owner in owners.each()]
    found: list[list[Sample]] = [snapshot(registry())]
    for answer in await asyncio.gather(
        *(asyncio.wait_for(ref, METRICS_TIMEOUT_S) for ref in asked), return_exceptions=True
    ):
        _collect(answer, found)
    try:
        found.extend(await asyncio.wait_for(owners.watch.pool_metrics.remote(), METRICS_TIMEOUT_S))
    except (RayError, TimeoutError) as error:
        log.warning(LogEvent.ACTOR_AWAY, reason=str(error))
    return merge(found)


def _collect(answer: list[Sample] | BaseException, found: list[list[Sample]]) -> None:
    if isinstance(answer, BaseException):
        log.warning(LogEvent.ACTOR_AWAY, reason=str(answer))
    else:
        found.append(answer)


async def _ready(owners: Owners) -> bool:
    """True when the journal and the ledger answer: capture and reading need no one else."""
    asked = (owners.journal.ready.remote(), owners.ledger.ready.remote())
    try:
        answers = await asyncio.gather(*(asyncio.wait_for(ref, READY_TIMEOUT_S) for ref in asked))
    except (RayError, TimeoutError):
        return False
    return all(answers)
