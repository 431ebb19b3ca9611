"""Concrete parts of a night: which engine and stores stand behind each port.

Imports nothing of the hot path: the processes of a night stay small.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sleep_runtime.actors.driver import DriverParts
from sleep_runtime.actors.heartbeat import Pulse
from sleep_runtime.actors.pace import nothing
from sleep_runtime.capture.redact import redact
from sleep_runtime.config import Settings
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ports import Clock, Embedder, Engine, LedgerWriter
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.prefilter import Prefiltered
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.clock import SystemClock

VLLM_BATCH = 1024


def make_embedder(settings: Settings) -> Embedder:  # noqa: ARG001 - one embedder today, chosen here
    """The embedder the settings ask for."""
    return MiniLmEmbedder()


def make_engine(settings: Settings, embedder: Embedder) -> Engine:
    """The engine the settings ask for. Another engine is another branch here, and one file."""
    chosen = settings.engine
    if chosen.kind == "openai":
        from sleep_runtime.engines.llm import LlmEngine
        from sleep_runtime.engines.openai import OpenAIChatModel

        asking = LlmEngine(
            OpenAIChatModel(
                chosen.base_url,
                chosen.model,
                chosen.api_key.get_secret_value(),
                timeout_s=chosen.timeout_s,
                max_concurrency=chosen.max_concurrency,
                retries=chosen.retries,
            ),
            max_output_tokens=chosen.max_output_tokens,
            max_parts=chosen.sessions_per_question,
            max_pairs=chosen.pairs_per_question,
        )
        return Prefiltered(asking, embedder) if chosen.prefilter else asking
    if chosen.kind == "vllm":
        from sleep_runtime.engines.async_llm import VllmOptions
        from sleep_runtime.engines.llm import LlmEngine
        from sleep_runtime.engines.vllm import VllmChatModel

        options = VllmOptions(model=chosen.model, **chosen.vllm.model_dump())
        asking = LlmEngine(
            VllmChatModel(options, timeout_s=chosen.timeout_s),
            max_output_tokens=chosen.max_output_tokens,
            # All questions of a call go in at once: the engine keeps its own places full.
            max_batch=VLLM_BATCH,
            max_parts=chosen.sessions_per_question,
            max_pairs=chosen.pairs_per_question,
        )
        return Prefiltered(asking, embedder) if chosen.prefilter else asking
    return ExtractiveEngine(embedder)


def make_driver_parts(
    settings: Settings,
    writer: LedgerWriter,
    project: Callable[[], int],
    *,
    clock: Clock | None = None,
    engine: Engine | None = None,
    embedder: Embedder | None = None,
    breathe: Callable[[], None] = nothing,
) -> DriverParts:
    """What drives a night, reading the stores of this machine and writing through ``writer``."""
    paths = DataDir(settings.data_dir)
    embedder = embedder or make_embedder(settings)
    return DriverParts(
        journal=SqliteJournalReader(paths.journal_path),
        ledger=SqliteLedgerReader(paths.ledger_path),
        writer=writer,
        engine=engine or make_engine(settings, embedder),
        embedder=embedder,
        project=project,
        redact=redact,
        clock=clock or SystemClock(),
        policy=settings.policy,
        pulse=Pulse(settings.scheduler.lease_ttl_s, settings.scheduler.heartbeat_s),
        breathe=breathe,
    )


def check_same_age(settings: Settings) -> None:
    """Refuse a journal that is older than the ledger beside it.

    It would give out positions the ledger has passed already, and what is captured there would
    be acknowledged and never read. Raises ``StoreError``.
    """
    paths = DataDir(settings.data_dir)
    with (
        contextlib.closing(SqliteJournalReader(paths.journal_path)) as journal,
        contextlib.closing(SqliteLedgerReader(paths.ledger_path)) as ledger,
    ):
        written, read = journal.last_seq(), ledger.furthest()
    if read > written:
        raise StoreError(
            f"the journal ends at event {written}, but the ledger has read up to {read}",
            field="data_dir",
            mend="restore journal.sqlite and ledger.sqlite from the same moment",
        )
