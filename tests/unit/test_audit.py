"""The audit log: nothing is changed, removed or reordered unseen; what returned is on the disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sleep_runtime.cli.main import app
from sleep_runtime.core.audit import Deed
from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.audit import START, AuditFile, _append
from sleep_runtime.stores.datadir import DataDir


def filled(path: Path, count: int = 5) -> AuditFile:
    log = AuditFile(path / "audit.ndjson")
    for number in range(count):
        log.record(f"key-{number}", Deed.READ, scope="acme/banking/ana", detail={"n": number})
    return log


def test_entries_come_back_in_order_and_the_chain_is_whole(tmp_path: Path) -> None:
    log = filled(tmp_path)
    assert [entry.who for entry in log.entries()] == [f"key-{n}" for n in range(5)]
    assert [entry.seq for entry in log.entries(after=2, limit=2)] == [3, 4]
    assert log.verify() == (5, log.entries()[-1].hash)
    assert log.entries()[0].previous == START
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    log = AuditFile(tmp_path / "audit.ndjson")
    assert log.verify() == (0, START)
    assert log.entries() == []


@settings(max_examples=60, deadline=None)
@given(line=st.integers(0, 4), place=st.integers(0, 10_000), byte=st.integers(33, 126))
def test_no_byte_can_be_changed_unseen(
    tmp_path_factory: pytest.TempPathFactory, line: int, place: int, byte: int
) -> None:
    log = filled(tmp_path_factory.mktemp("audit"))
    lines = log.path.read_bytes().splitlines(keepends=True)
    at = place % (len(lines[line]) - 1)
    changed = lines[line][:at] + bytes([byte]) + lines[line][at + 1 :]
    if changed == lines[line]:
        return
    log.path.write_bytes(b"".join([*lines[:line], changed, *lines[line + 1 :]]))
    with pytest.raises(StoreError):
        log.verify()


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 2, 4], [0, 1, 1, 2, 3, 4]])
def test_no_line_can_be_removed_moved_or_doubled_unseen(tmp_path: Path, order: list[int]) -> None:
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[place] for place in order))
    with pytest.raises(StoreError, match="is not what was recorded"):
        log.verify()


def test_a_cut_end_is_seen_by_whoever_kept_a_head(tmp_path: Path) -> None:
    log = filled(tmp_path)
    head = log.verify().head
    log.record("later", Deed.ERASED)
    assert log.verify(head).entries == 6, "a head stays in the chain that goes on from it"
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:3]))
    assert log.verify().entries == 3
    with pytest.raises(StoreError, match="cut off"):
        log.verify(head)


def test_what_a_crash_left_of_a_line_is_no_entry(tmp_path: Path) -> None:
    log = filled(tmp_path)
    whole = log.path.read_bytes()
    for cut in (1, 20, len(whole.splitlines(keepends=True)[-1]) - 1):
        log.path.write_bytes(whole + whole[-cut - 1 : -1])
        assert log.verify().entries == 5
        log.record("after", Deed.READ)
        assert log.verify().entries == 6
        log.path.write_bytes(whole)


def test_a_full_disk_records_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    log = filled(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 50, hard))
    try:
        with pytest.raises(StoreError):
            log.record("nobody", Deed.READ)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.verify().entries == 5
    log.record("somebody", Deed.READ)
    assert log.verify().entries == 6


def test_an_append_is_fsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    with path.open("r+b", buffering=0) as file:
        _append(file, b"a line\n")
    assert synced == [b"a line\n"]


def _record_many(path: Path, name: str) -> None:
    log = AuditFile(path)
    for number in range(20):
        log.record(name, Deed.READ, subject=str(number))


def test_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_record_many, args=(path, f"w{n}")) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    log = AuditFile(path)
    assert log.verify().entries == 60
    for name in ("w0", "w1", "w2"):
        own = [entry.subject for entry in log.entries() if entry.who == name]
        assert own == [str(n) for n in range(20)]


def test_a_detail_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    log = filled(tmp_path, 0)
    entry = log.record("x", Deed.READ, detail={"text": "a" * 10_000})
    assert "left_out" in entry.detail


def test_the_command_lists_and_verifies(tmp_path: Path) -> None:
    paths = DataDir(tmp_path).ensure()
    AuditFile(paths.audit_path).record("k_1", Deed.RUN_UNDONE, scope="acme", subject="run_1")
    env = {"SLEEP_DATA_DIR": str(tmp_path)}
    run = CliRunner()
    listed = run.invoke(app, ["audit", "list", "--json"], env=env)
    (entry,) = json.loads(listed.stdout)["entries"]
    assert (entry["who"], entry["deed"], entry["subject"]) == ("k_1", "run.undone", "run_1")
    assert "run.undone" in run.invoke(app, ["audit", "list"], env=env).stdout
    told = json.loads(run.invoke(app, ["audit", "verify", "--json"], env=env).stdout)
    assert told == {"entries": 1, "head": entry["hash"]}
    paths.audit_path.write_text(paths.audit_path.read_text().replace("run_1", "run_2"))
    assert run.invoke(app, ["audit", "verify"], env=env).exit_code != 0
