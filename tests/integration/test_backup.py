"""A backup is consistent, whole or none, and becomes the same runtime somewhere else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from backups import everything, lived_in, opened
from daylight import ADJUSTED, ANA, BEN, ORG, PORT, REPORTED, World, capture, event, settings

from sleep_runtime.compose.access import prepare_keys
from sleep_runtime.compose.restoring import AFTER_RESTORE
from sleep_runtime.core.audit import Deed
from sleep_runtime.core.errors import StoreBusy, StoreError, StoreFull, StoreTooNew
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.run import RunState
from sleep_runtime.stores.audit import AuditFile
from sleep_runtime.stores.backup import back_up, partial_of, registered, restore, verify
from sleep_runtime.stores.backup import make as making
from sleep_runtime.stores.backup.manifest import MANIFEST, manifest_digest
from sleep_runtime.stores.backup.register import LOCK
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal_reader import SqliteJournalReader
from sleep_runtime.stores.keys import KeyStore
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.failpoint import FailpointHit, arm
from sleep_runtime.testing.clock import ManualClock


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """The directory of a runtime that has lived, and the instant at which it was closed."""
    made = opened(tmp_path_factory.mktemp("template") / "data", ManualClock())
    with made.running:
        lived_in(made)
    return Path(made.running.settings.data_dir), made.clock.now()


@pytest.fixture
def paths(tmp_path: Path, template: tuple[Path, datetime]) -> DataDir:
    """A data directory with something in it, of a runtime that is down."""
    shutil.copytree(template[0], tmp_path / "data")
    return DataDir(tmp_path / "data")


@pytest.fixture
def clock(template: tuple[Path, datetime]) -> ManualClock:
    return ManualClock(template[1])


@pytest.fixture
def world(paths: DataDir, clock: ManualClock) -> Iterator[World]:
    """The runtime of that directory, up."""
    made = opened(paths.path, clock)
    with made.running:
        yield made


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    arm("")


def _nowait(_: float) -> None:
    """A pause of no length: what is tested is not the pace."""


def _events(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [id_ for (id_,) in connection.execute("SELECT id FROM events ORDER BY seq")]


# ---------------------------------------------------------------------------- making


def test_a_backup_of_a_runtime_that_is_up_says_what_it_holds(
    world: World, paths: DataDir, tmp_path: Path
) -> None:
    to = tmp_path / "backups" / "monday"
    manifest = back_up(paths, to, clock=world.clock)
    assert {each.name for each in to.iterdir()} == {"ledger.sqlite", "journal.sqlite", MANIFEST}
    assert manifest.made_at == world.clock.now()
    assert manifest.ledger is not None
    assert manifest.ledger.digest == world.running.ledger.digest()
    assert manifest.ledger.furthest == world.running.ledger.furthest() == 3
    assert (manifest.journal.events, manifest.journal.last_seq) == (4, 4)
    assert verify(to) == manifest
    for each in (to, *to.iterdir()):
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)
    assert str(paths.path).encode() not in everything(DataDir(to))
    assert [(one.path, one.digest) for one in registered(paths)] == [(to, manifest_digest(to))]


def test_a_backup_of_a_runtime_that_is_down_is_the_same(
    world: World, paths: DataDir, tmp_path: Path
) -> None:
    up = back_up(paths, tmp_path / "up", clock=world.clock)
    world.running._closing.close()
    down = back_up(paths, tmp_path / "down", clock=world.clock)
    assert (down.ledger, down.journal) == (up.ledger, up.journal)
    assert [one.path.name for one in registered(paths)] == ["down", "up"]


def test_a_backup_ends_while_captures_go_on_without_a_pause(
    world: World, paths: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small steps with a commit between any two: without a snapshot the copy would never end."""
    monkeypatch.setattr(making, "STEP_PAGES", 1)
    before = _events(paths.journal_path)
    steps = 0

    def commit_something(_: float) -> None:
        nonlocal steps
        steps += 1
        world.say(ANA, f"step {steps}")
        if steps % 20 == 0:
            world.running.nights()

    manifest = back_up(paths, tmp_path / "to", pause=commit_something)
    assert steps > 40
    copied = _events(tmp_path / "to" / "journal.sqlite")
    assert copied[: len(before)] == before
    assert copied == _events(paths.journal_path)[: len(copied)], "a prefix, nothing left out"
    assert manifest.ledger is not None
    assert 3 <= manifest.ledger.furthest <= manifest.journal.last_seq
    assert verify(tmp_path / "to") == manifest


