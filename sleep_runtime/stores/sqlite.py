"""SQLite, opened the one right way and with its errors translated in one place.

One process owns a file and writes through exactly one connection (two writing connections can
corrupt a WAL file before SQLite 3.51.3); every other connection, in any process, opens it
``mode=ro``. A commit on the writing connection has been fsynced when it returns.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from sleep_runtime.core.errors import StoreBusy, StoreError, StoreFull, StoreTooNew

BUSY_TIMEOUT_MS = 5_000
CHECKOUT_TIMEOUT_S = 30.0
READER_CONNECTIONS = 8
_SCARCE_BYTES = 1 << 20

_WRITER_PRAGMAS: tuple[str, ...] = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA temp_store=MEMORY",
    # What is deleted is overwritten: it must not come back from a free page.
    "PRAGMA secure_delete=ON",
)
_READER_PRAGMAS = ("PRAGMA query_only=ON", "PRAGMA temp_store=MEMORY")

# The low byte of an SQLite result code is its class.
_FULL, _IOERR, _BUSY, _LOCKED = 13, 10, 5, 6
_CORRUPT, _NOTADB, _CANTOPEN, _READONLY, _PERM = 11, 26, 14, 8, 3


def connect_writer(path: Path) -> sqlite3.Connection:
    """The writing connection: WAL, fsync before every commit returns, explicit transactions.

    Creates the file. May be handed to another thread, but is not to be used by two at once.
    Raises ``StoreError`` (``StoreFull``, ``StoreBusy``) like everything here.
    """
    with store_errors(path):
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare_writer(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare_writer(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path} cannot keep a write-ahead log (journal_mode is {mode})",
            field="data_dir",
            mend="put the data directory on a local disk",
        )
    for pragma in _WRITER_PRAGMAS:
        connection.execute(pragma)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; works in any process of the machine while the owner writes."""
    if not path.exists():
        raise StoreError(
            f"{path} does not exist", field="data_dir", mend="start the runtime that owns it first"
        )
    with store_errors(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _READER_PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
    return connection


def writer_engine(path: Path) -> sa.Engine:
    """An engine with the one writing connection: a second thread waits for the first to finish.

    Every transaction starts with ``BEGIN IMMEDIATE``. Wrap its use in ``store_errors(path)``.
    """
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: connect_writer(path),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=CHECKOUT_TIMEOUT_S,
    )
    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def reader_engine(path: Path) -> sa.Engine:
    """An engine of up to ``READER_CONNECTIONS`` read-only connections; safe for many threads.

    One ``engine.connect()`` block is one snapshot. Wrap its use in ``store_errors(path)``.
    """
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: connect_reader(path),
        poolclass=QueuePool,
        pool_size=READER_CONNECTIONS,
        max_overflow=0,
        pool_timeout=CHECKOUT_TIMEOUT_S,
    )
    _begin_with(engine, "BEGIN")
    return engine


class ReadPool:
    """Up to ``READER_CONNECTIONS`` read-only connections, for the queries every request makes.

    Where an SQLAlchemy engine takes some 100 microseconds to hand over a connection and compile a
    statement, this takes one. A connection is made when all are in use. Thread-safe; whoever finds
    all in use waits at most ``CHECKOUT_TIMEOUT_S``, then it is ``StoreBusy``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: deque[sqlite3.Connection] = deque()
        self._room = threading.BoundedSemaphore(READER_CONNECTIONS)
        self._open = True

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; one statement is one snapshot."""
        if not self._room.acquire(timeout=CHECKOUT_TIMEOUT_S):
            raise StoreBusy(f"{self._path}: no connection is free", field="data_dir")
        try:
            with store_errors(self._path):
                connection = self._take()
                try:
                    yield connection
                finally:
                    self._give_back(connection)
        finally:
            self._room.release()

    def close(self) -> None:
        """Close what is not in use now, and the rest as it is given back."""
        self._open = False
        while self._free:
            self._free.pop().close()

    def _take(self) -> sqlite3.Connection:
        if not self._open:
            raise StoreError(f"{self._path} was closed", field="ledger", mend="open it again")
        try:
            return self._free.pop()
        except IndexError:
            return connect_reader(self._path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._open:
            self._free.append(connection)
        else:
            connection.close()


def _begin_with(engine: sa.Engine, statement: str) -> None:
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # Past SQLAlchemy: every read and every write begins here.
        connection.connection.cursor().execute(statement)


def schema_version(connection: sqlite3.Connection, path: Path, *, ours: int) -> int:
    """The file's ``PRAGMA user_version`` (0 when new). Raises ``StoreTooNew`` beyond ``ours``."""
    with store_errors(path):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return check_version(int(version), path, ours=ours)


def check_version(found: int, path: Path, *, ours: int) -> int:
    """``found``, unless it is beyond the schema version this program knows: ``StoreTooNew``."""
    if found > ours:
        raise StoreTooNew(
            f"{path} has schema version {found}, this program knows up to {ours}",
            field="data_dir",
            mend="run the newer sleep-runtime, or choose another SLEEP_DATA_DIR",
        )
    return found


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Translate whatever SQLite, SQLAlchemy or the file system raises inside into our errors."""
    try:
        yield
    except (sqlite3.Error, DBAPIError, PoolTimeout, OSError) as error:
        raise as_store_error(error, path) from error


def as_store_error(error: BaseException, path: Path) -> StoreError:
    """The ``StoreError`` for an exception of ``sqlite3``, SQLAlchemy or the file system."""
    if isinstance(error, StoreError):
        return error
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code == _FULL or _out_of_space(cause, code, path):
        return StoreFull(
            f"no space is left for {path}: nothing of this write was kept",
            field="data_dir",
            mend="make room on the disk, then send it again",
        )
    if code in (_BUSY, _LOCKED) or isinstance(cause, PoolTimeout):
        return StoreBusy(
            f"{path} is locked by another connection",
            field="data_dir",
            mend="one runtime owns a data directory: stop the other, or choose another one",
        )
    if code in (_CORRUPT, _NOTADB):
        return StoreError(
            f"{path} is damaged ({cause})",
            field="data_dir",
            mend="stop the runtime, keep the file, restore a backup",
        )
    if code in (_CANTOPEN, _READONLY, _PERM) or isinstance(cause, OSError):
        return StoreError(
            f"{path} cannot be opened or written ({cause})",
            field="data_dir",
            mend="check that the directory exists and belongs to you",
        )
    return StoreError(f"{path}: {cause}", field="data_dir")


def _out_of_space(cause: BaseException, code: int, path: Path) -> bool:
    """Whether a failed write was for want of space: SQLite reports some of them as I/O errors."""
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if code not in (_IOERR, _CANTOPEN):
        return False
    try:
        return shutil.disk_usage(path.parent).free < _SCARCE_BYTES
    except OSError:
        return False
