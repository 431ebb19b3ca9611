"""A data directory has one owner, says its format, and explains itself when it cannot be used."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sleep_runtime.core.errors import StoreBusy, StoreError, StoreFull, StoreTooNew
from sleep_runtime.stores.datadir import FORMAT, DataDir, write_atomically
from sleep_runtime.stores.sqlite import (
    connect_reader,
    connect_writer,
    reader_engine,
    store_errors,
    writer_engine,
)

_HOLD = """
import sys
from sleep_runtime.stores.datadir import DataDir
with DataDir(sys.argv[1]).lock("runtime"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_ensure_creates_a_private_directory_that_says_its_format(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "new" / "data").ensure().ensure()
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700
    assert json.loads(data.format_file.read_text())["format"] == FORMAT
    assert {p.parent for p in (data.journal_path, data.ledger_path, data.runtime_file)} == {
        data.path
    }


def test_a_directory_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    data = DataDir(tmp_path).ensure()
    write_atomically(data.format_file, json.dumps({"format": FORMAT + 1, "written_by": "9.9"}))
    with pytest.raises(StoreTooNew, match=r"9\.9.*knows format 1.*SLEEP_DATA_DIR"):
        data.ensure()


def test_a_marker_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    DataDir(tmp_path).format_file.write_text("[]")
    with pytest.raises(StoreError, match="does not say which format"):
        DataDir(tmp_path).ensure()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened or written"):
        DataDir(tmp_path / "file").ensure()


def test_a_second_owner_is_told_the_pid_and_the_mend(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    with (
        data.lock("runtime"),
        pytest.raises(StoreBusy, match=rf"process {os.getpid()}\b.*stop that runtime"),
        data.lock("runtime", wait_s=0.06),
    ):
        pytest.fail("two owners")
    with data.lock("runtime"), data.lock("other"):
        pass


def test_the_lock_of_a_killed_owner_is_free(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with (
            pytest.raises(StoreBusy, match=f"process {owner.pid}"),
            DataDir(tmp_path).lock("runtime"),
        ):
            pytest.fail("two owners")
        owner.kill()
        owner.wait(10)
    with DataDir(tmp_path).lock("runtime"):
        pass


def test_the_writer_fsyncs_and_the_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a b?#.sqlite"
    writer = connect_writer(path)
    writer.execute("CREATE TABLE t (a)")
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    reader = connect_reader(path)
    with pytest.raises(StoreError, match="readonly"), store_errors(path):
        reader.execute("INSERT INTO t VALUES (1)")
    reader.close()
    writer.close()


def test_the_engines_write_through_one_connection_and_read_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writer, reader = writer_engine(path), reader_engine(path)
    with writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with reader.connect() as snapshot:
        assert snapshot.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        with writer.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        assert snapshot.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
    with reader.connect() as snapshot:
        assert snapshot.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1
    writer.dispose()
    reader.dispose()


def test_foreign_errors_are_translated_with_their_mend(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with pytest.raises(StoreError, match=r"does not exist.*start the runtime"):
        connect_reader(path)
    path.write_bytes(b"this is no database, it is prose" * 100)
    with pytest.raises(StoreError, match=r"damaged.*backup"):
        connect_writer(path)
    with pytest.raises(StoreFull, match="make room"), store_errors(path):
        raise OSError(28, "No space left on device")


def test_a_second_writing_connection_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    first, second = connect_writer(path), connect_writer(path)
    second.execute("PRAGMA busy_timeout=1")
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="locked"), store_errors(path):
        second.execute("BEGIN IMMEDIATE")
    for connection in (first, second):
        connection.close()
    with pytest.raises(StoreError, match="closed"), store_errors(path):
        first.execute("SELECT 1")
    assert isinstance(first, sqlite3.Connection)
