"""The Python client and a real runtime: an absence, and a night that is learned from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from living import ROOT, Runtime, start, stop, surroundings

from sleep_runtime.client import Client, Options
from sleep_runtime.core.event import Event, EventKind
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal_reader import SqliteJournalReader

TIME_S = 60.0


def stored(data_dir: Path, scope: str) -> list[Event]:
    """What the journal has of exactly this scope."""
    reader = SqliteJournalReader(DataDir(data_dir).journal_path)
    try:
        found = reader.read(Scope(scope), after=0, upto=reader.last_seq(), limit=10_000)
        return [item.event for item in found]
    finally:
        reader.close()


def test_what_is_captured_while_the_runtime_is_down_arrives_once_when_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = surroundings(tmp_path)
    monkeypatch.setenv("SLEEP_DATA_DIR", environment["SLEEP_DATA_DIR"])
    url = f"http://127.0.0.1:{environment['SLEEP_HTTP__PORT']}"
    options = Options(spool_dir=tmp_path / "spool", retry_base_s=0.1, retry_max_s=1.0)
    with Client(url, options=options) as client:
        with client.session("away/team/ana", agent="deck") as session:
            assert not session.context("build the deck").available
            for number in range(250):
                session.message(f"m{number}", role="agent")
        assert not client.flush(5.0)
        assert client.stats().spooled == 250
        port = environment["SLEEP_HTTP__PORT"]
        running = start(tmp_path, SLEEP_HTTP__PORT=port)
        try:
            running.wait(lambda: client.stats().sent == 250, "the spooled events to arrive")
            texts = Counter(event.text for event in stored(running.data_dir, "away/team/ana"))
            assert texts == Counter(f"m{number}" for number in range(250))
        finally:
            assert stop(running) == 0
    assert client.stats().duplicates == 0
    assert not list((tmp_path / "spool").rglob("*-*.*"))


def agent_loop(runtime: Runtime, spool: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "agent_loop" / "agent.py")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SLEEP_URL": runtime.url,
            "SLEEP_DATA_DIR": str(runtime.data_dir),
            "SLEEP_SPOOL_DIR": str(spool),
        },
        capture_output=True,
        text=True,
        timeout=TIME_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def test_the_example_agent_is_corrected_by_day_and_knows_it_after_a_night(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLEEP_DATA_DIR", str(runtime.data_dir))
    assert agent_loop(runtime, tmp_path) == "corrected 2 of 2"
    runtime.night("acme-decks")
    assert agent_loop(runtime, tmp_path) == "corrected 0 of 2"
    with Client(runtime.url, options=Options(spool_dir=tmp_path, read_s=30.0)) as client:
        notes = client.notes(scope="acme-decks").notes
        assert notes
        assert all("adjusted EBITDA" in note.statement for note in notes)
        # What was recalled into the second day is no new evidence.
        behind = {note.id: note.fields["evidence"] for note in notes}
        runtime.night("acme-decks")
        again = client.notes(scope="acme-decks").notes
        assert {note.id: note.fields["evidence"] for note in again} == behind
    kinds = Counter(event.kind for event in stored(runtime.data_dir, "acme-decks/banking/ana"))
    assert (kinds[EventKind.CORRECTION], kinds[EventKind.RETRIEVAL]) == (1, 1)
