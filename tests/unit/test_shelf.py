"""Dossiers that were read lately: never older than the notes, and never too many."""

from __future__ import annotations

from typing import cast

import pytest

from sleep_runtime.actors import shelf as shelves
from sleep_runtime.actors.shelf import Shelf
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.ports import LedgerReader
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.notebook import Notebook, make_note

ANA, BEN = Scope("acme/banking/ana"), Scope("acme/banking/ben")


class Ledger(Notebook):
    """A notebook that counts how often its dossiers are read, and may change meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[Scope] = []
        self.meanwhile: list[str] = []

    def dossiers(self, scope: Scope) -> list[Dossier]:
        self.reads.append(scope)
        found = [Dossier(note=note) for note in self.notes([scope])]
        for name in self.meanwhile:
            self.write(make_note(name, scope=str(scope)))
        self.meanwhile = []
        return found


@pytest.fixture
def ledger() -> Ledger:
    known = Ledger()
    known.write(make_note("n1", scope=str(ANA)))
    return known


@pytest.fixture
def shelf(ledger: Ledger) -> Shelf:
    return Shelf(cast("LedgerReader", ledger))


def names(shelf: Shelf, scope: Scope = ANA) -> list[str]:
    return [found.note.id for found in shelf.dossiers(scope)]


def test_what_did_not_change_is_read_once(shelf: Shelf, ledger: Ledger) -> None:
    assert names(shelf) == names(shelf) == ["n1"]
    assert ledger.reads == [ANA]


def test_a_change_is_read_again_and_another_scopes_is_not(shelf: Shelf, ledger: Ledger) -> None:
    names(shelf)
    ledger.write(make_note("n2", scope=str(BEN)))
    assert names(shelf) == ["n1"]
    assert ledger.reads == [ANA]
    ledger.write(make_note("n3", scope=str(ANA)))
    assert names(shelf) == ["n1", "n3"]
    assert ledger.reads == [ANA, ANA]


def test_a_change_while_it_reads_is_seen_the_next_time(shelf: Shelf, ledger: Ledger) -> None:
    ledger.meanwhile = ["n2"]
    assert names(shelf) == ["n1"]
    assert names(shelf) == ["n1", "n2"]


def test_the_scope_that_was_not_used_for_longest_goes_first(
    shelf: Shelf, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "MAX_SCOPES", 2)
    other = Scope("acme/banking/cleo")
    for scope in (ANA, BEN, ANA, other, ANA):
        names(shelf, scope)
    assert ledger.reads == [ANA, BEN, other]
    names(shelf, BEN)
    assert ledger.reads[-1] == BEN


def test_a_scope_of_too_many_notes_is_not_held(
    shelf: Shelf, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "MAX_NOTES", 1)
    ledger.write(make_note("n2", scope=str(ANA)))
    assert names(shelf) == names(shelf) == ["n1", "n2"]
    assert ledger.reads == [ANA, ANA]
