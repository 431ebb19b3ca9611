"""What goes into the journal and what comes back: rows, acknowledgements, heads."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.scope import Scope


class JournalRow(NamedTuple):
    """One parsed event on its way to the disk. Small and flat: it crosses a process boundary.

    ``ts_us`` is the event's own time in microseconds since the epoch, UTC. ``digest`` covers the
    event's content, so that an id used again with other content is noticed. ``body`` is the
    event as canonical JSON. ``tokens`` is an estimate used for backlog limits only.
    """

    id: str
    scope: str
    session: str
    ts_us: int
    kind: str
    role: str
    trust: str
    digest: bytes
    body: bytes
    tokens: int


class AppendResult(BaseModel):
    """The acknowledgement of one batch: everything counted here is on the disk.

    ``conflicts`` are positions in the batch whose id was used before with other content; the
    first stays. ``duplicates`` counts ids seen before with the same content.
    """

    model_config = ConfigDict(frozen=True)

    accepted: int
    duplicates: int
    conflicts: tuple[int, ...] = ()


class ScopeHead(BaseModel):
    """How much the journal holds for one scope. Totals only grow.

    ``received_at`` is when its newest events came in.
    """

    model_config = ConfigDict(frozen=True)

    scope: Scope
    last_seq: int
    events: int
    tokens: int
    received_at: datetime | None = None
