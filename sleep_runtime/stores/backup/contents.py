"""What the files of a backup hold, as hashes: of their bytes and of their contents."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.backup.manifest import LOGS, FileFacts, JournalFacts, LedgerFacts
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.journal_schema import SCHEMA_VERSION
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.stores.ledger.revision import HEAD, known_revisions, too_new
from sleep_runtime.stores.sqlite import check_version, connect_reader, store_errors

_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    sha = hashlib.sha256()
    with store_errors(path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def file_facts(path: Path) -> FileFacts:
    """Size, hash and schema version of a closed file. Raises ``StoreError`` if it is damaged."""
    if path.name in LOGS:
        return FileFacts(bytes=path.stat().st_size, sha256=sha256_of(path), schema_version="")
    with closing(connect_reader(path)) as connection, store_errors(path):
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise StoreError(
                f"{path} is damaged ({said})",
                field="backup",
                mend="keep the backups there are, and look at the database it was copied from",
            )
        version = schema_of(connection)
    size = path.stat().st_size
    return FileFacts(bytes=size, sha256=sha256_of(path), schema_version=version)


def schema_of(connection: sqlite3.Connection) -> str:
    """The revision of a migrated database, else its ``PRAGMA user_version``."""
    migrated = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    if connection.execute(migrated).fetchone():
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""
    return str(connection.execute("PRAGMA user_version").fetchone()[0])


def ledger_facts(path: Path, schema_version: str) -> LedgerFacts | None:
    """The ledger's digest; None for one that an older version wrote.

    Raises ``StoreTooNew`` for one of a newer version.
    """
    if schema_version != HEAD:
        if schema_version not in known_revisions():
            raise too_new(path, schema_version)
        return None
    with closing(SqliteLedgerReader(path)) as ledger:
        return LedgerFacts(digest=ledger.digest(), furthest=ledger.furthest())


def journal_facts(path: Path, schema_version: str) -> JournalFacts:
    """Count the journal's events and hash them: organisation, id and digest, in their order.

    Raises ``StoreTooNew`` for a journal of a newer version.
    """
    check_version(int(schema_version), path, ours=SCHEMA_VERSION)
    sha, events = hashlib.sha256(), 0
    with closing(connect_reader(path)) as connection, store_errors(path):
        rows = connection.execute("SELECT org, id, digest FROM events ORDER BY seq")
        for org, id_, digest in rows:
            for part in (org.encode(), id_.encode(), digest):
                sha.update(len(part).to_bytes(8, "big"))
                sha.update(part)
            events += 1
    with closing(SqliteJournalReader(path)) as journal:
        last_seq = journal.last_seq()
    return JournalFacts(events=events, last_seq=last_seq, digest=sha.hexdigest())