def test_captures_from_many_threads_are_in_it_once(
    world: World, paths: DataDir, tmp_path: Path
) -> None:
    acked: list[str] = []
    over = threading.Event()

    def work(name: str) -> None:
        for number in range(100_000):
            if over.is_set():
                return
            text = f"{name} {number}"
            at = world.clock.now()
            assert capture(world.running, event(ANA, text, at)).accepted == 1
            acked.append(f"{ANA}-{at.timestamp():.6f}-{text}")

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        while len(acked) < 200 and all(thread.is_alive() for thread in threads):
            over.wait(0.01)
        before = list(acked)
        back_up(paths, tmp_path / "to")
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    copied = _events(tmp_path / "to" / "journal.sqlite")
    assert len(copied) == len(set(copied))
    assert set(before) <= set(copied)


def test_other_databases_of_the_directory_come_along(paths: DataDir, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(paths.path / "access.sqlite")) as access:
        access.execute("PRAGMA journal_mode=WAL")
        access.executescript("CREATE TABLE keys (id TEXT); INSERT INTO keys VALUES ('k1')")
        access.execute("PRAGMA user_version=3")
        access.commit()
        manifest = back_up(paths, tmp_path / "to")
    assert manifest.files["access.sqlite"].schema_version == "3"
    there = DataDir(tmp_path / "there")
    restore(tmp_path / "to", there)
    with contextlib.closing(sqlite3.connect(there.path / "access.sqlite")) as access:
        assert access.execute("SELECT id FROM keys").fetchall() == [("k1",)]


def test_the_audit_log_comes_along_up_to_its_last_whole_line(
    paths: DataDir, tmp_path: Path
) -> None:
    audit = AuditFile(paths.audit_path)
    for number in range(50):
        audit.record("ana", Deed.RUN_REQUESTED, scope="acme", detail={"n": number})
    with paths.audit_path.open("ab") as file:
        file.write(b'{"half a line')
    back_up(paths, tmp_path / "to", pause=_nowait)
    restore(tmp_path / "to", DataDir(tmp_path / "there"))
    there = AuditFile(DataDir(tmp_path / "there").audit_path)
    assert there.verify().entries == 50
    there.record("ana", Deed.RUN_REQUESTED, scope="acme")
    assert there.verify().entries == 51


def test_a_directory_that_holds_something_is_never_written_to(
    paths: DataDir, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "precious").write_text("mine")
    with pytest.raises(StoreError, match=r"holds something already.*new or empty"):
        back_up(paths, to)
    assert [each.name for each in to.iterdir()] == ["precious"]
    with pytest.raises(StoreError, match=r"would be lost with it.*another disk"):
        back_up(paths, paths.path / "backup")
    with pytest.raises(StoreError, match=r"nothing to back up.*SLEEP_DATA_DIR"):
        back_up(DataDir(tmp_path / "nowhere"), tmp_path / "new")
    assert not (tmp_path / "nowhere").exists()


