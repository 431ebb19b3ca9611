"""Run as a process of its own: one night over a trail, in a given data directory.

    python night_worker.py DATA_DIR EVENTS.ndjson

Captures the trail (again, if it was captured before), consolidates until it is quiet, and prints
what came of it as one JSON object. Fail points come from the environment.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.telemetry.metrics import registry, snapshot
from sleep_runtime.testing.clock import ManualClock

NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)


def asked() -> float:
    """How many sessions this process had the engine distil."""
    return sum(
        sample.value
        for sample in snapshot(registry())
        if sample.name == "sleep_pins_total" and sample.labels["step"] == "distil"
    )


def main(data_dir: str, events: str) -> None:
    settings = load(overrides={"data_dir": data_dir}).settings
    with Embedded(settings, clock=ManualClock(NIGHT)) as runtime:
        parsed = parse_events(
            Path(events).read_bytes(),
            content_type="application/x-ndjson",
            content_encoding="",
            now=NIGHT,
            limits=CaptureLimits(),
        )
        runtime.journal.append(parsed.rows)
        runtime.nights()
        notes = runtime.ledger.notes()
        report = {
            "digest": runtime.ledger.digest(),
            "events": runtime.journal_reader.count(),
            "notes": [[note.scope, note.claim.statement, note.status.value] for note in notes],
            "unfinished": [run.id for run in runtime.ledger.runs(unfinished=True)],
            "marks": len(runtime.ledger.marks(limit=100)),
            "indexed": runtime.index.revisions(runtime.ledger.generation()),
            "active": {note.id: note.revision for note in notes if note.status == "active"},
            "asked": int(asked()),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
