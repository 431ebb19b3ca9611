"""The seams between decisions and the world. Adapters live in stores, engines and present.

Every method is synchronous and may block on disk, network or a model; shells decide in which
thread that happens. A vector is ``bytes``: little-endian float32, unit length, ``dim`` numbers.
All datetimes are timezone-aware UTC.
"""

from __future__ import annotations

from sleep_runtime.core.ports.clock import (
    Clock,
)
from sleep_runtime.core.ports.engines import (
    ChatAnswer,
    ChatModel,
    ChatRequest,
    Embedder,
    Engine,
    Forking,
    Interruptible,
    Loading,
)
from sleep_runtime.core.ports.index import (
    Hit,
    Index,
)
from sleep_runtime.core.ports.journal import (
    JournalReader,
    JournalViews,
    JournalWriter,
    SeenJournal,
)
from sleep_runtime.core.ports.ledger_reading import (
    LedgerReader,
    LedgerViews,
    SeenLedger,
)
from sleep_runtime.core.ports.ledger_rows import (
    Asked,
    Commit,
    Cursors,
    Mark,
    Nearest,
    NoteVector,
    Pending,
    Pin,
    SegmentRow,
    SpentBudget,
)
from sleep_runtime.core.ports.ledger_writing import (
    LedgerWriter,
)
from sleep_runtime.core.ports.presentation import (
    Compiled,
    Compiler,
    ScoredNote,
)

__all__ = [
    "Asked",
    "ChatAnswer",
    "ChatModel",
    "ChatRequest",
    "Clock",
    "Commit",
    "Compiled",
    "Compiler",
    "Cursors",
    "Embedder",
    "Engine",
    "Forking",
    "Hit",
    "Index",
    "Interruptible",
    "JournalReader",
    "JournalViews",
    "JournalWriter",
    "LedgerReader",
    "LedgerViews",
    "LedgerWriter",
    "Loading",
    "Mark",
    "Nearest",
    "NoteVector",
    "Pending",
    "Pin",
    "ScoredNote",
    "SeenJournal",
    "SeenLedger",
    "SegmentRow",
    "SpentBudget",
]
