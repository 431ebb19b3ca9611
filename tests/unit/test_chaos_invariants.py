"""Each check of chaos sees the bug it is there for, planted in a store that a night has made."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reliability.chaos import facts, invariants
from reliability.chaos.bench import DECK, chunks
from reliability.chaos.days import day
from reliability.chaos.facts import Facts, JournalFacts, Kept, Usage
from reliability.chaos.night import NIGHT, JumpingClock, parsed
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import Settings

EVENTS = 150


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A data directory after a night that nobody hurt, and what its index holds."""
    data_dir = tmp_path_factory.mktemp("chaos") / "data"
    rows = parsed(DECK)
    with Embedded(Settings(data_dir=data_dir), clock=JumpingClock(NIGHT, ())) as runtime:
        for batch in chunks(range(EVENTS)):
            runtime.journal.append([rows[place] for place in batch])
        runtime.nights()
        runtime.projector.reconcile()
        return data_dir, runtime.index.revisions(runtime.ledger.generation())


class Store:
    """A copy of the night's store, in which a test plants something."""

    def __init__(self, data_dir: Path, indexed: dict[str, int]) -> None:
        self.data_dir, self.indexed = data_dir, dict(indexed)
        self.acked = set(self.journal().kept)

    def plant(self, file: str, *statements: str) -> None:
        connection = sqlite3.connect(self.data_dir / file)
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, f"{statement} changed nothing"
        connection.commit()
        connection.close()

    def journal(self) -> JournalFacts:
        return facts.journal(self.data_dir)

    def ledger(self) -> Facts:
        return facts.ledger(self.data_dir)

    def wrong(self) -> dict[str, list[str]]:
        """What each check says that looks at a store, by its name; those that say nothing not."""
        journal, ledger = self.journal(), self.ledger()
        later = NIGHT + timedelta(seconds=30)
        said = {
            "acked_once": invariants.acked_once(self.acked, journal.kept),
            "heads_agree": invariants.heads_agree(journal.heads, journal.by_scope),
            "leases_end": invariants.leases_end(ledger.leases, now=NIGHT, ttl_s=30, slack_s=1),
            "leases_free": invariants.leases_free(ledger.leases, now=later, owners=()),
            "success_has_effect": invariants.success_has_effect(ledger),
            "each_event_read_once": invariants.each_event_read_once(ledger, journal.by_scope),
            "nothing_doubled": invariants.nothing_doubled(ledger),
            "index_agrees": invariants.index_agrees(ledger.active(), self.indexed),
            "nothing_contradicts": invariants.nothing_contradicts(ledger.newest()),
            "nothing_pending": invariants.nothing_pending(ledger),
        }
        return {name: lines for name, lines in said.items() if lines}


@pytest.fixture
def store(night: tuple[Path, dict[str, int]], tmp_path: Path) -> Store:
    data_dir, indexed = night
    return Store(shutil.copytree(data_dir, tmp_path / "data"), indexed)


def test_a_store_that_nobody_hurt_breaks_nothing(store: Store) -> None:
    assert store.ledger().active(), "empty stores would pass every check"
    assert store.wrong() == {}


_A_RUN = "(SELECT id FROM runs WHERE reason LIKE 'wrote %' LIMIT 1)"
_ACTIVE = "(SELECT note_id FROM newest WHERE status = 'active' LIMIT 1)"
_OF_A_DELTA = "(SELECT note_id FROM deltas WHERE kind = 'add' LIMIT 1)"
LOST = "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"


