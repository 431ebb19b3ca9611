"""What the night watch and the actors of the idle pool are made of.

These functions run inside those actors. The module imports neither Serve nor the hot path, which
keeps their processes small.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from sleep_runtime.actors.cluster import ClusterEyes
from sleep_runtime.actors.driver import DriverParts
from sleep_runtime.actors.engine import EngineLine, RemoteEmbedder, RemoteEngine
from sleep_runtime.actors.erasures import RemoteJournal, RemoteVectors
from sleep_runtime.actors.idle_pool import IdlePool, PoolShape
from sleep_runtime.actors.owners import call, ledger_client
from sleep_runtime.actors.pace import Pace
from sleep_runtime.actors.pool_keeper import KeeperParts, PoolKeeper
from sleep_runtime.actors.scheduler import Dispatch, Scheduler, Slots
from sleep_runtime.actors.tiers import Tiers, TiersShape
from sleep_runtime.compose.cold import make_driver_parts, make_embedder, make_engine
from sleep_runtime.config import Settings
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.scope import Tier
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.erase_in import mend_backup
from sleep_runtime.stores.eraser import Eraser, EraserParts
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.clock import SystemClock
from sleep_runtime.telemetry.log import configure

PROJECT_TIMEOUT_S = 120.0
PURGE_TIMEOUT_S = 3600.0


def make_scheduler(settings: Settings, ledger: Any, dispatch: Dispatch, slots: Slots) -> Scheduler:
    """The scheduler inside the night watch."""
    configure(settings.log.level, settings.log.format)
    paths = DataDir(settings.data_dir)
    return Scheduler(
        journal=SqliteJournalReader(paths.journal_path),
        ledger=SqliteLedgerReader(paths.ledger_path),
        writer=ledger_client(ledger),
        dispatch=dispatch,
        clock=SystemClock(),
        max_due=settings.scheduler.max_due,
        settle_s=settings.scheduler.settle_s,
        slots=slots,
        policy=settings.policy,
    )


def make_tiers(settings: Settings, ledger: Any, index: Any, placement: dict[str, Any]) -> Tiers:
    """The tier actors the night watch holds, on the node of the stores."""
    return Tiers(_shape(settings, placement), partial(_driver_parts, settings, ledger, index))


def _shape(settings: Settings, placement: dict[str, Any]) -> TiersShape:
    shards = settings.ray.tier_shards
    return TiersShape(
        shards={Tier.ORG: shards.org, Tier.TEAM: shards.team, Tier.INDIVIDUAL: shards.individual},
        namespace=settings.ray.namespace,
        nights_at_once=settings.ray.nights_at_once,
        memory_bytes=settings.pool.tier_memory_bytes,
        placement=placement,
    )


def make_keeper(
    settings: Settings, ledger: Any, changed: Callable[[], None], backlog: Callable[[], Backlog]
) -> PoolKeeper:
    """What keeps the idle pool, inside the night watch."""
    shape = PoolShape(
        bundle=settings.pool.bundle,
        namespace=settings.ray.namespace,
        max_engines=settings.pool.max_engines,
        lanes=lanes(settings),
        engine_memory_bytes=settings.pool.engine_memory_bytes,
        make_pace=partial(make_pace, settings),
    )
    parts = KeeperParts(
        pool=IdlePool(shape, partial(_engine, settings)),
        policy=settings.pool,
        ledger=SqliteLedgerReader(DataDir(settings.data_dir).ledger_path),
        writer=ledger_client(ledger),
        clock=SystemClock(),
        eyes=ClusterEyes(),
    )
    return PoolKeeper(parts, changed, backlog)


def lanes(settings: Settings) -> int:
    """How many calls an engine takes at once: as many as nights can ask, if it batches them."""
    return 1 if settings.engine.kind == "extractive" else _shape(settings, {}).slots


def catch_up(settings: Settings, index: Any) -> None:
    """Project what an index that was away has missed."""
    path = DataDir(settings.data_dir).ledger_path
    with contextlib.closing(SqliteLedgerReader(path)) as ledger:
        behind = bool(ledger.marks(limit=1))
    if behind:
        call(index, "project", timeout_s=PROJECT_TIMEOUT_S)


def make_eraser(settings: Settings, journal: Any, ledger: Any, index: Any) -> Eraser:
    """What carries out erasures, inside the night watch, through the owners of the stores."""
    paths = DataDir(settings.data_dir)
    return Eraser(
        EraserParts(
            directory=paths.path,
            journal=RemoteJournal(journal),
            ledger=SqliteLedgerReader(paths.ledger_path),
            writer=ledger_client(ledger),
            purge_index=partial(call, index, "purge", timeout_s=PURGE_TIMEOUT_S),
            mend_backup=partial(mend_backup, paths),
            clock=SystemClock(),
            policy=settings.policy,
            embedder=RemoteVectors(index),
        )
    )


def _engine(settings: Settings) -> tuple[Engine, Embedder]:
    configure(settings.log.level, settings.log.format)
    embedder = make_embedder(settings)
    return make_engine(settings, embedder), embedder


def _driver_parts(settings: Settings, ledger: Any, index: Any, line: EngineLine) -> DriverParts:
    configure(settings.log.level, settings.log.format)
    return make_driver_parts(
        settings,
        ledger_client(ledger),
        partial(call, index, "project", timeout_s=PROJECT_TIMEOUT_S),
        engine=RemoteEngine(line),
        embedder=RemoteEmbedder(line),
        breathe=make_pace(settings).breathe,
    )


def make_pace(settings: Settings) -> Pace:
    """How the cold threads of one process hold back."""
    return Pace(settings.pool.busy_above, settings.pool.busy_share)
