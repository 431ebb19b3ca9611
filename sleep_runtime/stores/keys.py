"""API keys on SQLite: made, listed and revoked by any process of the machine.

Of a secret only its SHA-256 is kept. A password is stretched because people choose few of them;
a secret here is 256 random bits, which no number of guesses finds, so a plain hash gives away
nothing and costs a request a microsecond.

Whoever writes holds ``access.lock``: several writing connections at a time can corrupt a WAL file
of the SQLite that ships with Python.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from sleep_runtime.core.access import Caller
from sleep_runtime.core.errors import NotFound, StoreError
from sleep_runtime.core.keys import LOCAL_NAME, ApiKey, NewKey
from sleep_runtime.stores.datadir import file_lock, sync_directory
from sleep_runtime.stores.sqlite import connect_reader, connect_writer, schema_version, store_errors

SCHEMA_VERSION = 1
LOCK_WAIT_S = 10.0
LOOK_EVERY_S = 0.25
STALE_S = 5.0
"""How long keys are believed that could not be looked up again."""

PREFIX = "sr_"
_ID_CHARS = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that are read as another
_ID_RANDOM_CHARS = 10
_ID_END = len(PREFIX) + len("k_") + _ID_RANDOM_CHARS
_SECRET_BYTES = 32
# A reader waits this long for another that repairs the file, in the loop of the hot path.
_READER_BUSY_MS = 50

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS keys (
        id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, scope TEXT,
        roles TEXT NOT NULL, speaks TEXT NOT NULL, limits TEXT NOT NULL,
        created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT, local INTEGER NOT NULL
    ) WITHOUT ROWID""",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)
_COLUMNS = (
    "id, digest, name, scope, roles, speaks, limits, created_at, expires_at, revoked_at, local"
)


class Made(NamedTuple):
    """A key and its secret, which nobody can be shown again."""

    key: ApiKey
    secret: SecretStr


class Held(NamedTuple):
    """A key as it is kept, and who asks with it."""

    key: ApiKey
    digest: bytes
    caller: Caller


class KeyStore:
    """The keys of one data directory, for whoever may read it: that is the administrator.

    Every call opens the file, and what it wrote is on the disk when it returns. Raises
    ``StoreError``; ``StoreTooNew`` when a newer version wrote the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def create(self, new: NewKey, now: datetime) -> Made:
        """Make a key. Its secret is in the answer and nowhere else."""
        made = _make(new, now, local=False)
        with self._writing() as connection:
            _insert(connection, made)
        return made

    def create_local(self, new: NewKey, now: datetime, file: Path) -> ApiKey | None:
        """Make this machine's own key and leave its secret in ``file``, for its owner only.

        Once: None when it was made before, whatever became of it since.
        """
        made = _make(new.model_copy(update={"name": LOCAL_NAME}), now, local=True)
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM keys WHERE local").fetchone():
                return None
            # The file first: a secret nobody knows is replaced, a key nobody has is lost.
            with store_errors(file):
                file.unlink(missing_ok=True)
                _write_secret(file, made.secret.get_secret_value())
            _insert(connection, made)
        return made.key

    def forget_local(self) -> None:
        """Remove a machine's own key, whose secret stayed there: the next start makes another."""
        with self._writing() as connection:
            connection.execute("DELETE FROM keys WHERE local")

    def all(self) -> list[ApiKey]:
        """All keys, those that are expired or revoked too, the oldest first."""
        if not self.path.exists():
            return []
        with closing(connect_reader(self.path)) as connection:
            return [held.key for held in _all(connection, self.path)]

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """Let nobody in with it from now on. Again changes nothing. Raises ``NotFound``."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
                (now.isoformat(), key_id),
            )
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM keys WHERE id = ?",  # noqa: S608 - names of ours
                (key_id,),
            ).fetchone()
        if row is None:
            raise NotFound(
                f"there is no key {key_id!r}", field="id", mend="list them: sleep-runtime keys list"
            )
        return _held(row).key

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The one writing connection there is, in a transaction."""
        with file_lock(self.path.with_name("access.lock"), wait_s=LOCK_WAIT_S):
            _create_closed(self.path)
            with closing(connect_writer(self.path)) as connection:
                version = schema_version(connection, self.path, ours=SCHEMA_VERSION)
                with store_errors(self.path):
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        if version < SCHEMA_VERSION:
                            for statement in _SCHEMA:
                                connection.execute(statement)
                        yield connection
                    except BaseException:
                        connection.execute("ROLLBACK")
                        raise
                    connection.execute("COMMIT")


