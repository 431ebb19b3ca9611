"""What benchmarks of a whole runtime share: one that is up in this process, and its store."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.waiting import QUIET, WAIT_S, bearer, free_port, wait_until
from sleep_runtime.compose.cluster import Running, start
from sleep_runtime.config import load
from sleep_runtime.core.run import RunState
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger import SqliteLedgerReader

PAGE = 500


@dataclass
class Rig:
    """A runtime that is up in this process: its owners' handles, and HTTP as a client sees it."""

    running: Running
    http: httpx.Client
    ledger: SqliteLedgerReader

    def capture(self, events: list[dict[str, Any]]) -> None:
        """Post events; fails when one is not taken."""
        for at in range(0, len(events), PAGE):
            body = "\n".join(json.dumps(event) for event in events[at : at + PAGE])
            answer = self.http.post(
                "/v1/events", content=body, headers={"content-type": "application/x-ndjson"}
            )
            answer.raise_for_status()
            assert not answer.json()["rejected"], answer.text

    def begin_night(self) -> None:
        """Make everything that is pending due now."""
        self.http.post("/v1/runs", json={}).raise_for_status()

    def pool(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/v1/pool").json()
        return found

    def quiet(self) -> bool:
        """Whether nothing is pending, under way or waiting for the index."""
        status = self.http.get("/v1/status").json()
        return bool(status["quiet"]) and not any(status["pending"].values())

    def finish_night(self, timeout_s: float = WAIT_S) -> None:
        """Wait until nothing is left to do, asking again for what a night brought up."""

        def done() -> bool:
            self.begin_night()
            return self.quiet()

        wait_until(done, "the night to end", timeout_s, every_s=0.5)


@contextlib.contextmanager
def rig(**overrides: Any) -> Iterator[Rig]:
    """A runtime of its own port and Ray; ``overrides`` are settings by dotted key.

    It has a directory of its own, too, unless ``data_dir`` names one.
    """
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory() as place:
        home = str(overrides.get("data_dir", place))
        settings = load(
            overrides={
                "data_dir": home,
                "http.port": free_port(),
                "log.level": "error",
                **overrides,
            }
        ).settings
        running = start(settings, progress=lambda _: None)
        try:
            with (
                httpx.Client(base_url=running.url, timeout=60, headers=bearer(home)) as http,
                contextlib.closing(SqliteLedgerReader(DataDir(Path(home)).ledger_path)) as ledger,
            ):
                yield Rig(running, http, ledger)
        finally:
            running.stop(lambda _: None)


def learned(ledger: SqliteLedgerReader) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Every note in force or waiting: its scope, status, statement and evidence."""
    return {
        (str(note.scope), note.status.value, note.claim.statement, tuple(sorted(note.evidence)))
        for note in ledger.notes()
    }


def distilled(ledger: SqliteLedgerReader) -> tuple[int, int]:
    """(events that runs read, runs that are not over), over all runs."""
    runs = ledger.runs(limit=1_000_000)
    read = sum(run.counts.get("events", 0) for run in runs)
    return read, sum(1 for run in runs if run.state is not RunState.PROJECTED)


def doubled(ledger: SqliteLedgerReader) -> int:
    """Changes that were committed twice: the same revision of a note by two deltas."""
    seen: set[tuple[str, int]] = set()
    twice = 0
    for run in ledger.runs(limit=1_000_000):
        for delta in ledger.deltas(run.id):
            key = (delta.note_id, delta.revision)
            twice += key in seen
            seen.add(key)
    return twice
