"""Fixtures of the tests that drive the runtime from outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from living import ROOT, Runtime, start, stop

sys.path.insert(0, str(ROOT / "examples" / "earnings_deck"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """One runtime for all tests of the session; each test uses an organisation of its own."""
    running = start(tmp_path_factory.mktemp("runtime"))
    yield running
    assert stop(running) == 0


@pytest.fixture
def deck() -> list[dict[str, Any]]:
    """The events of the earnings deck."""
    lines = (ROOT / "examples" / "earnings_deck" / "events.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def gold() -> dict[str, Any]:
    """What a night over the earnings deck must and must not leave."""
    found: dict[str, Any] = json.loads(
        (ROOT / "examples" / "earnings_deck" / "gold.json").read_text()
    )
    return found
