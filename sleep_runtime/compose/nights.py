"""What the night watch and the actors of the idle pool are made of.

These functions run inside those actors. The module imports neither Serve nor the hot path, which
keeps their processes small.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from sleep_runtime.actors.driver import DriverParts
from sleep_runtime.actors.engine import RemoteEmbedder, RemoteEngine
from sleep_runtime.actors.idle_pool import IdlePool, PoolMakers, PoolShape
from sleep_runtime.actors.owners import call, ledger_client
from sleep_runtime.actors.scheduler import Dispatch, Scheduler
from sleep_runtime.compose.cold import make_driver_parts, make_embedder, make_engine
from sleep_runtime.config import Settings
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.scope import Tier
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.clock import SystemClock
from sleep_runtime.telemetry.log import configure

PROJECT_TIMEOUT_S = 120.0


def make_scheduler(settings: Settings, ledger: Any, dispatch: Dispatch) -> Scheduler:
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
    )


def make_pool(settings: Settings, ledger: Any, index: Any) -> IdlePool:
    """The idle pool the night watch holds."""
    shards = settings.ray.tier_shards
    shape = PoolShape(
        cpus=settings.pool.cpus_per_engine,
        shards={Tier.ORG: shards.org, Tier.TEAM: shards.team, Tier.INDIVIDUAL: shards.individual},
        namespace=settings.ray.namespace,
    )
    makers = PoolMakers(
        engine=partial(_engine, settings),
        driver_parts=partial(_driver_parts, settings, ledger, index),
    )
    return IdlePool(shape, makers)


def catch_up(settings: Settings, index: Any) -> None:
    """Project what an index that was away has missed."""
    path = DataDir(settings.data_dir).ledger_path
    with contextlib.closing(SqliteLedgerReader(path)) as ledger:
        behind = bool(ledger.marks(limit=1))
    if behind:
        call(index, "project", timeout_s=PROJECT_TIMEOUT_S)


def _engine(settings: Settings) -> tuple[Engine, Embedder]:
    configure(settings.log.level, settings.log.format)
    embedder = make_embedder(settings)
    return make_engine(settings, embedder), embedder


def _driver_parts(settings: Settings, ledger: Any, index: Any, engine: Any) -> DriverParts:
    configure(settings.log.level, settings.log.format)
    return make_driver_parts(
        settings,
        ledger_client(ledger),
        partial(call, index, "project", timeout_s=PROJECT_TIMEOUT_S),
        engine=RemoteEngine(engine),
        embedder=RemoteEmbedder(engine),
    )
