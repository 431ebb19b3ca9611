"""The connections of the hot path's reads: few, shared, never waited for without end."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from sleep_runtime.core.errors import StoreBusy, StoreError
from sleep_runtime.stores import sqlite
from sleep_runtime.stores.sqlite import READER_CONNECTIONS, ReadPool, connect_writer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.sqlite"
    with contextlib.closing(connect_writer(path)) as writer:
        writer.execute("CREATE TABLE t (x)")
    return path


def test_one_connection_serves_all_who_come_one_after_the_other(file: Path) -> None:
    pool = ReadPool(file)
    seen = set()
    for _ in range(5):
        with pool.connection() as connection:
            seen.add(id(connection))
    pool.close()
    assert len(seen) == 1


def test_who_finds_all_in_use_waits_for_a_bounded_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKOUT_TIMEOUT_S", 0.01)
    pool = ReadPool(file)
    with contextlib.ExitStack() as held:
        for _ in range(READER_CONNECTIONS):
            held.enter_context(pool.connection())
        with pytest.raises(StoreBusy, match="no connection is free"), pool.connection():
            pass
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    pool.close()


def test_nothing_can_be_written_and_errors_are_ours(file: Path) -> None:
    pool = ReadPool(file)
    with pytest.raises(StoreError), pool.connection() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    pool.close()


def test_a_closed_pool_says_so_and_closes_what_is_given_back(file: Path) -> None:
    pool = ReadPool(file)
    with pool.connection() as connection:
        pool.close()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
    with pytest.raises(StoreError, match="closed"), pool.connection():
        pass
