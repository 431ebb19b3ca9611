"""Two runtimes on one cluster: side by side, one idle bundle between them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from head import OPEN, Head, head
from living import Runtime, event, start, stop, surroundings

from benchmarks.waiting import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(500)]

BRISK = {
    "SLEEP_POOL__IDLE_TIMEOUT_S": "8",
    "SLEEP_POOL__HYSTERESIS_S": "0.5",
    "SLEEP_POLICY__TRIGGERS__COOLDOWN_S": "0",
    **OPEN,
}
OWNERS = ("JournalOwner", "LedgerOwner", "IndexOwner", "NightWatch")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Head]:
    with head(tmp_path) as running:
        yield running


def pool(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = runtime.http.get("/v1/pool").json()
    return found


def owners(cluster: Head) -> int:
    return sum(any(name in title for name in OWNERS) for title in cluster.titles())


def home(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


def test_two_runtimes_share_a_cluster_and_both_learn(cluster: Head, tmp_path: Path) -> None:
    port = str(free_port())
    shared = {"SLEEP_RAY__ADDRESS": cluster.address, "SLEEP_HTTP__PORT": port, **BRISK}
    first = start(home(tmp_path, "first"), **shared)
    second: Runtime | None = None
    try:
        before = owners(cluster)
        refused = subprocess.run(
            [sys.executable, "-m", "sleep_runtime.cli.main", "up"],
            env=surroundings(home(tmp_path, "refused"), **shared),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert refused.returncode == 1
        assert "http.route_prefix" in refused.stderr
        assert "SLEEP_HTTP__ROUTE_PREFIX" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert owners(cluster) == before, "what was refused left actors behind"
        assert not (tmp_path / "refused" / "data" / "runtime.json").exists()

        second = start(
            home(tmp_path, "second"), **{**shared, "SLEEP_HTTP__ROUTE_PREFIX": "/second"}
        )
        both_learn(first, second)
        assert stop(second) == 0
        second = None
        assert first.capture(event(9, "one"))["accepted"] == 1, "the other one took it along"
        assert owners(cluster) == before
    finally:
        if second is not None:
            stop(second)
        assert stop(first) == 0


def both_learn(first: Runtime, second: Runtime) -> None:
    """One idle bundle: the second says what it waits for, and gets it when the first is done."""
    first.capture(event(1, "one", "from now on deploy on mondays", kind="correction"))
    first.http.post("/v1/runs", json={"scope": "one"}).raise_for_status()
    first.wait(lambda: pool(first)["state"] == "open", "the first one's engine")
    second.capture(event(1, "two", "from now on deploy on fridays", kind="correction"))
    second.http.post("/v1/runs", json={"scope": "two"}).raise_for_status()
    second.wait(lambda: pool(second)["state"] == "waiting for a node", "the second one to wait")
    second.wait(
        lambda: "the idle nodes are taken" in pool(second)["reason"], "it to say what it waits for"
    )
    assert "the idle nodes are taken" in second.cli("status").stdout
    first.wait(lambda: bool(first.status("one")["quiet"]), "the first night")
    second.wait(lambda: bool(second.status("two")["quiet"]), "the second night", timeout_s=150)
    assert [note["statement"] for note in first.notes("one")] == ["from now on deploy on mondays"]
    assert [note["statement"] for note in second.notes("two")] == ["from now on deploy on fridays"]
    for runtime in (first, second):  # each has its own note, and no other
        assert len(runtime.http.get("/v1/notes").json()["notes"]) == 1
