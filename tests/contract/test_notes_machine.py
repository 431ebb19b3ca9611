"""Random histories of notes: the ledger and the fake against the same dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Commit
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import SqliteLedger, outbox
from sleep_runtime.testing.contracts.ledger_bench import POLICY, LedgerBench, delta
from sleep_runtime.testing.contracts.machines import Folder, run_machine
from sleep_runtime.testing.contracts.notes_machine import NotesMachine
from sleep_runtime.testing.notebook import Notebook

EXAMPLES, STEPS = 20, 25


class NotebookMachine(NotesMachine):
    def open(self) -> None:
        self.book = Notebook()
        self.reader, self.writer = self.book.reader, self.book.writer

    def write(self, scope: Scope, notes: Sequence[Note]) -> None:
        self.book.write(*notes)


class SqliteMachine(NotesMachine):
    def open(self) -> None:
        self.folder = Folder()
        self.nights = 0
        self._open(self.folder.new())

    def _open(self, place: Path) -> None:
        self.place = place
        self.ledger = SqliteLedger(place / "ledger.sqlite", triggers=POLICY)
        self.reader, self.writer = self.ledger.reader, self.ledger

    def write(self, scope: Scope, notes: Sequence[Note]) -> None:
        self.nights += 1
        commit = Commit(deltas=tuple(delta(one) for one in notes))
        LedgerBench(self.writer, self.reader).night(
            scope, upto=self.nights, commit=commit, now=self.now
        )

    def reopen(self) -> None:
        left = self.folder.copy(self.place)
        self.ledger.close()
        self._open(left)

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.remove()


@pytest.mark.parametrize("machine", [NotebookMachine, SqliteMachine])
def test_every_history_ends_as_in_the_model(machine: type[NotesMachine]) -> None:
    run_machine(machine, examples=EXAMPLES, steps=STEPS)


@pytest.mark.parametrize(
    ("machine", "where", "name", "bug"),
    [
        (SqliteMachine, outbox, "clear", lambda _tx, marks: len(marks)),
        (NotebookMachine, Notebook, "clear_marks", lambda _self, marks: len(marks)),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, machine: type[NotesMachine], where: Any, name: str, bug: Any
) -> None:
    monkeypatch.setattr(where, name, bug)
    with pytest.raises(AssertionError):
        run_machine(machine, examples=EXAMPLES, steps=STEPS, shrink=False)
