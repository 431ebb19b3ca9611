"""Acked means durable: kill the process or fill the disk, no acknowledged event is lost."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sleep_runtime.core.errors import StoreFull
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.testing.contracts.journal import ANA, ids, row
from sleep_runtime.testing.needs import small_disk

WAIT_S = 30.0
ROUNDS = 6

# Four threads append batches of changing size and say each id on stdout once it was acked.
_APPENDER = """
import os, sys, threading
from pathlib import Path
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.testing.contracts.journal import row

writer = SqliteJournal(Path(sys.argv[1]), lock_wait_s=10)
name = sys.argv[2]

def work(thread):
    for n in range(100_000):
        batch = [row(f"{name}-{thread}-{n}-{k}", text="x" * 300) for k in range(1 + n % 7)]
        assert writer.append(batch).accepted == len(batch)
        os.write(1, "".join(r.id + "\\n" for r in batch).encode())

for thread in range(4):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
threading.Event().wait(60)
"""


def _acked_until_killed(path: Path, name: str, lines: int) -> set[str]:
    """Run the appender, kill -9 it after so many acks, and return all the acks it gave."""
    appender = subprocess.Popen(
        [sys.executable, "-c", _APPENDER, str(path), name], stdout=subprocess.PIPE
    )
    with appender:
        assert appender.stdout is not None
        first = [appender.stdout.readline() for _ in range(lines)]
        appender.kill()
        rest = appender.stdout.read()
        appender.wait(WAIT_S)
    said = b"".join(first) + rest
    complete = said[: said.rfind(b"\n") + 1]
    return set(complete.decode().split())


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_every_acked_event_survives_kill_9_exactly_once(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "journal.sqlite"
    dice = random.Random(seed)
    acked: set[str] = set()
    for number in range(ROUNDS):
        acked |= _acked_until_killed(path, f"r{number}", dice.randrange(1, 1500))
        reader = SqliteJournalReader(path)
        stored = ids(reader)
        head = reader.head(ANA)
        reader.close()
        assert len(stored) == len(set(stored))
        assert acked <= set(stored)
        assert head is not None
        assert head.events == len(stored)
        assert _integrity(path) == "ok"


def test_an_event_sent_again_after_a_kill_is_a_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    acked = sorted(_acked_until_killed(path, "r", 200))
    writer = SqliteJournal(path)
    again = [row(event_id, text="x" * 300) for event_id in acked]
    assert writer.append(again).duplicates == len(acked)
    writer.close()


# ---------------------------------------------------------------------------- a full disk


def _fill(writer: SqliteJournal) -> list[str]:
    """Append until the disk is full; the ids that were acked before."""
    acked: list[str] = []
    for n in range(5_000):
        try:
            writer.append([row(f"full-{n}", text="y" * 4000)])
        except StoreFull:
            return acked
        acked.append(f"full-{n}")
    pytest.fail("the disk never got full")


def test_a_full_disk_acks_nothing_and_the_writer_recovers(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    writer = SqliteJournal(path)
    writer._connection.execute("PRAGMA max_page_count=60")
    acked = _fill(writer)
    with pytest.raises(StoreFull, match=r"no space is left.*make room"):
        writer.append([row(f"more-{n}", text="y" * 4000) for n in range(20)])
    writer._connection.execute("PRAGMA max_page_count=100000")
    assert writer.append([row("after")]).accepted == 1
    reader = SqliteJournalReader(path)
    assert ids(reader) == [*acked, "after"]
    reader.close()
    writer.close()
    assert _integrity(path) == "ok"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mib=2) as place:
        yield place


def test_a_really_full_file_system_is_survived(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"0" * 400_000)
    path = tiny_disk / "journal.sqlite"
    writer = SqliteJournal(path)
    acked = _fill(writer)
    ballast.unlink()
    assert writer.append([row("after")]).accepted == 1
    reader = SqliteJournalReader(path)
    assert ids(reader) == [*acked, "after"]
    reader.close()
    writer.close()
    assert _integrity(path) == "ok"
