"""Random histories of a ledger's runs against a plain model, and bugs that are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sleep_runtime.core.errors import SleepRuntimeError
from sleep_runtime.stores.ledger import SqliteLedger, leases, outbox, reviews, runs
from sleep_runtime.testing.contracts.ledger_bench import POLICY, LedgerBench
from sleep_runtime.testing.contracts.ledger_machine import LedgerMachine
from sleep_runtime.testing.contracts.machines import Folder, run_machine

EXAMPLES, STEPS = 40, 25


class SqliteMachine(LedgerMachine):
    def open(self) -> LedgerBench:
        self.folder = Folder()
        return self._open(self.folder.new())

    def _open(self, place: Path) -> LedgerBench:
        self.place = place
        self.ledger = SqliteLedger(place / "ledger.sqlite", triggers=POLICY)
        return LedgerBench(self.ledger, self.ledger.reader)

    def crashed(self) -> LedgerBench:
        left = self.folder.copy(self.place)
        self.ledger.close()
        return self._open(left)

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.remove()


def test_every_history_ends_as_in_the_model() -> None:
    run_machine(SqliteMachine, examples=EXAMPLES, steps=STEPS)


def _no_fence(tx: Any, lease: Any) -> Any:
    return tx.execute(leases._FIND, {"of": str(lease.scope)}).first()


def _nothing(*_: Any, **__: Any) -> int:
    return 0


@pytest.mark.parametrize(
    ("module", "name", "bug"),
    [
        (leases, "check", _no_fence),
        (runs, "move_cursors", _nothing),
        (outbox, "mark", _nothing),
        (outbox, "clear", _nothing),
        (reviews, "close", _nothing),
        (reviews, "_may_ask_again", lambda _: True),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, bug: Any
) -> None:
    monkeypatch.setattr(module, name, bug)
    with pytest.raises((AssertionError, SleepRuntimeError)):
        run_machine(SqliteMachine, examples=4 * EXAMPLES, steps=STEPS, shrink=False)
