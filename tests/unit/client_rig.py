"""What the tests of the client share: notes to find, and waits that end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from sleep_runtime.client import Client
from sleep_runtime.testing.recorder import lesson

Make = Callable[..., Client]
WHO = "acme/banking/ana"
NOTES = [
    lesson("note-1", "use adjusted EBITDA", scope="acme/banking"),
    lesson("note-2", "answer in bullet points", scope="acme/banking/ben"),
    lesson("note-3", "use reported EBITDA", scope="acme", status="superseded"),
]


def until(condition: Callable[[], bool]) -> None:
    """Wait for the flusher's thread; fail when it takes too long."""
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def spooled(directory: Path) -> list[str]:
    """The texts of what waits on the disk."""
    found = []
    for path in sorted(directory.rglob("*-*.ndjson")):
        found += [json.loads(line)["text"] for line in path.read_text().splitlines()]
    return found
