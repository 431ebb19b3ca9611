"""What a driver of nights works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sleep_runtime.actors.heartbeat import Pulse
from sleep_runtime.actors.pace import nothing
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import (
    Clock,
    Embedder,
    Engine,
    JournalReader,
    LedgerReader,
    LedgerWriter,
)


@dataclass(frozen=True)
class DriverParts:
    """What a driver works with. ``project`` empties the outbox and returns how much it did.

    ``breathe`` is called between two pieces of work, and returns when the next may begin.
    """

    journal: JournalReader
    ledger: LedgerReader
    writer: LedgerWriter
    engine: Engine
    embedder: Embedder
    project: Callable[[], int]
    redact: Callable[[str], str]
    clock: Clock
    policy: Policy
    pulse: Pulse = field(default_factory=Pulse)
    breathe: Callable[[], None] = nothing