@pytest.mark.parametrize(
    ("check", "file", "statement"),
    [
        ("acked_once", "journal", LOST),
        ("heads_agree", "journal", "UPDATE heads SET events = events + 1"),
        (
            "leases_end",
            "ledger",
            "UPDATE leases SET owner = 'x', expires_at = expires_at + 2000000",
        ),
        ("leases_free", "ledger", "UPDATE leases SET owner = 'x', expires_at = expires_at + 1"),
        ("success_has_effect", "ledger", f"DELETE FROM deltas WHERE run_id = {_A_RUN}"),
        ("success_has_effect", "ledger", f"DELETE FROM notes WHERE note_id = {_OF_A_DELTA}"),
        ("success_has_effect", "ledger", "UPDATE cursors SET journal = journal - 1"),
        ("each_event_read_once", "ledger", "UPDATE runs SET counts = '{}'"),
        ("nothing_doubled", "ledger", f"DELETE FROM note_evidence WHERE note_id = {_ACTIVE}"),
        (
            "nothing_doubled",
            "ledger",
            (
                "UPDATE notes SET support = replace(support, '\"events\":', '\"events\":1')"
                f" WHERE note_id = {_ACTIVE}"
            ),
        ),
        (
            "nothing_doubled",
            "ledger",
            (
                "INSERT INTO deltas SELECT 'run_twice', ordinal, kind, note_id, revision, scope,"
                " code, reason, at, restores FROM deltas LIMIT 1"
            ),
        ),
        ("index_agrees", "ledger", f"UPDATE notes SET revision = 9 WHERE note_id = {_ACTIVE}"),
        ("nothing_pending", "ledger", "UPDATE runs SET state = 'committed'"),
        ("nothing_pending", "ledger", f"INSERT INTO outbox VALUES ({_ACTIVE}, 1)"),
    ],
)
def test_a_planted_bug_is_seen(store: Store, check: str, file: str, statement: str) -> None:
    store.plant(f"{file}.sqlite", statement)
    assert check in store.wrong()


def test_an_event_that_is_in_the_journal_twice_is_seen(store: Store) -> None:
    # The table would refuse it: that it does is not what the check trusts in.
    twice = next(iter(store.acked))
    kept = [*store.journal().kept, twice]
    assert "more than once" in invariants.acked_once(store.acked, kept)[0]


def test_two_answers_to_one_question_are_seen(store: Store) -> None:
    ledger = store.ledger()
    note = next(note for note in ledger.newest() if note.status == "active" and note.subject)
    other = note._replace(id="note_other", value="quite another")
    assert invariants.nothing_contradicts([note, other])
    assert not invariants.nothing_contradicts([note, other._replace(status="superseded")])
    assert not invariants.nothing_contradicts([note, other._replace(scope="acme/elsewhere")])


@pytest.mark.parametrize(
    "change",
    [
        lambda held: {**held, next(iter(held)): 99},
        lambda held: {key: held[key] for key in list(held)[1:]},
        lambda held: {**held, "note_ghost": 1},
    ],
    ids=["stale", "missing", "ghost"],
)
def test_an_index_that_differs_is_seen(
    store: Store, change: Callable[[dict[str, int]], dict[str, int]]
) -> None:
    store.indexed = change(store.indexed)
    assert "index_agrees" in store.wrong()


def test_a_store_that_came_to_something_else_is_seen() -> None:
    assert not invariants.same_store("abc", "abc")
    assert invariants.same_store("abc", "abd")
    assert "too little ['b']" in invariants.same_store(frozenset("a"), frozenset("ab"))[0]


def test_a_process_that_holds_ever_more_is_seen() -> None:
    steady = [Usage(50 + at % 3, 2**28) for at in range(16)]
    leaking = [Usage(50 + 8 * at, 2**28) for at in range(16)]
    growing = [Usage(50, 2**28 + at * 2**26) for at in range(16)]
    assert not invariants.nothing_grows({"steady": steady, "young": leaking[:6]})
    assert "files" in invariants.nothing_grows({"leaking": leaking})[0]
    assert "MiB" in invariants.nothing_grows({"growing": growing})[0]


def test_a_day_of_the_stage_is_the_same_for_every_organisation() -> None:
    def without_names(org: str) -> list[Any]:
        text = json.dumps([session.events for session in day(1, org)])
        found: list[Any] = json.loads(text.replace(f'"{org}', '"org'))
        return found

    assert without_names("wound1") == without_names("wound22")
    ids = [event["id"] for session in day(1, "wound1") for event in session.events]
    assert len(ids) == len(set(ids))


def test_only_the_empty_set_of_facts_says_nothing() -> None:
    assert not invariants.nothing_pending(Facts())
    assert invariants.nothing_pending(replace(Facts(), marks=("note_1",)))
    assert not invariants.acked_once({Kept("acme", "1")}, [Kept("acme", "1")])
