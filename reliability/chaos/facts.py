"""What a data directory says, as plain data; read without a word to the processes that own it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger.schema import from_us
from sleep_runtime.stores.sqlite import connect_reader


class Kept(NamedTuple):
    """An event by what names it: an organisation may use an id once."""

    org: str
    id: str


class Held(NamedTuple):
    """A row of the leases; an empty owner means that nobody holds the scope."""

    scope: str
    owner: str
    epoch: int
    expires_at: datetime


class NoteRow(NamedTuple):
    """One revision of a note."""

    id: str
    revision: int
    scope: str
    status: str
    statement: str
    subject: str
    aspect: str
    value: str
    applies_when: str
    about: Mapping[str, str]
    support: int
    evidence: tuple[str, ...]


class RunRow(NamedTuple):
    """One run, as far as it says what it did."""

    id: str
    scope: str
    state: str
    journal_upto: int
    events: int
    reason: str
    undoes: bool
    undone: bool

    @property
    def over(self) -> bool:
        return self.state in ("projected", "abandoned")


class Change(NamedTuple):
    """One committed delta."""

    run: str
    note: str
    revision: int


class Usage(NamedTuple):
    """What a process holds at a moment."""

    files: int
    memory_bytes: int


@dataclass(frozen=True)
class Facts:
    """The ledger at one moment: one snapshot, so its parts belong together."""

    notes: tuple[NoteRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    changes: tuple[Change, ...] = ()
    evidence: Mapping[str, int] = field(default_factory=dict)
    """How many events speak for a note, by its id."""
    cursors: Mapping[str, int] = field(default_factory=dict)
    leases: tuple[Held, ...] = ()
    marks: tuple[str, ...] = ()

    def newest(self) -> list[NoteRow]:
        """The newest revision of every note."""
        latest: dict[str, NoteRow] = {}
        for note in sorted(self.notes, key=lambda note: note.revision):
            latest[note.id] = note
        return list(latest.values())

    def active(self) -> dict[str, int]:
        """The revision of every active note."""
        return {note.id: note.revision for note in self.newest() if note.status == "active"}


@dataclass(frozen=True)
class JournalFacts:
    """The journal at one moment."""

    kept: tuple[Kept, ...] = ()
    by_scope: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[str, int] = field(default_factory=dict)


def journal(data_dir: Path) -> JournalFacts:
    """What the journal holds. Raises ``StoreError`` when it cannot be read."""
    with _snapshot(DataDir(data_dir).journal_path) as rows:
        kept = tuple(Kept(*row) for row in rows.execute("SELECT org, id FROM events"))
        by_scope = rows.execute("SELECT scope, count(*) FROM events GROUP BY scope")
        heads = rows.execute("SELECT scope, events FROM heads")
        return JournalFacts(kept, dict(by_scope.fetchall()), dict(heads.fetchall()))


def ledger(data_dir: Path) -> Facts:
    """What the ledger holds. Raises ``StoreError`` when it cannot be read."""
    with _snapshot(DataDir(data_dir).ledger_path) as rows:
        return Facts(
            notes=tuple(_note(row) for row in rows.execute(_NOTES)),
            runs=tuple(_run(row) for row in rows.execute(_RUNS)),
            changes=tuple(Change(*row) for row in rows.execute(_CHANGES)),
            evidence=dict(rows.execute(_EVIDENCE).fetchall()),
            cursors=dict(rows.execute("SELECT scope, journal FROM cursors").fetchall()),
            leases=tuple(
                Held(scope, owner, epoch, from_us(at))
                for scope, owner, epoch, at in rows.execute(_LEASES)
            ),
            marks=tuple(name for (name,) in rows.execute("SELECT note_id FROM outbox")),
        )


_NOTES = "SELECT note_id, revision, scope, status, claim, support, evidence FROM notes"
_RUNS = "SELECT id, scope, state, journal_upto, counts, reason, undoes, undone_by FROM runs"
_CHANGES = "SELECT run_id, note_id, revision FROM deltas"
_EVIDENCE = (
    "SELECT note_id, count(DISTINCT event_id) FROM note_evidence"
    " WHERE weight > 0 AND NOT undone GROUP BY note_id"
)
_LEASES = "SELECT scope, owner, epoch, expires_at FROM leases"


def _note(row: tuple[Any, ...]) -> NoteRow:
    name, revision, scope, status, claim_json, support, evidence = row
    claim = json.loads(claim_json)
    return NoteRow(
        name,
        revision,
        scope,
        status,
        claim["statement"],
        claim.get("subject", ""),
        claim.get("aspect", ""),
        claim.get("value", ""),
        claim.get("applies_when", ""),
        claim.get("about", {}),
        int(json.loads(support)["events"]),
        tuple(sorted(json.loads(evidence))),
    )


def _run(row: tuple[Any, ...]) -> RunRow:
    name, scope, state, upto, counts, reason, undoes, undone_by = row
    events = int(json.loads(counts).get("events", 0))
    return RunRow(
        name, scope, state, upto, events, reason, bool(json.loads(undoes)), bool(undone_by)
    )


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """One read transaction, so that what is read row by row belongs together."""
    with contextlib.closing(connect_reader(path)) as connection:
        connection.execute("BEGIN")
        yield connection
