"""Compaction: an SQLite file and its log rewritten, so that they hold live rows and nothing else.

``secure_delete`` overwrites what a statement deletes. What older versions of pages left behind,
in free pages, in gaps of pages and in the log, goes only when the file is written anew.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from sleep_runtime.core.errors import StoreBusy
from sleep_runtime.stores.sqlite import store_errors

CHECKPOINT_WAIT_S = 30.0
_POLL_S = 0.05


def compact(connection: sqlite3.Connection, path: Path) -> None:
    """Write the file anew and empty its log. The writing connection, outside a transaction.

    Nobody else writes meanwhile; readers go on. It takes about as long as copying the file twice,
    and as much free space beside it and in the directory for temporary files. Raises ``StoreBusy``
    when a reader keeps the log from being emptied for ``CHECKPOINT_WAIT_S``; doing it again is
    safe.
    """
    with store_errors(path):
        _truncate_log(connection, path)
        connection.execute("PRAGMA temp_store=FILE")  # a copy of the file has no place in memory
        try:
            connection.execute("VACUUM")
        finally:
            connection.execute("PRAGMA temp_store=MEMORY")
        _truncate_log(connection, path)


def _truncate_log(connection: sqlite3.Connection, path: Path) -> None:
    give_up = time.monotonic() + CHECKPOINT_WAIT_S
    pause = threading.Event()
    while True:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return
        if time.monotonic() > give_up:
            raise StoreBusy(
                f"a reader holds on to an old state of {path.name}",
                field="data_dir",
                mend="end it; the erasure goes on by itself",
            )
        pause.wait(_POLL_S)
