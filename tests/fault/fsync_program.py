"""What the fsync audit runs under strace: a journal or a ledger at work, each ack said aloud.

Arguments: what (``journal``, ``socket``, ``ledger``), the data directory, and what is planted in it
(``nothing``, ``normal``: synchronous=NORMAL, ``hasty``: acks that do not wait for the commit).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from sleep_runtime.actors.journal_line import JournalSocket
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.core.ports import Commit, Pin
from sleep_runtime.core.run import RunState
from sleep_runtime.stores import sqlite
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal import Answer, SqliteJournal
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader
from sleep_runtime.testing.contracts.journal import row
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    POLICY,
    LedgerBench,
    delta,
    judged,
    note,
    observation,
)

THREADS, APPENDS, NIGHTS = 3, 12, 6


def say(*tokens: str) -> None:
    os.write(1, "".join(f"ack {token}\n" for token in tokens).encode())


def plant(what: str) -> None:
    if what == "normal":
        sqlite._WRITER_PRAGMAS = tuple(
            pragma.replace("FULL", "NORMAL") for pragma in sqlite._WRITER_PRAGMAS
        )
    if what == "hasty":
        SqliteJournal._write = _write_later  # type: ignore[method-assign]


def _write_later(self: SqliteJournal, batches: Sequence[Sequence[JournalRow]]) -> list[Answer]:
    """Answer for what is in the transaction, and leave its commit to the next one."""
    if self._connection.in_transaction:
        self._connection.execute("COMMIT")
    self._connection.execute("BEGIN IMMEDIATE")
    return [*self._insert(batches)]


def journal(folder: DataDir) -> None:
    """Threads append, and say what was acked."""
    writer = SqliteJournal(folder.journal_path)

    def work(thread: int) -> None:
        for n in range(APPENDS):
            rows = [row(f"ev-{thread}-{n:03}-{k}-end") for k in range(1 + n % 3)]
            try:
                answer = writer.append(rows)
            except StoreError:
                continue
            if answer.accepted + answer.duplicates == len(rows):
                say(*(one.id for one in rows))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()


def socket(folder: DataDir) -> None:
    """The journal behind its socket; acks are the answers that go out over it."""
    writer = SqliteJournal(folder.journal_path)
    line = JournalSocket(writer, folder.path)
    print(line.path, flush=True)
    sys.stdin.read()
    line.close()
    writer.close()


def ledger(folder: DataDir) -> None:
    """Nights, every step of them said; and a reader that says when it sees a run committed."""
    with SqliteLedger(folder.ledger_path, triggers=POLICY) as store:
        bench = LedgerBench(store, store.reader)
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(folder.ledger_path, done))
        watcher.start()
        for n in range(NIGHTS):
            _night(bench, n)
        done.set()
        watcher.join()


def _night(bench: LedgerBench, n: int) -> None:
    writer = bench.writer
    bench.heads(ANA, n + 1)
    lease = bench.lease()
    run = bench.plan(lease, upto=n + 1)
    say(run.id)
    pin = Pin(key=f"pin-{n:03}-end", output={})
    writer.pin(lease, run.id, "distil", [pin], now=run.planned_at)
    say(pin.key)
    found = observation(f"obs-{n:03}-end")
    writer.generated(lease, run.id, [found], events=1, tokens=1, counts={}, now=run.planned_at)
    say(found.id)
    proposal = judged(f"prop-{n:03}-end")
    writer.reflected(lease, run.id, [proposal], counts={}, now=run.planned_at)
    say(proposal[0].id)
    change = delta(note(f"note-{n:03}-end"))
    what = Commit(deltas=(change,), reason=f"why-{n:03}-end")
    writer.commit(lease, run.id, what, now=run.planned_at)
    say(change.note.id, what.reason)
    writer.projected(run.id, now=run.planned_at)
    writer.release(lease)


def _watch(path: Path, done: threading.Event) -> None:
    """Say the reason of every run as soon as another connection sees it committed."""
    seen: set[str] = set()
    with SqliteLedgerReader(path) as reader:
        while not done.is_set():
            for run in reader.runs(limit=2):
                if run.state in (RunState.COMMITTED, RunState.PROJECTED) and run.id not in seen:
                    seen.add(run.id)
                    say(run.reason)


if __name__ == "__main__":
    plant(sys.argv[3])
    {"journal": journal, "socket": socket, "ledger": ledger}[sys.argv[1]](
        DataDir(sys.argv[2]).ensure()
    )
