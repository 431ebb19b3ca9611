"""The tables of the journal, and how an instant is written in them: whole microseconds, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SCHEMA_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY,
        org TEXT NOT NULL, id TEXT NOT NULL, scope TEXT NOT NULL, session TEXT NOT NULL,
        ts_us INTEGER NOT NULL, kind TEXT NOT NULL, role TEXT NOT NULL, trust TEXT NOT NULL,
        received_us INTEGER NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL,
        UNIQUE (org, id)
    )""",
    "CREATE INDEX IF NOT EXISTS events_by_scope ON events (scope, seq)",
    "CREATE INDEX IF NOT EXISTS events_by_session ON events (scope, session, seq)",
    """CREATE TABLE IF NOT EXISTS heads (
        scope TEXT PRIMARY KEY, last_seq INTEGER NOT NULL,
        events INTEGER NOT NULL, tokens INTEGER NOT NULL, received_us INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS heads_by_last_seq ON heads (last_seq)",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)
LAST_SEQ = (
    "SELECT max(coalesce((SELECT max(seq) FROM events), 0),"
    " coalesce((SELECT max(last_seq) FROM heads), 0))"
)


def to_us(instant: datetime) -> int:
    """Whole microseconds since the epoch."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The UTC instant of so many microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)
