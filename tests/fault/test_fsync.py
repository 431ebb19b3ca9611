"""No ack precedes its fsync: system calls of the journal, its socket and the ledger, audited.

The same audit fails when ``synchronous=NORMAL`` is planted, and when acks do not wait for commits.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reliability.fsync import (
    SYNCS,
    Ack,
    Audit,
    Call,
    audit,
    command,
    read_calls,
    said,
    sent,
    unsynced_names,
)
from sleep_runtime.actors.journal_wire import HEAD, question, read_answer
from sleep_runtime.core.journal import AppendResult
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.testing.contracts.journal import ids, row
from sleep_runtime.testing.needs import program

PROGRAM = Path(__file__).with_name("fsync_program.py")
WAIT_S = 60.0
QUESTIONS = 20
# What may be lost: SQLite's shared memory, locks, the place where the owner listens.
PASSING = ("*-shm", "*.lock", "*.sock", "*-journal")


class Traced:
    """One run of the program: its directory, made by it, and its log."""

    def __init__(self, folder: Path, what: str, planted: str = "nothing", *more: str) -> None:
        self.place = folder
        self.data = DataDir(folder / "made" / "data")
        self._log = folder / "strace.log"
        run = [sys.executable, str(PROGRAM), what, str(self.data.path), planted]
        self.argv = command(program("strace"), self._log, run, *more)

    def run(self) -> list[Call]:
        self.said = subprocess.run(self.argv, check=True, timeout=WAIT_S, capture_output=True)
        return self.calls()

    def calls(self) -> list[Call]:
        return read_calls(self._log.read_text("utf-8", "surrogateescape"))

    @property
    def journal_wal(self) -> str:
        return f"{self.data.journal_path}-wal"

    @property
    def ledger_wal(self) -> str:
        return f"{self.data.ledger_path}-wal"


def _journal(folder: Path, planted: str, *more: str) -> Audit:
    traced = Traced(folder, "journal", planted, *more)
    calls = traced.run()
    return audit(calls, traced.journal_wal, said(calls))


def test_every_ack_of_the_journal_follows_its_fsync(tmp_path: Path) -> None:
    found = _journal(tmp_path, "nothing")
    assert found.early == ()
    assert found.acks == 72
    assert found.transactions >= 12


def test_the_audit_of_the_journal_fails_with_synchronous_normal(tmp_path: Path) -> None:
    found = _journal(tmp_path, "normal")
    assert found.acks == 72
    assert {one.missing for one in found.early} == {"fsync"}
    assert len(found.early) == 72


def test_the_audit_of_the_journal_fails_when_acks_do_not_wait(tmp_path: Path) -> None:
    found = _journal(tmp_path, "hasty")
    assert "written" in {one.missing for one in found.early}


def test_a_failed_fsync_acks_nothing(tmp_path: Path) -> None:
    """Linux drops the pages of a failed fsync and reports it once: a retry has to write again."""
    broken = ["-e", "inject=fdatasync:error=EIO:when=9+3"]
    traced = Traced(tmp_path, "journal", "nothing", *broken)
    calls = traced.run()
    found = audit(calls, traced.journal_wal, said(calls))
    assert any(call.name in SYNCS and call.result < 0 for call in calls)
    assert found.early == ()
    assert found.acks > 0
    reader = SqliteJournalReader(traced.data.journal_path)
    assert {ack.token.decode() for ack in said(calls)} <= set(ids(reader))
    reader.close()


# ---------------------------------------------------------------------------- over the socket


def _ask(path: str) -> None:
    """Three replicas' lines, questions on their way on all of them at once."""
    lines = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for line in lines:
        line.settimeout(WAIT_S)
        line.connect(path)
    for number in range(QUESTIONS):
        batches = [[row(token) for token in tokens] for tokens in _asked(number)]
        lines[number % 3].sendall(question(number, batches))
    for number in range(QUESTIONS):
        _hear(lines[number % 3])
    for line in lines:
        line.close()


def _hear(line: socket.socket) -> None:
    (size,) = HEAD.unpack(line.recv(HEAD.size, socket.MSG_WAITALL))
    answers = read_answer(line.recv(size, socket.MSG_WAITALL))[1]
    assert all(isinstance(one, AppendResult) for one in answers)


def _asked(number: int) -> list[list[str]]:
    return [[f"q-{number:03}-{batch}-{k}-end" for k in range(2)] for batch in range(2)]


def _answered(calls: list[Call]) -> Iterator[Ack]:
    """The ids that frames on the socket call durable."""
    for call in sent(calls):
        number, answers = read_answer(call.data[HEAD.size :])
        for tokens, told in zip(_asked(number), answers, strict=True):
            if isinstance(told, AppendResult):
                yield from (Ack(token.encode(), call.began) for token in tokens)


def _over_the_socket(folder: Path, planted: str) -> Audit:
    traced = Traced(folder, "socket", planted)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(traced.argv, text=True, **pipes) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        _ask(owner.stdout.readline().strip())
        owner.stdin.close()
        assert owner.wait(WAIT_S) == 0
    calls = traced.calls()
    return audit(calls, traced.journal_wal, _answered(calls))


def test_every_answer_on_the_socket_follows_its_fsync(tmp_path: Path) -> None:
    found = _over_the_socket(tmp_path, "nothing")
    assert found.acks == 4 * QUESTIONS
    assert found.early == ()
    assert found.transactions >= 2


@pytest.mark.parametrize(("planted", "missing"), [("normal", "fsync"), ("hasty", "written")])
def test_the_audit_of_the_socket_fails_when_something_is_planted(
    tmp_path: Path, planted: str, missing: str
) -> None:
    assert {one.missing for one in _over_the_socket(tmp_path, planted).early} == {missing}


# ---------------------------------------------------------------------------- the ledger


def test_every_step_of_a_run_is_said_after_its_fsync(tmp_path: Path) -> None:
    """To the one who made it, and to those who read: another connection sees no commit before."""
    traced = Traced(tmp_path, "ledger")
    calls = traced.run()
    acks = list(said(calls))
    found = audit(calls, traced.ledger_wal, acks)
    assert found.early == ()
    assert len([ack for ack in acks if ack.token.startswith(b"why-")]) > 6, "the reader saw none"
    assert found.transactions >= 6 * 7


def test_the_audit_of_the_ledger_fails_with_synchronous_normal(tmp_path: Path) -> None:
    traced = Traced(tmp_path, "ledger", "normal")
    calls = traced.run()
    found = audit(calls, traced.ledger_wal, said(calls))
    assert {one.missing for one in found.early} == {"fsync"}


# ---------------------------------------------------------------------------- names


@pytest.mark.parametrize("what", ["journal", "ledger"])
def test_before_the_first_ack_every_name_on_the_way_to_the_file_is_durable(
    tmp_path: Path, what: str
) -> None:
    calls = Traced(tmp_path, what).run()
    first = next(said(calls)).began
    assert unsynced_names(calls, tmp_path, before=first, besides=PASSING) == []
    assert os.access(tmp_path / "made" / "data" / f"{what}.sqlite", os.R_OK)
