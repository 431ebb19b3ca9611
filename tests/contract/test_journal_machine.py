"""Random histories of a journal: every backend against the same list, and bugs that are found."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from sleep_runtime.core.journal import JournalRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores import journal as journal_module
from sleep_runtime.stores.journal import Answer, SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.contracts.journal import JournalPair
from sleep_runtime.testing.contracts.journal_machine import JournalMachine
from sleep_runtime.testing.contracts.machines import Folder, run_machine
from sleep_runtime.testing.journal import InMemoryJournal

WAIT_S = 20.0
EXAMPLES, STEPS = 60, 20


class InMemoryMachine(JournalMachine):
    def open(self) -> JournalPair:
        clock = ManualClock()
        both = InMemoryJournal(clock=clock)
        return JournalPair(both, both, clock)


class SqliteMachine(JournalMachine):
    most = 16
    keeps = True

    def open(self) -> JournalPair:
        self.folder = Folder()
        self.clock = ManualClock()
        return self._open(self.folder.new())

    def _open(self, place: Path) -> JournalPair:
        self.place = place
        path = place / "journal.sqlite"
        self.writer = SqliteJournal(path, clock=self.clock, max_pending=self.most or 0)
        self.reader = SqliteJournalReader(path)
        return JournalPair(self.writer, self.reader, self.clock)

    def _close(self) -> None:
        self.reader.close()
        self.writer.close()

    def reopened(self) -> JournalPair:
        self._close()
        return self._open(self.place)

    def crashed(self, garbage: bytes) -> JournalPair:
        left = self.folder.copy(self.place)
        wal = left / "journal.sqlite-wal"
        wal.write_bytes(wal.read_bytes() + garbage)
        self._close()
        return self._open(left)

    def together(self, batches: Sequence[Sequence[JournalRow]]) -> Sequence[object]:
        answers: Future[list[Answer]] = Future()
        self.writer.submit_each(batches, answers.set_result)
        return answers.result(WAIT_S)

    def teardown(self) -> None:
        self._close()
        self.folder.remove()


@pytest.mark.parametrize("machine", [InMemoryMachine, SqliteMachine])
def test_every_history_ends_as_in_the_model(machine: type[JournalMachine]) -> None:
    run_machine(machine, examples=EXAMPLES, steps=STEPS)


def _found(machine: type[JournalMachine]) -> None:
    with pytest.raises(AssertionError):
        run_machine(machine, examples=EXAMPLES, steps=STEPS, shrink=False)


def test_a_head_that_counts_what_was_refused_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [journal_module._ACCEPTED]
    count = journal_module._head_changes

    def all_of_them(
        first: int, rows: list[JournalRow], outcomes: list[int], received_us: int
    ) -> list[tuple[str, int, int, int, int]]:
        return count(first, rows, every * len(outcomes), received_us)

    monkeypatch.setattr(journal_module, "_head_changes", all_of_them)
    _found(SqliteMachine)


def test_an_ack_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_ended(
        self: SqliteJournal, batches: Sequence[Sequence[JournalRow]]
    ) -> Sequence[object]:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        return self._insert(batches)

    monkeypatch.setattr(SqliteJournal, "_transact", open_ended)
    _found(SqliteMachine)


def test_an_id_that_is_known_to_all_organisations_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = InMemoryJournal.append

    def one_for_all(self: InMemoryJournal, rows: Sequence[JournalRow]) -> object:
        answer = append(self, rows)
        for org in ("acme", "globex"):
            for (_, name), digest in list(self._known.items()):
                self._known.setdefault((Scope(org), name), digest)
        return answer

    monkeypatch.setattr(InMemoryJournal, "append", one_for_all)
    _found(InMemoryMachine)
