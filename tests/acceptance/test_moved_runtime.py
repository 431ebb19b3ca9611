"""A backup of a runtime at work becomes a runtime elsewhere; its index is destroyed under load."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from crowd import Crowd, kept
from living import ROOT, Runtime, start, stop, surroundings

from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.journal_reader import SqliteJournalReader

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

CROWD, DECK = "backup", "backup-deck"


@dataclass
class Twin:
    """What came of the backup, and what was known when it began."""

    first: Runtime
    runtime: Runtime
    manifest: dict[str, Any]
    restored: dict[str, Any]
    acked_before: set[str]
    acked_or_sent: set[str]


@pytest.fixture(scope="module")
def twin(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """Back up under captures and in the middle of a night, restore and start somewhere else."""
    away = tmp_path_factory.mktemp("elsewhere")
    runtime.capture(*deck_of(DECK))
    with Crowd(runtime, CROWD) as crowd:
        crowd.wait_acks(100)
        runtime.http.post("/v1/runs", json={"scope": DECK}).raise_for_status()
        before = set(crowd.acked)
        made = runtime.cli("backup", "--to", str(away / "made"), "--json")
        assert made.returncode == 0, made.stderr
        crowd.wait_acks(50)
    assert set(crowd.answers) == {200}
    print(f"captures took up to {crowd.slowest_s:.2f} s, {len(crowd.acked)} acked")
    (away / "made").rename(away / "carried")
    restored = subprocess.run(
        [sys.executable, "-m", "sleep_runtime.cli.main",
         "restore", "--from", "carried", "--json"],
        env=surroundings(away), cwd=away, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert restored.returncode == 0, restored.stderr
    second = start(away, SLEEP_INDEX__EXACT_LIMIT="0")
    yield Twin(
        runtime,
        second,
        json.loads(made.stdout),
        json.loads(restored.stdout),
        before,
        crowd.acked | crowd.unacked,
    )
    assert stop(second) == 0


def deck_of(org: str) -> list[dict[str, Any]]:
    """The events of the earnings deck, as another organisation's."""
    lines = (ROOT / "examples" / "earnings_deck" / "events.ndjson").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [{**one, "scope": {**one["scope"], "org": org}} for one in events]


def test_every_event_acked_before_the_backup_began_is_in_it_once(twin: Twin) -> None:
    found = kept(twin.runtime, CROWD)
    assert len(found) == len(set(found))
    assert twin.acked_before <= set(found) <= twin.acked_or_sent
    assert deck_ids(twin.runtime) == deck_ids(twin.first) != []
    for part in ("ledger", "journal", "files"):
        assert twin.restored[part] == twin.manifest[part]


def deck_ids(runtime: Runtime) -> list[str]:
    """The ids of one person's events of the deck in the journal, in its order."""
    with contextlib.closing(SqliteJournalReader(runtime.data_dir / "journal.sqlite")) as journal:
        found = journal.read(
            Scope(f"{DECK}/banking/ben"), after=0, upto=journal.last_seq(), limit=5000
        )
    return [stored.event.id for stored in found]


def test_the_night_that_the_backup_caught_ends_as_it_ended_there(twin: Twin) -> None:
    """Runs go on from their pins; leases of the machine that was left run out by themselves."""
    for runtime in (twin.first, twin.runtime):
        runtime.night(DECK)
    there = {note["id"]: note["statement"] for note in twin.first.notes(DECK)}
    here = {note["id"]: note["statement"] for note in twin.runtime.notes(DECK)}
    assert here == there != {}


def test_the_backup_is_known_and_can_be_checked(twin: Twin, tmp_path: Path) -> None:
    listed = json.loads((twin.first.data_dir / "backups.json").read_text())["backups"]
    assert "made" in [Path(one["path"]).name for one in listed]
    for runtime, deed in ((twin.first, "backed_up"), (twin.runtime, "restored")):
        entries = json.loads(runtime.cli("audit", "list", "--json").stdout)["entries"]
        assert deed in [entry["deed"] for entry in entries]
    carried = twin.runtime.data_dir.parent / "carried"
    done = twin.runtime.cli("backup", "verify", str(carried), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["journal"] == twin.manifest["journal"]
    refused = twin.runtime.cli("restore", "--from", str(carried))
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    copy = tmp_path / "copy"
    shutil.copytree(carried, copy)
    with (copy / "ledger.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x55")
    broken = twin.runtime.cli("backup", "verify", str(copy))
    assert broken.returncode == 1
    assert "ledger.sqlite has other bytes" in broken.stderr
    without = twin.runtime.cli("backup")
    assert without.returncode == 2
    assert "--to" in without.stderr


# ---------------------------------------------------------------------------- the index


def _remove(path: Path) -> None:
    shutil.rmtree(path)


def _garbage(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(os.urandom(max(file.stat().st_size, 8192)))


def _empty(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


class Searching:
    """Searches for what is known without a pause, at a runtime that asks its index each time."""

    def __init__(self, runtime: Runtime, wanted: list[dict[str, Any]]) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self._runtime = runtime
        self._wanted = wanted
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def more(self, count: int = 10) -> None:
        goal = self.answers + count
        self._runtime.wait(
            lambda: self.answers >= goal or bool(self.wrong), f"{count} more answers"
        )

    def _work(self) -> None:
        runtime = self._runtime
        with httpx.Client(base_url=runtime.url, timeout=30, auth=runtime.sign) as http:
            while not self._over.is_set() and not self.wrong:
                note = self._wanted[self.answers % len(self._wanted)]
                asked = {"scope": note["scope"], "query": note["statement"], "k": 5}
                answer = http.post("/v1/search", json=asked)
                self._check(note, answer)
                self.answers += 1

    def _check(self, note: dict[str, Any], answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.wrong.append(f"{answer.status_code} {answer.text}")
            return
        found = answer.json()["hits"]
        if note["id"] not in [one["note"]["id"] for one in found]:
            self.wrong.append(f"{note['statement']!r} was not found in {note['scope']}")
        if any(one["note"]["scope"].split("/")[0] != DECK for one in found):
            self.wrong.append(f"{note['scope']} was shown something of another organisation")


@pytest.mark.parametrize(
    ("destroy", "mend"),
    [(_remove, "reconcile"), (_garbage, "rebuild"), (_empty, "reconcile")],
)
def test_an_index_destroyed_under_load_is_made_again_without_a_restart(
    twin: Twin, destroy: Callable[[Path], None], mend: str
) -> None:
    runtime = twin.runtime
    runtime.night(DECK)
    wanted = runtime.notes(DECK)
    assert wanted
    org = f"destroyed-{destroy.__name__[1:]}"
    with Crowd(runtime, org, size=2) as crowd, Searching(runtime, wanted) as searching:
        destroy(runtime.data_dir / "index")
        crowd.wait_acks(20)
        searching.more()
        mended = runtime.cli(mend, "--json")
        assert mended.returncode == 0, mended.stderr
        searching.more()
        crowd.wait_acks(20)
        again = runtime.cli("reconcile", "--json")
    assert searching.wrong == []
    assert set(crowd.answers) == {200}
    report = json.loads(mended.stdout)
    assert report.get("missing", report.get("notes", 0)) >= len(wanted)
    assert json.loads(again.stdout) == dict.fromkeys(
        ("missing", "stale", "orphaned", "repaired"), 0
    )
