#!/usr/bin/env python
"""Makes the data directory of a small life, as the version that is imported writes it.

    PYTHONPATH=CHECKOUT .venv/bin/python scripts/make_upgrade_fixture.py tests/fixtures/upgrades

CHECKOUT is a tree of the version: this one for a migration that was just added, or an older one
(``git worktree add /tmp/old COMMIT``). It writes ``ledger-REVISION-journal-VERSION/`` with both
databases, compressed, and ``facts.json``: what that version said of them. Needs no model and no
Ray. Only what every version has is used here; where an interface changed, both are tried.

What lies in it: lessons in force, superseded, waiting and taken back; a run that stopped in the
middle with its answers pinned; a lease, and events that no night has read.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from sleep_runtime import __version__
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.failpoint import arm
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import Line, ScriptedEngine

ANA, BEN = Scope("acme/banking/ana"), Scope("acme/banking/ben")
DAY_S = 86_400.0


def claim(statement: str, value: str, about: str = "") -> Claim:
    """What the scripted engine makes of a line; ``about`` is a subject and an aspect."""
    subject, aspect = about.split(" ") if about else ("", "")
    return Claim(
        statement=statement,
        kind=NoteKind.CONVENTION,
        subject=subject,
        aspect=aspect,
        value=value,
    )


ADJUSTED = claim("always use adjusted EBITDA", "adjusted", "EBITDA basis")
REPORTED = claim("always use reported EBITDA", "reported", "EBITDA basis")
PORT = claim("the staging port is 8443", "8443")
TERSE = claim("answer in short bullet points", "bullet points")
BLUE = claim("make this one slide blue", "blue")


def engine() -> ScriptedEngine:
    """Knows five lessons, and that two of them exclude each other."""
    lines = {one.statement: [Line(one)] for one in (ADJUSTED, REPORTED, PORT, TERSE)}
    lines[BLUE.statement] = [Line(BLUE, Durability.ONE_OFF)]
    return ScriptedEngine(lines, {(ADJUSTED.statement, REPORTED.statement): Verdict.EXCLUDES})


class Life:
    """One runtime on one directory, and what is said to it."""

    def __init__(self, running: Embedded, clock: ManualClock) -> None:
        self.running = running
        self.clock = clock

    def say(self, scope: Scope, text: str) -> None:
        self.clock.advance(1)
        now = self.clock.now()
        event = {
            "id": f"{scope}-{now:%d-%H%M%S}",
            "ts": now.isoformat(),
            "scope": str(scope),
            "session": f"{now:%d-%H%M%S}",
            "kind": "message",
            "role": "human",
            "text": text,
        }
        parsed = parse_events(
            json.dumps([event]).encode(),
            content_type="application/json",
            content_encoding="",
            now=now,
            limits=CaptureLimits(),
        )
        assert not parsed.rejected
        self.running.journal.append(parsed.rows)

    def live(self) -> None:
        for scope, text in ((ANA, ADJUSTED), (ANA, BLUE), (BEN, TERSE)):
            self.say(scope, text.statement)
        self.running.nights()
        self.clock.advance(DAY_S)
        self.say(BEN, ADJUSTED.statement)
        self.say(ANA, REPORTED.statement)
        self.running.nights()
        self.clock.advance(DAY_S)
        self.say(BEN, PORT.statement)
        last = next(run for run in self.running.nights() if run.scope == BEN)
        self.running.undo(last.id)
        self.clock.advance(DAY_S)
        self.say(ANA, TERSE.statement)
        self.stop_a_night_of(ANA)
        self.say(BEN, REPORTED.statement)

    def stop_a_night_of(self, scope: Scope) -> None:
        """A run whose answers are pinned and which got no further, and somebody's lease."""
        arm("run.generated.pinned=raise")
        self.running.nights(scope, max_rounds=1)
        arm("")
        now = self.clock.now()
        assert self.running.writer.acquire(Scope("acme"), "dead", now=now, ttl_s=60)

    def facts(self) -> dict[str, Any]:
        ledger = self.running.ledger
        return {
            "version": __version__,
            "now": self.clock.now().isoformat(),
            "ledger_digest": ledger.digest(),
            "counts": ledger.counts(),
            "active": {
                note.id: note.claim.statement for note in ledger.notes(statuses=[NoteStatus.ACTIVE])
            },
            "unfinished": [run.id for run in ledger.runs(unfinished=True)],
            "events": self.running.journal_reader.count(),
            "last_seq": self.running.journal_reader.last_seq(),
        }


def one(path: Path, question: str) -> str:
    """The one value a query of a file answers with."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(question).fetchone()[0])


def main(to: Path) -> None:
    """Live, close, and pack what is left."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        settings = load(overrides={"data_dir": str(data)}, environ={}).settings
        clock = ManualClock(datetime.fromisoformat("2026-11-20T09:00:00+00:00"))
        with Embedded(settings, clock=clock, engine=engine(), embedder=HashEmbedder()) as running:
            life = Life(running, clock)
            life.live()
            facts = life.facts()
        ledger = one(data / "ledger.sqlite", "SELECT version_num FROM alembic_version")
        journal = one(data / "journal.sqlite", "PRAGMA user_version")
        facts |= {"ledger": ledger, "journal": int(journal)}
        facts["format"] = json.loads((data / "FORMAT").read_text())["format"]
        target = to / f"ledger-{ledger}-journal-{journal}"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("ledger.sqlite", "journal.sqlite"):
            (target / f"{name}.gz").write_bytes(gzip.compress((data / name).read_bytes(), mtime=0))
        (target / "facts.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
