"""``back_up``: copy the databases of a data directory while their owners write.

Each database is read through a read-only connection of its own, from one snapshot, in small steps
with a pause after each. Its owner goes on; only the space of its write-ahead log is not used again
until that copy is done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sleep_runtime import __version__
from sleep_runtime.core.errors import StoreBusy, StoreError, StoreFull
from sleep_runtime.core.ports import Clock
from sleep_runtime.stores.backup.contents import file_facts, journal_facts, ledger_facts
from sleep_runtime.stores.backup.manifest import (
    DATABASES,
    JOURNAL,
    LEDGER,
    LOGS,
    MANIFEST,
    REQUIRED,
    Manifest,
    manifest_digest,
)
from sleep_runtime.stores.backup.register import LOCK, Registered, forget, partial_of, register
from sleep_runtime.stores.datadir import DataDir, sync_directory, write_atomically
from sleep_runtime.stores.sqlite import connect_reader, store_errors
from sleep_runtime.telemetry.clock import SystemClock
from sleep_runtime.telemetry.failpoint import failpoint

STEP_PAGES = 256
SYNC_STEPS = 16
MAX_PAUSE_S = 0.25
_BLOCK = 1 << 20

Pause = Callable[[float], object]


def back_up(
    paths: DataDir, to: Path, *, clock: Clock | None = None, pause: Pause | None = None
) -> Manifest:
    """Write a backup of the data directory to ``to`` and register it; returns its manifest.

    The runtime may be up or down. ``to`` is created, or is an empty directory; until the backup
    is whole and on the disk it lies beside it, under a hidden name. ``pause`` waits for so many
    seconds after each step, by default as long as the step took.

    Raises ``StoreError`` when there is nothing to copy, when ``to`` holds something, or when a
    database is damaged; ``StoreBusy`` while another backup is made; ``StoreFull`` without room.
    """
    to = Path(to).expanduser().absolute()
    _check_source(paths)
    _check_target(paths, to)
    made_at = (clock or SystemClock()).now()
    with paths.lock(LOCK), _scratch(to) as scratch, _known(paths, to, made_at):
        _check_room(paths, scratch)
        for name in _there(paths.path):
            copy = _copy_log if name in LOGS else _copy
            copy(paths.path / name, scratch / name, pause or threading.Event().wait)
        failpoint("backup.copied")
        manifest = seal(scratch, made_at=made_at)
        digest = manifest_digest(scratch)
        register(paths, Registered(path=to, made_at=made_at, digest=digest))
        failpoint("backup.sealed")
        with store_errors(to):
            scratch.rename(to)
            sync_directory(to.parent)
    return manifest


@contextmanager
def _known(paths: DataDir, to: Path, made_at: datetime) -> Iterator[None]:
    """Have it on the list before its first byte, so that no copy is ever left unknown."""
    register(paths, Registered(path=to, made_at=made_at, digest=""))
    try:
        yield
    except BaseException:
        forget(paths, to)
        raise


def _check_source(paths: DataDir) -> None:
    lacking = [name for name in REQUIRED if not (paths.path / name).exists()]
    if lacking:
        raise StoreError(
            f"{paths.path} has no {' and no '.join(lacking)}: there is nothing to back up",
            field="data_dir",
            mend="name the runtime's directory with SLEEP_DATA_DIR",
        )
    paths.ensure()


def _check_target(paths: DataDir, to: Path) -> None:
    if to.resolve().is_relative_to(paths.path.resolve()):
        raise StoreError(
            f"{to} lies in the data directory and would be lost with it",
            field="to",
            mend="choose a directory on another disk",
        )
    with store_errors(to):
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise StoreError(
                f"{to} holds something already", field="to", mend="choose a new or empty directory"
            )


@contextmanager
def _scratch(to: Path) -> Iterator[Path]:
    """An empty directory beside ``to``, ours alone; gone at the end unless it was renamed.

    What a process that died left there is removed: its lock died with it.
    """
    scratch = partial_of(to)
    with store_errors(scratch):
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy(
                f"another backup is being written to {to}", field="to", mend="choose another one"
            ) from None
        with store_errors(scratch):
            for left in scratch.iterdir():
                left.unlink()
        try:
            yield scratch
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def _there(directory: Path) -> list[str]:
    return [name for name in (*DATABASES, *LOGS) if (directory / name).exists()]


def _check_room(paths: DataDir, scratch: Path) -> None:
    """Refuse before anything is written what cannot fit: a full disk may be the owners' too."""
    with store_errors(scratch):
        wanted = sum(
            each.stat().st_size
            for name in _there(paths.path)
            for each in (paths.path / name, paths.path / f"{name}-wal")
            if each.exists()
        )
        free = shutil.disk_usage(scratch).free
    if wanted > free:
        raise StoreFull(
            f"the backup takes up to {wanted} bytes and {scratch.parent} has {free} free",
            field="to",
            mend="make room there, or choose another disk",
        )


