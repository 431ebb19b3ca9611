"""What a power cut may leave: tears damage what was not made durable, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from reliability.chaos import tears

COMMITS = 5


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database and its log as a killed process leaves them: five commits, none checkpointed."""
    alive = tmp_path / "alive.sqlite"
    connection = sqlite3.connect(alive, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (n INTEGER, text TEXT)")
    for number in range(COMMITS):
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 9000))
    dead = tmp_path / "dead.sqlite"
    for end in ("", "-wal", "-shm"):
        shutil.copy(f"{alive}{end}", f"{dead}{end}")
    connection.close()
    return dead


def recovered(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
    finally:
        connection.close()


def log(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def test_commits_are_found_as_recovery_finds_them(database: Path) -> None:
    wal = tears.read_wal(log(database))
    # The table, and the five inserts.
    assert len(wal.commits) == COMMITS + 1
    assert wal.commits[-1] == log(database).stat().st_size
    assert tears.read_wal(database.with_name("nowhere")).commits == ()


@pytest.mark.parametrize("seed", range(12))
def test_a_torn_tail_takes_no_commit(database: Path, seed: int) -> None:
    assert tears.tear_tail(log(database), Random(seed))
    tears.garble_shared_memory(database, Random(seed))
    assert recovered(database) == list(range(COMMITS))


@pytest.mark.parametrize("seed", range(12))
def test_a_torn_commit_takes_the_last_one_and_no_other(database: Path, seed: int) -> None:
    assert tears.tear_in_flight(log(database), Random(seed))
    found = recovered(database)
    assert found in (list(range(COMMITS - 1)), list(range(COMMITS)))


def test_torn_commits_do_take_the_last_one(database: Path, tmp_path: Path) -> None:
    taken = 0
    for seed in range(12):
        copy = tmp_path / f"copy{seed}.sqlite"
        for end in ("", "-wal"):
            shutil.copy(f"{database}{end}", f"{copy}{end}")
        tears.tear_in_flight(log(copy), Random(seed))
        taken += len(recovered(copy)) < COMMITS
    assert taken > 6, "a tear that takes nothing is no wound"


@pytest.mark.parametrize("seed", range(6))
def test_a_torn_checkpoint_is_in_the_log_still(database: Path, seed: int) -> None:
    assert tears.tear_in_flight(database, Random(seed)).endswith("pages")
    assert recovered(database) == list(range(COMMITS))