class KeyReader:
    """The keys as a replica knows them: in memory, at most ``look_every_s`` behind the file.

    A look is one pragma that says whether the file was written since, some microseconds. Keys that
    could not be looked at again are believed for ``STALE_S`` more, then it is ``StoreError``.
    """

    def __init__(
        self,
        path: Path,
        *,
        look_every_s: float = LOOK_EVERY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._look_every_s = look_every_s
        self._now = now
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._version = -1
        self._held: dict[str, Held] = {}
        self._looked_at = self._known_at = now()
        try:
            self._look()
        except StoreError:
            self.close()
            raise

    def find(self, token: str) -> Held | None:
        """The key that this is the secret of, expired or revoked though it may be."""
        now = self._now()
        if now - self._looked_at >= self._look_every_s and self._lock.acquire(blocking=False):
            try:
                self._looked_at = now
                self._look_again(now)
            finally:
                self._lock.release()
        held = self._held.get(token[len(PREFIX) : _ID_END])
        if held is None or not hmac.compare_digest(held.digest, digest_of(token)):
            return None
        return held

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look_again(self, now: float) -> None:
        try:
            self._look()
            self._known_at = now
        except StoreError:
            self.close()
            if now - self._known_at > STALE_S:
                self._looked_at = now - self._look_every_s  # nobody gets past it unseen
                raise

    def _look(self) -> None:
        with store_errors(self._path):
            found = self._path.stat()
            if self._connection is None or (found.st_dev, found.st_ino) != self._file:
                self.close()
                self._connection = connect_reader(self._path)
                self._connection.execute(f"PRAGMA busy_timeout={_READER_BUSY_MS}")
                self._file, self._version = (found.st_dev, found.st_ino), -1
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._held = {held.key.id: held for held in _all(self._connection, self._path)}
                self._version = version


def digest_of(token: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _make(new: NewKey, now: datetime, *, local: bool) -> Made:
    name = "k_" + "".join(secrets.choice(_ID_CHARS) for _ in range(_ID_RANDOM_CHARS))
    key = ApiKey(**dict(new), id=name, created_at=now, local=local)
    return Made(key, SecretStr(f"{PREFIX}{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"))


def _create_closed(path: Path) -> None:
    """Make the file before SQLite does, which would let others read it; its -wal is made alike."""
    with store_errors(path), suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _write_secret(file: Path, secret: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(secret + "\n")
        opened.flush()
        os.fsync(handle)
    sync_directory(file.parent)


def _insert(connection: sqlite3.Connection, made: Made) -> None:
    key = made.key
    connection.execute(
        f"INSERT INTO keys ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        (
            key.id,
            digest_of(made.secret.get_secret_value()),
            key.name,
            key.scope,
            json.dumps(sorted(key.roles)),
            key.speaks.value,
            key.limits.model_dump_json(exclude_defaults=True),
            key.created_at.isoformat(),
            key.expires_at.isoformat() if key.expires_at else None,
            None,
            int(key.local),
        ),
    )


def _all(connection: sqlite3.Connection, path: Path) -> list[Held]:
    schema_version(connection, path, ours=SCHEMA_VERSION)
    with store_errors(path):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM keys ORDER BY created_at, id"  # noqa: S608
        ).fetchall()
    return [_held(row) for row in rows]


def _held(row: tuple[object, ...]) -> Held:
    found = dict(zip(_COLUMNS.split(", "), row, strict=True))
    digest = bytes(found.pop("digest"))  # type: ignore[call-overload]
    found["roles"] = json.loads(str(found["roles"]))
    found["limits"] = json.loads(str(found["limits"]))
    key = ApiKey.model_validate(found)
    return Held(key, digest, key.caller())
