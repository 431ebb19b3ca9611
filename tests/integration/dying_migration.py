"""Run as a program: opens an old store, and dies before its first, second, third … statement.

    python dying_migration.py ledger|journal FILE

One child for each n copies FILE to ``FILE.n``, opens that as its owner does and kills itself
(SIGKILL) before the n-th statement that writes, or the commit. Ends with the first child that gets
through; exit code 0.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.stores import journal as journals
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.sqlite import connect_writer

_READS = ("SELECT", "PRAGMA TABLE", "PRAGMA MAIN", "BEGIN")
_MOST = 1000


class Death:
    """Kills this process at the n-th tick."""

    def __init__(self, at: int) -> None:
        self._left = at

    def tick(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, text: str) -> None:
        if not text.lstrip().upper().startswith(_READS):
            self.tick()


def open_ledger(path: Path, death: Death) -> None:
    def executing(*args: Any) -> None:
        death.statement(args[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", executing)
    sa.event.listen(sa.Engine, "commit", death.tick)
    SqliteLedger(path, triggers=TriggerPolicy()).close()


def open_journal(path: Path, death: Death) -> None:
    def connect(of: Path) -> sqlite3.Connection:
        connection = connect_writer(of)
        connection.set_trace_callback(death.statement)
        return connection

    setattr(journals, "connect_writer", connect)  # noqa: B010 - mypy knows it as imported there
    SqliteJournal(path).close()


OPEN = {"ledger": open_ledger, "journal": open_journal}


def main(kind: str, path: Path) -> int:
    warm = path.with_suffix(".warm")
    shutil.copy(path, warm)
    pid = os.fork()  # in a child: nothing of SQLite may be open when the others are made
    if pid == 0:
        OPEN[kind](warm, Death(0))
        os._exit(0)
    os.waitpid(pid, 0)
    for at in range(1, _MOST):
        copy = path.with_name(f"{path.name}.{at:03}")
        shutil.copy(path, copy)
        pid = os.fork()
        if pid == 0:
            OPEN[kind](copy, Death(at))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if os.WTERMSIG(status) != signal.SIGKILL:
            return 1
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
