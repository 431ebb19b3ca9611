"""Every journal keeps the contract; the one on SQLite besides keeps its queue and its file."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from sleep_runtime.core.errors import Overloaded, StoreBusy, StoreError, StoreTooNew
from sleep_runtime.core.journal import AppendResult
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.sqlite import connect_writer
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.contracts.journal import (
    ANA,
    BEN,
    END,
    JournalContract,
    JournalPair,
    ids,
    row,
)
from sleep_runtime.testing.journal import InMemoryJournal

WAIT_S = 20.0


class GatedClock(ManualClock):
    """A clock that holds the writer's thread in its transaction until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        return super().now()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


class TestInMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> JournalPair:
        clock = ManualClock()
        both = InMemoryJournal(clock=clock)
        return JournalPair(both, both, clock)


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def journal(self, path: Path) -> Iterator[JournalPair]:
        clock = ManualClock()
        writer = SqliteJournal(path, clock=clock)
        reader = SqliteJournalReader(path)
        yield JournalPair(writer, reader, clock)
        reader.close()
        writer.close()


def test_the_writing_connection_fsyncs_every_commit(path: Path) -> None:
    writer = SqliteJournal(path)
    assert writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    writer.close()


def test_what_waits_during_one_commit_is_committed_together(path: Path) -> None:
    clock = GatedClock()
    writer = SqliteJournal(path, clock=clock, max_batch=10)
    first = writer.submit([row("first")])
    assert clock.entered.wait(WAIT_S)
    waiting = [writer.submit([row(f"{n}"), row(f"{n}b")]) for n in range(10)]
    big = writer.submit([row(f"big-{n}") for n in range(50)])
    clock.gate.set()
    for future in (first, *waiting):
        assert future.result(WAIT_S).duplicates == 0
    assert big.result(WAIT_S).accepted == 50
    writer.close()
    assert clock.asked == 4  # the first; twice five pairs; the big one, whole


def test_a_full_queue_refuses_and_what_it_holds_is_kept(path: Path) -> None:
    clock = GatedClock()
    writer = SqliteJournal(path, clock=clock, max_pending=4)
    first = writer.submit([row("a"), row("b")])
    assert clock.entered.wait(WAIT_S)
    second = writer.submit([row("c"), row("d")])
    with pytest.raises(Overloaded, match=r"4 events are waiting.*retry"):
        writer.submit([row("e")])
    clock.gate.set()
    assert first.result(WAIT_S).accepted + second.result(WAIT_S).accepted == 4
    # Room is there as soon as an answer is: a caller who waited for it is not refused.
    assert writer.append([row(f"{n}") for n in range(4)]).accepted == 4
    with pytest.raises(Overloaded):
        writer.append([row(f"{n}") for n in range(5)])
    writer.close()


def test_a_cancelled_batch_is_not_written_and_the_writer_lives(path: Path) -> None:
    clock = GatedClock()
    writer = SqliteJournal(path, clock=clock)
    first = writer.submit([row("a")])
    assert clock.entered.wait(WAIT_S)
    assert writer.submit([row("b")]).cancel()
    assert not first.cancel()
    clock.gate.set()
    assert writer.append([row("c")]).accepted == 1
    reader = SqliteJournalReader(path)
    assert ids(reader) == ["a", "c"]
    reader.close()
    writer.close()


def test_a_batch_that_cannot_be_written_fails_alone(path: Path) -> None:
    clock = GatedClock()
    writer = SqliteJournal(path, clock=clock)
    first = writer.submit([row("a")])
    assert clock.entered.wait(WAIT_S)
    good = writer.submit([row("b")])
    bad = writer.submit([row("x"), row("y")._replace(session="\ud800")])
    worse = writer.submit([row("z")._replace(ts_us=1 << 80)])
    also_good = writer.submit([row("c")])
    clock.gate.set()
    for future in (first, good, also_good):
        assert future.result(WAIT_S) == AppendResult(accepted=1, duplicates=0)
    for future in (bad, worse):
        with pytest.raises(StoreError):
            future.result(WAIT_S)
    reader = SqliteJournalReader(path)
    assert ids(reader) == ["a", "b", "c"]
    assert [head.events for head in reader.heads(after=0, limit=9)] == [3]
    reader.close()
    writer.close()


def test_close_writes_what_was_submitted(path: Path) -> None:
    clock = GatedClock()
    writer = SqliteJournal(path, clock=clock)
    futures = [writer.submit([row(f"{n}")]) for n in range(30)]
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(writer.close)
        clock.gate.set()
        closing.result(WAIT_S)
    assert all(future.result(0).accepted == 1 for future in futures)


def test_positions_go_on_after_a_restart(path: Path) -> None:
    last = 0
    for n in range(3):
        writer = SqliteJournal(path)
        assert writer.append([row(f"{n}"), row("same")]).accepted == (2 if n == 0 else 1)
        writer.close()
        reader = SqliteJournalReader(path)
        (stored,) = reader.events(ANA, [f"{n}"])
        assert stored.seq > last
        last = stored.seq
        reader.close()


def test_a_second_owner_is_refused_while_readers_are_welcome(path: Path) -> None:
    writer = SqliteJournal(path)
    with pytest.raises(StoreBusy, match="in use by process"):
        SqliteJournal(path)
    writer.append([row("a"), row("b", BEN)])
    script = (
        "import sys; from pathlib import Path; from sleep_runtime.core.scope import Scope;"
        "from sleep_runtime.stores.journal_reader import SqliteJournalReader;"
        "r = SqliteJournalReader(Path(sys.argv[1]));"
        "print(r.count(), r.read(Scope('acme/banking/ben'), after=0, upto=9, limit=9)[0].event.id);"
        "r.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert done.stdout.split() == ["2", "b"]
    writer.close()
    SqliteJournal(path).close()


def test_a_journal_of_a_newer_version_is_refused_by_both(path: Path) -> None:
    SqliteJournal(path).close()
    connection = connect_writer(path)
    connection.execute("PRAGMA user_version=7")
    connection.close()
    for kind in (SqliteJournal, SqliteJournalReader):
        with pytest.raises(StoreTooNew, match=r"version 7, this program knows up to 1 \("):
            kind(path)
    with pytest.raises(StoreTooNew):
        SqliteJournal(path)  # and not StoreBusy: the refused owner let go of the lock


def test_a_reader_without_a_journal_says_so(path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        SqliteJournalReader(path)


def test_many_threads_read_while_the_owner_writes(path: Path) -> None:
    writer = SqliteJournal(path)
    reader = SqliteJournalReader(path)

    def read(n: int) -> bool:
        stored = reader.read(ANA, after=0, upto=END, limit=10_000)
        head = reader.head(ANA)
        return len(stored) <= (head.events if head else 0)

    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(read, n) for n in range(60)]
        for n in range(40):
            writer.append([row(f"{n}-{k}") for k in range(5)])
        assert all(answer.result(WAIT_S) for answer in answers)
    assert reader.count() == 200
    reader.close()
    writer.close()


def test_the_last_position_outlives_the_events(path: Path) -> None:
    """Events may be erased; a ledger that read them is not ahead of the journal for that."""
    writer = SqliteJournal(path)
    writer.append([row("a"), row("b")])
    writer.close()
    connection = connect_writer(path)
    connection.execute("DELETE FROM events")
    connection.close()
    reader = SqliteJournalReader(path)
    assert reader.last_seq() == 2
    reader.close()