def test_without_room_nothing_is_written(
    paths: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(StoreFull, match=r"10000 free.*make room"):
        back_up(paths, tmp_path / "to")
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_two_backups_at_once_take_turns(paths: DataDir, tmp_path: Path) -> None:
    with paths.lock(LOCK), pytest.raises(StoreBusy, match=rf"{LOCK}\.lock"):
        back_up(paths, tmp_path / "to")


def test_a_ledger_that_has_read_more_than_the_journal_holds_is_no_backup(
    paths: DataDir, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(paths.journal_path)) as journal:
        journal.executescript("DELETE FROM events WHERE seq > 1; UPDATE heads SET last_seq = 1")
    with pytest.raises(StoreError, match=r"journal ends at event 1.*read up to 3"):
        back_up(paths, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert registered(paths) == ()


def test_a_damaged_database_is_no_backup(paths: DataDir, tmp_path: Path) -> None:
    with paths.journal_path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\x07" * 4096)
    with pytest.raises(StoreError, match="damaged"):
        back_up(paths, tmp_path / "to")
    assert not (tmp_path / "to").exists()


_DIE = """
import sys
from pathlib import Path
from sleep_runtime.stores.audit import AuditFile
from sleep_runtime.stores.backup import back_up, restore
from sleep_runtime.stores.datadir import DataDir
if sys.argv[1] == "backup":
    back_up(DataDir(sys.argv[2]), Path(sys.argv[3]))
else:
    restore(Path(sys.argv[3]), DataDir(sys.argv[2]))
"""


def _dies_at(point: str, what: str, data: Path, backup: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DIE, what, str(data), str(backup)],
        env={**os.environ, "SLEEP_FAILPOINTS": f"{point}=kill"},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", ["backup.copied", "backup.sealed"])
def test_a_backup_that_died_is_none_and_the_next_one_clears_it_away(
    paths: DataDir, tmp_path: Path, point: str
) -> None:
    to = tmp_path / "to"
    _dies_at(point, "backup", paths.path, to)
    assert not to.exists()
    (known,) = registered(paths)
    left = partial_of(known.path)
    assert left.exists(), "the list says where a copy may have been left"
    assert bool(known.digest) is (point == "backup.sealed")
    if point == "backup.copied":
        with pytest.raises(StoreError, match=r"is no backup.*has finished"):
            restore(left, DataDir(tmp_path / "there"))
    back_up(paths, to)
    assert not left.exists()
    verify(to)


def test_a_backup_that_raised_leaves_nothing(
    paths: DataDir, tmp_path: Path, disarmed: None
) -> None:
    arm("backup.copied=raise")
    with pytest.raises(FailpointHit):
        back_up(paths, tmp_path / "to")
    assert [each.name for each in tmp_path.iterdir()] == ["data"]
    assert registered(paths) == ()


# ---------------------------------------------------------------------------- checking


def _flip_a_byte(backup: Path) -> None:
    file = backup / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _lose_a_file(backup: Path) -> None:
    (backup / "journal.sqlite").unlink()


def _leave_a_log(backup: Path) -> None:
    (backup / "ledger.sqlite-wal").write_bytes(b"x")


def _lose_the_manifest(backup: Path) -> None:
    (backup / MANIFEST).unlink()


def _cut_the_manifest(backup: Path) -> None:
    text = (backup / MANIFEST).read_text()
    (backup / MANIFEST).write_text(text[: len(text) // 2])


def _reach_out(backup: Path) -> None:
    text = (backup / MANIFEST).read_text()
    (backup / MANIFEST).write_text(text.replace('"ledger.sqlite"', '"../ledger.sqlite"'))


def _change_and_hash_again(backup: Path) -> None:
    """Somebody who changes a row and mends the file's hash still meets the digest."""
    with contextlib.closing(sqlite3.connect(backup / "journal.sqlite")) as journal:
        journal.executescript("UPDATE events SET id = 'other' WHERE seq = 1")
    manifest = json.loads((backup / MANIFEST).read_text())
    from sleep_runtime.stores.backup.contents import file_facts

    facts = file_facts(backup / "journal.sqlite").model_dump()
    manifest["files"]["journal.sqlite"] = facts
    (backup / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip_a_byte, "ledger.sqlite has other bytes"),
        (_lose_a_file, "journal.sqlite is not there"),
        (_leave_a_log, "ledger.sqlite-wal is no part of the backup"),
        (_lose_the_manifest, "is no backup"),
        (_cut_the_manifest, r"manifest.json is damaged"),
        (_reach_out, r"manifest.json is damaged: it names \['../ledger.sqlite'\]|lacks"),
        (_change_and_hash_again, "journal.sqlite holds something else"),
    ],
)
def test_a_backup_that_changed_is_refused_and_nothing_is_restored(
    paths: DataDir, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    back_up(paths, tmp_path / "to", pause=_nowait)
    damage(tmp_path / "to")
    with pytest.raises(StoreError, match=said):
        verify(tmp_path / "to")
    with pytest.raises(StoreError, match=said):
        restore(tmp_path / "to", DataDir(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_a_backup_of_a_newer_version_is_refused(paths: DataDir, tmp_path: Path) -> None:
    back_up(paths, tmp_path / "to")
    manifest = json.loads((tmp_path / "to" / MANIFEST).read_text())
    (tmp_path / "to" / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(StoreTooNew, match=r"format 99.*newer sleep-runtime"):
        restore(tmp_path / "to", DataDir(tmp_path / "there"))


# ---------------------------------------------------------------------------- restoring


def test_restored_elsewhere_it_is_the_same_runtime_and_learns_the_same(
    world: World, paths: DataDir, tmp_path: Path, clock: ManualClock
) -> None:
    """The backup, moved, restored under another path; then both live through the same day."""
    manifest = back_up(paths, tmp_path / "to")
    (tmp_path / "to").rename(tmp_path / "carried")
    there = tmp_path / "other" / "place"
    done = restore(tmp_path / "carried", DataDir(there))
    assert done.manifest == manifest
    assert done.ledger_compared
    assert not (there / "index").exists()
    twin = opened(there, ManualClock(clock.now()))
    with twin.running:
        assert manifest.ledger is not None
        assert twin.running.ledger.digest() == manifest.ledger.digest
        assert index_of(twin) == {}
        twin.running.project()  # a fresh index is marked for filling when it is opened
        assert index_of(twin) == index_of(world) == active(world) != {}
        for one in (world, twin):
            one.say(BEN, PORT.statement)
            one.clock.advance(86_400)
            one.say(ANA, REPORTED.statement)
            one.running.nights()
        assert twin.running.ledger.digest() == world.running.ledger.digest()
        assert twin.running.ledger.digest() != manifest.ledger.digest
        assert index_of(twin) == index_of(world) == active(world)


def active(world: World) -> dict[str, int]:
    notes = world.running.ledger.notes(statuses=[NoteStatus.ACTIVE])
    return {note.id: note.revision for note in notes}


def index_of(world: World) -> dict[str, int]:
    return world.running.index.revisions(world.running.ledger.generation())


_FRESH = """
import json, sys
from pathlib import Path
from sleep_runtime.stores.backup import restore
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger import SqliteLedgerReader
restore(Path("backup"), DataDir("data"))
with SqliteLedgerReader(Path("data/ledger.sqlite")) as ledger:
    print(json.dumps(ledger.digest()))
"""


def test_another_machine_needs_nothing_but_the_directory(paths: DataDir, tmp_path: Path) -> None:
    """A fresh process, another working directory, an empty environment, relative paths."""
    manifest = back_up(paths, tmp_path / "to")
    machine = tmp_path / "machine"
    machine.mkdir()
    (tmp_path / "to").rename(machine / "backup")
    done = subprocess.run(
        [sys.executable, "-c", _FRESH],
        env={name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        cwd=machine,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert manifest.ledger is not None
    assert json.loads(done.stdout) == manifest.ledger.digest


def test_a_run_in_flight_goes_on_where_the_backup_caught_it(
    world: World, paths: DataDir, tmp_path: Path, clock: ManualClock, disarmed: None
) -> None:
    """Its answers are pinned: the restored run asks the engine nothing again."""
    arm("run.generated.pinned=raise")
    world.running.nights(ANA)
    arm("")
    (stuck,) = world.running.ledger.runs(unfinished=True)
    back_up(paths, tmp_path / "to")
    restore(tmp_path / "to", DataDir(tmp_path / "there"))
    twin = opened(tmp_path / "there", ManualClock(clock.now()))
    with twin.running:
        twin.running.nights()
        run = twin.running.ledger.run(stuck.id)
        assert run is not None
        assert run.state is RunState.PROJECTED
        assert not [s for s in twin.engine.asked_sessions if s.scope == ANA]
    world.running.nights()
    with SqliteLedgerReader(tmp_path / "there" / "ledger.sqlite") as ledger:
        assert ledger.digest() == world.running.ledger.digest()


def test_a_lease_of_a_dead_owner_holds_no_longer_than_its_time(
    world: World, paths: DataDir, tmp_path: Path
) -> None:
    now = world.clock.now()
    assert world.running.writer.acquire(ANA, "tier-of-another-machine", now=now, ttl_s=30)
    back_up(paths, tmp_path / "to")
    restore(tmp_path / "to", DataDir(tmp_path / "there"))
    twin = opened(tmp_path / "there", ManualClock(now))
    with twin.running:
        twin.running.nights(ANA)
        assert PORT.statement not in twin.active(ANA)
        twin.clock.advance(31)
        twin.running.nights(ANA)
        assert twin.running.ledger.cursors(ANA).journal == 4


def test_a_directory_in_use_is_never_restored_into(
    world: World, paths: DataDir, tmp_path: Path
) -> None:
    back_up(paths, tmp_path / "to")
    before = world.running.ledger.digest()
    with pytest.raises(StoreError, match=r"is not empty.*empty directory"):
        restore(tmp_path / "to", paths)
    there = DataDir(tmp_path / "there")
    with there.lock("runtime"):
        (there.path / "FORMAT").unlink()  # a runtime that has the lock and wrote nothing yet
        with pytest.raises(StoreBusy):
            restore(tmp_path / "to", there)
    assert world.running.ledger.digest() == before


@pytest.mark.parametrize("point", ["restore.copied", "restore.checked"])
def test_a_restore_that_died_is_refused_by_everybody_and_done_again(
    paths: DataDir, tmp_path: Path, point: str
) -> None:
    manifest = back_up(paths, tmp_path / "to")
    there = DataDir(tmp_path / "there")
    _dies_at(point, "restore", there.path, tmp_path / "to")
    with pytest.raises(StoreError, match=r"being restored.*run it again"):
        there.ensure()
    with (
        pytest.raises(StoreError, match="being restored"),
        opened(there.path, ManualClock()).running,
    ):
        pass
    restore(tmp_path / "to", there)
    there.ensure()
    with SqliteLedgerReader(there.ledger_path) as ledger:
        assert manifest.ledger is not None
        assert ledger.digest() == manifest.ledger.digest


def test_what_has_to_happen_after_a_restore_happens_before_anybody_reads(
    paths: DataDir, tmp_path: Path
) -> None:
    seen: list[int] = []

    def look(restored: DataDir) -> None:
        with pytest.raises(StoreError, match="being restored"):
            DataDir(restored.path).ensure()
        with contextlib.closing(SqliteJournalReader(restored.journal_path)) as journal:
            seen.append(journal.count())

    def fail(_: DataDir) -> None:
        raise StoreError("no")

    back_up(paths, tmp_path / "to")
    there = DataDir(tmp_path / "there")
    with pytest.raises(StoreError, match="no"):
        restore(tmp_path / "to", there, after=[look, fail])
    with pytest.raises(StoreError, match="being restored"):
        there.ensure()
    restore(tmp_path / "to", there, after=[look])
    there.ensure()
    assert seen == [4, 4]
    assert [one.path for one in registered(there)] == [tmp_path / "to"]


def test_a_restored_machine_makes_a_key_of_its_own(paths: DataDir, tmp_path: Path) -> None:
    now = ManualClock().now()
    prepare_keys(settings(paths.path), now)
    (old,) = KeyStore(paths.access_path).all()
    back_up(paths, tmp_path / "to")
    there = DataDir(tmp_path / "there")
    restore(tmp_path / "to", there, after=AFTER_RESTORE)
    assert not there.local_key_file.exists()
    prepare_keys(settings(there.path), now)
    (new,) = KeyStore(there.access_path).all()
    assert new.local
    assert new.id != old.id
    assert there.local_key_file.exists()


def test_a_damaged_register_is_said(paths: DataDir, tmp_path: Path) -> None:
    (paths.path / "backups.json").write_text("{")
    with pytest.raises(StoreError, match=r"backups.json is damaged.*move it away"):
        back_up(paths, tmp_path / "to")


def test_an_organisation_is_still_there(world: World, paths: DataDir, tmp_path: Path) -> None:
    """What search shows of the restored store is what it showed of the first."""
    back_up(paths, tmp_path / "to")
    restore(tmp_path / "to", DataDir(tmp_path / "there"))
    with SqliteLedgerReader(tmp_path / "there" / "ledger.sqlite") as ledger:
        here = world.running.ledger.notes(within=ORG)
        assert ledger.notes(within=ORG) == here
        assert ADJUSTED.statement in [note.claim.statement for note in here]