def _copy(source: Path, target: Path, pause: Pause) -> None:
    """Copy one database as it is now into a file that needs nothing beside it."""
    with store_errors(target):
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with closing(connect_reader(source)) as live, store_errors(source):
            # The open transaction is the snapshot: without it every commit of the owner between
            # two steps would make the copy begin again.
            live.execute("BEGIN")
            live.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            with closing(sqlite3.connect(target, isolation_level=None)) as copy:
                copy.execute("PRAGMA synchronous=OFF")  # synced below, and before it is renamed
                live.backup(copy, pages=STEP_PAGES, progress=_Pace(handle, pause))
                copy.execute("PRAGMA journal_mode=DELETE")
        with store_errors(target):
            os.fsync(handle)
    finally:
        os.close(handle)


def _copy_log(source: Path, target: Path, pause: Pause) -> None:
    """Copy the whole lines that a file has now; one that is being written is left out."""
    with store_errors(target), source.open("rb") as log:
        left = os.fstat(log.fileno()).st_size
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "r+b") as copy:
            pace = _Pace(handle, pause)
            whole = 0
            while block := log.read(min(left, _BLOCK)):
                if b"\n" in block:
                    whole = copy.tell() + block.rindex(b"\n") + 1
                copy.write(block)
                left -= len(block)
                pace(0, left, 0)
            copy.truncate(whole)
            copy.flush()
            os.fsync(handle)


class _Pace:
    """Between two steps: lets others have the processor and the disk.

    Written pages are synced little by little; one large sync at the end would hold up those of
    the journal's owner on the same disk.
    """

    def __init__(self, handle: int, pause: Pause) -> None:
        self._handle = handle
        self._pause = pause
        self._steps = 0
        self._began = time.monotonic()

    def __call__(self, _status: int, _remaining: int, _total: int) -> None:
        self._steps += 1
        if self._steps % SYNC_STEPS == 0:
            os.fsync(self._handle)
        self._pause(min(time.monotonic() - self._began, MAX_PAUSE_S))
        self._began = time.monotonic()


def seal(scratch: Path, *, made_at: datetime) -> Manifest:
    """Say what the copies in a directory hold, and write that as its manifest.

    The files are closed and on the disk. Raises ``StoreError`` when one is damaged, or when the
    ledger relies on more than the journal holds.
    """
    files = {name: file_facts(scratch / name) for name in _there(scratch)}
    ledger = ledger_facts(scratch / LEDGER, files[LEDGER].schema_version)
    journal = journal_facts(scratch / JOURNAL, files[JOURNAL].schema_version)
    if ledger is not None and ledger.furthest > journal.last_seq:
        raise StoreError(
            f"the journal ends at event {journal.last_seq}, but the ledger has read up to "
            f"{ledger.furthest}",
            field="data_dir",
            mend="the two are not of one runtime: nothing was written",
        )
    manifest = Manifest(
        version=__version__, made_at=made_at, files=files, ledger=ledger, journal=journal
    )
    with store_errors(scratch):
        write_atomically(scratch / MANIFEST, manifest.model_dump_json(indent=2))
        (scratch / MANIFEST).chmod(0o600)
    return manifest
