"""What any version wrote opens in this one, with everything in it, and nights go on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dying_migration
import pytest
from backups import opened
from daylight import ADJUSTED, ANA, BEN, PORT
from old_data import OldData, Tables, fixtures, lost, tables

from sleep_runtime.core.errors import StoreError, StoreTooNew
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.run import RunState
from sleep_runtime.stores import datadir, journal_schema
from sleep_runtime.stores.backup import back_up, restore, verify
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader, revision
from sleep_runtime.stores.projector import ReconcileReport
from sleep_runtime.testing.clock import ManualClock

MAKE = "PYTHONPATH=. .venv/bin/python scripts/make_upgrade_fixture.py tests/fixtures/upgrades"
ALL = fixtures()
OLD = [old for old in ALL if old.facts["ledger"] != revision.HEAD]
every = pytest.mark.parametrize("old", ALL, ids=lambda old: old.name)
older = pytest.mark.parametrize("old", OLD, ids=lambda old: old.name)


def test_every_schema_there_ever_was_has_a_fixture() -> None:
    """A new migration, or version of the journal or the directory, brings one with it."""
    there = {old.facts["ledger"] for old in ALL}
    assert there == revision.known_revisions(), f"make the fixture of the new migration: {MAKE}"
    versions = {old.facts["journal"] for old in ALL}
    assert versions == set(range(1, journal_schema.SCHEMA_VERSION + 1)), MAKE
    assert {old.facts["format"] for old in ALL} == set(range(1, datadir.FORMAT + 1)), MAKE


@every
def test_an_old_store_opens_with_everything_in_it(old: OldData, tmp_path: Path) -> None:
    paths = old.unpack(tmp_path / "data")
    before = tables(paths.ledger_path)
    SqliteLedger(paths.ledger_path, triggers=TriggerPolicy()).close()
    SqliteJournal(paths.journal_path).close()
    assert list(lost(before, tables(paths.ledger_path))) == []
    with SqliteLedgerReader(paths.ledger_path) as ledger:
        assert ledger.digest() == old.facts["ledger_digest"]
        counts = ledger.counts()
        assert {name: counts[name] for name in old.facts["counts"]} == old.facts["counts"]
        active = ledger.notes(statuses=[NoteStatus.ACTIVE])
        assert {note.id: note.claim.statement for note in active} == old.facts["active"]
    with closing(SqliteJournalReader(paths.journal_path)) as read:
        assert (read.count(), read.last_seq()) == (old.facts["events"], old.facts["last_seq"])


def test_what_is_lost_would_be_seen(tmp_path: Path) -> None:
    """The comparison above finds a value that changed, a column and a table that went."""
    paths = ALL[0].unpack(tmp_path / "data")
    before = tables(paths.ledger_path)
    with closing(sqlite3.connect(paths.ledger_path)) as ledger:
        ledger.executescript(
            "UPDATE notes SET reason = 'other' WHERE revision = 1; DROP TABLE pins;"
            "ALTER TABLE deltas DROP COLUMN reason; DELETE FROM cursors"
        )
    assert set(lost(before, tables(paths.ledger_path))) == {
        "notes: its rows",
        "table pins",
        "deltas: columns ['reason']",
        "cursors: its rows",
    }


@older
def test_a_reader_leaves_an_old_store_alone(old: OldData, tmp_path: Path) -> None:
    paths = old.unpack(tmp_path / "data")
    before = paths.ledger_path.read_bytes()
    with pytest.raises(StoreError, match=r"opening migrates it"):
        SqliteLedgerReader(paths.ledger_path)
    assert paths.ledger_path.read_bytes() == before


@every
def test_a_night_runs_on_an_old_store(old: OldData, tmp_path: Path) -> None:
    """The run that stopped goes on by its pins, what nobody read is read, the index is filled."""
    paths = old.unpack(tmp_path / "data")
    clock = ManualClock(old.now)
    clock.advance(3600)
    world = opened(paths.path, clock)
    with world.running as running:
        world.say(BEN, PORT.statement)
        world.say(ANA, ADJUSTED.statement)
        running.nights()
        asked = {turn.event_id for one in world.engine.asked_sessions for turn in one.turns}
        for run_id in old.facts["unfinished"]:
            run = running.ledger.run(run_id)
            assert run is not None
            assert run.state is RunState.PROJECTED
            pinned = running.journal_reader.read(
                run.scope, after=run.journal.after, upto=run.journal.upto, limit=100
            )
            assert pinned
            assert not asked & {stored.event.id for stored in pinned}
        last = running.journal_reader.last_seq()
        assert last == old.facts["last_seq"] + 2
        assert {running.ledger.cursors(scope).journal for scope in (ANA, BEN)} == {last - 1, last}
        assert PORT.statement in world.active(BEN)
        assert running.projector.reconcile() == ReconcileReport()
        active = running.ledger.notes(statuses=[NoteStatus.ACTIVE])
        held = running.index.revisions(running.ledger.generation())
        assert held == {note.id: note.revision for note in active}


@every
def test_a_backup_of_an_old_store_is_restored_by_this_version(old: OldData, tmp_path: Path) -> None:
    """Before an upgrade, by whichever version: then its files are what is compared."""
    paths = old.unpack(tmp_path / "data")
    before = tables(paths.ledger_path)
    manifest = back_up(paths, tmp_path / "backup")
    assert manifest.files["ledger.sqlite"].schema_version == old.facts["ledger"]
    assert verify(tmp_path / "backup") == manifest
    there = DataDir(tmp_path / "there")
    done = restore(tmp_path / "backup", there)
    assert done.ledger_compared is (old.facts["ledger"] == revision.HEAD)
    assert tables(there.ledger_path) == before
    with SqliteLedger(there.ledger_path, triggers=TriggerPolicy()) as ledger:
        assert ledger.reader.digest() == old.facts["ledger_digest"]


def test_a_backup_with_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    paths = ALL[-1].unpack(tmp_path / "data")
    with closing(sqlite3.connect(paths.ledger_path)) as ledger, ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew, match=rf"9999.*{revision.HEAD}"):
        back_up(paths, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


# ---------------------------------------------------------------------------- interrupted


def _died(kind: str, path: Path) -> list[Path]:
    """The files that owners left which died before each statement of their opening, in order."""
    done = subprocess.run(
        [sys.executable, dying_migration.__file__, kind, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        each for each in sorted(path.parent.glob(f"{path.name}.*")) if each.suffix[1:].isdigit()
    ]


@older
def test_a_migration_killed_before_any_statement_is_done_again(
    old: OldData, tmp_path: Path
) -> None:
    """All of it or nothing, at every statement of every migration that is still to be done."""
    path = old.unpack(tmp_path).ledger_path
    before = tables(path)
    *killed, through = _died("ledger", path)
    after = tables(through)
    assert _revision(after) == revision.HEAD
    left = [tables(each) for each in killed]
    assert left.count(before) >= 4, "it died nowhere: what is a statement?"
    for each, found in zip(killed, left, strict=True):
        assert found in (before, after), f"{each.name} holds half a migration"
        SqliteLedger(each, triggers=TriggerPolicy()).close()
        assert tables(each) == after


def _revision(found: Tables) -> str:
    _, ((version,),) = found["alembic_version"]
    return str(version)


def test_a_journal_killed_while_it_is_made_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.touch()
    *killed, through = _died("journal", path)
    assert len(killed) >= 6, "it died nowhere: what is a statement?"
    for each in killed:
        assert tables(each) == {}
        SqliteJournal(each).close()
        assert tables(each) == tables(through)
        assert set(tables(each)) == {"events", "heads"}
