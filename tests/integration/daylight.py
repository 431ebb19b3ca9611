"""Days in milliseconds: an embedded runtime on a clock that is moved by hand, and what is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import Settings, load
from sleep_runtime.core.journal import AppendResult
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.ports import Engine, JournalWriter
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import Line, ScriptedEngine

ORG, TEAM, OTHER_TEAM = Scope("acme"), Scope("acme/banking"), Scope("acme/retail")
ANA, BEN = Scope("acme/banking/ana"), Scope("acme/banking/ben")
DAN = Scope("acme/retail/dan")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def claim(statement: str, value: str = "", kind: NoteKind = NoteKind.CONVENTION) -> Claim:
    """What the script makes of a line; everything in it stands in the line."""
    subject, aspect = ("EBITDA", "basis") if "EBITDA" in statement else ("", "")
    return Claim(statement=statement, kind=kind, subject=subject, aspect=aspect, value=value)


ADJUSTED = claim("always use adjusted EBITDA", "adjusted")
REPORTED = claim("always use reported EBITDA", "reported")
TERSE = claim("answer in short bullet points", "bullet points", NoteKind.PREFERENCE)
ONCE = claim("make this one slide blue", "blue")
PORT = claim("the staging port is 8443", "8443", NoteKind.FACT)

SCRIPT: dict[str, Sequence[Line]] = {
    ADJUSTED.statement: [Line(ADJUSTED)],
    REPORTED.statement: [Line(REPORTED)],
    TERSE.statement: [Line(TERSE)],
    ONCE.statement: [Line(ONCE, Durability.ONE_OFF)],
    PORT.statement: [Line(PORT)],
}
VERDICTS = {(ADJUSTED.statement, REPORTED.statement): Verdict.EXCLUDES}


def scripted(**options: Any) -> ScriptedEngine:
    """An engine that notes the lines above and knows which two of them exclude each other."""
    return ScriptedEngine(SCRIPT, VERDICTS, **options)


def settings(data_dir: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from nothing but these values."""
    chosen = {"data_dir": str(data_dir), **(overrides or {})}
    return load(overrides=chosen, environ={}).settings


def runtime(
    data_dir: Path,
    clock: ManualClock,
    engine: Engine | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Embedded:
    """An embedded runtime with a script for an engine; enter it to open its stores."""
    return Embedded(
        settings(data_dir, overrides),
        clock=clock,
        engine=engine or scripted(),
        embedder=HashEmbedder(),
    )


def event(scope: Scope, text: str, at: datetime, **fields: Any) -> dict[str, Any]:
    """One native event as JSON; a person's message unless ``fields`` say otherwise."""
    return {
        "id": f"{scope}-{at.timestamp():.6f}-{text[:40]}",
        "ts": at.isoformat(),
        "scope": str(scope),
        "session": f"{at:%Y%m%d-%H%M%S}",
        "kind": "message",
        "role": "human",
        "text": text,
        **fields,
    }


def capture(running: Embedded, *events: Mapping[str, Any]) -> AppendResult:
    """Parse and append as the hot path does; every event has to be taken."""
    parsed = parse_events(
        json.dumps(events).encode(),
        content_type="application/json",
        content_encoding="",
        now=running.clock.now(),
        limits=CaptureLimits(),
    )
    assert not parsed.rejected
    writer: JournalWriter = running.journal
    return writer.append(parsed.rows)


@dataclass
class World:
    """A runtime and its clock; ``say`` lets a person say something now."""

    running: Embedded
    clock: ManualClock
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)

    def say(self, scope: Scope, *texts: str, **fields: Any) -> None:
        """One event for each text, a second apart; the clock moves along."""
        for text in texts:
            self.clock.advance(1)
            capture(self.running, event(scope, text, self.clock.now(), **fields))

    def tick(self) -> tuple[Scope, ...]:
        return self.running.scheduler.tick().started

    def active(self, scope: Scope) -> list[str]:
        """The statements in force at exactly this scope."""
        return [note.claim.statement for note in self.notes(scope, NoteStatus.ACTIVE)]

    def notes(self, scope: Scope, *statuses: NoteStatus) -> list[Note]:
        return self.running.ledger.notes([scope], statuses=statuses or None)
