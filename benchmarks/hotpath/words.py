"""What is posted: single events of 1 KB, batches of a hundred of them, and searches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.interference.words import EVENT_BYTES, padded
from benchmarks.trail import trail

LINES = 2000
BATCH = 100
BATCH_LINES = 50
_ACTS = ("send", "draw", "name", "round", "check", "sort", "file", "hand over", "archive")
_OF = ("quarterly", "regional", "old", "confidential", "printed", "shared", "late", "signed")
_THINGS = ("invoice", "waterfall", "ticket", "memo", "forecast", "contract", "handover", "runbook")


def write_captures(folder: Path, seed: int) -> None:
    """``capture.lines`` and ``batch.lines``; every event of a batch has a name of its own."""
    events = trail(max(LINES, BATCH), seed=seed)
    _write(folder / "capture.lines", [padded(event) for event in events[:LINES]])
    batches = [
        [padded(event, name=f"@ID-{place}") for place, event in enumerate(_some(events, number))]
        for number in range(BATCH_LINES)
    ]
    _write(folder / "batch.lines", batches)


def write_searches(folder: Path, name: str, scopes: Sequence[str], seed: int) -> None:
    """``name``.lines: distinct queries (by ``@ID``) of readers drawn from ``scopes``."""
    random = Random(seed)
    _write(folder / f"{name}.lines", [_search(random, scopes) for _ in range(LINES)])


def captured_event(number: int) -> dict[str, Any]:
    """One event of 1 KB, outside of wrk."""
    return padded(trail(1, seed=number)[0], name=f"event-{number}")


def _some(events: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    start = number * BATCH % max(1, len(events) - BATCH)
    return events[start : start + BATCH]


def _search(random: Random, scopes: Sequence[str]) -> dict[str, Any]:
    what = f"{random.choice(_ACTS)} the {random.choice(_OF)} {random.choice(_THINGS)}"
    return {
        "scope": random.choice(scopes),
        "query": f"how do we {what} for customer @ID",
        "k": 8,
    }


def _write(path: Path, values: Sequence[Any]) -> None:
    path.write_text("\n".join(json.dumps(value) for value in values) + "\n", encoding="ascii")


__all__ = ["BATCH", "EVENT_BYTES", "captured_event", "write_captures", "write_searches"]
