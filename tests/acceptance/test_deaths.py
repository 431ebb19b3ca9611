"""Processes die while a night runs on Ray; afterwards everything was learned once, and right.

Tiers run side by side here, so what a team's run finds waiting depends on the moment it looks, in
a quiet night too. The store that must come out bit for bit is compared in ``tests/fault``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from check import check
from living import Runtime, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow]

VICTIMS = ("TierActor", "EngineActor", "LedgerOwner", "IndexOwner", "JournalOwner", "NightWatch")


def captured(runtime: Runtime, events: list[dict[str, Any]]) -> None:
    for at in range(0, len(events), 100):
        answer = runtime.http.post("/v1/events", json=events[at : at + 100])
        answer.raise_for_status()


@pytest.mark.timeout(400)
def test_killing_each_process_during_the_night_loses_and_doubles_nothing(
    deck: list[dict[str, Any]], gold: dict[str, Any], tmp_path: Path
) -> None:
    hurt = start(tmp_path)
    try:
        captured(hurt, deck)
        hurt.http.post("/v1/runs", json={"scope": "acme"}).raise_for_status()
        for victim in VICTIMS:
            kill_one(hurt, victim)
        hurt.wait(lambda: answers_quiet(hurt), "the hurt night to end", timeout_s=150)

        assert check(hurt.notes("acme", "all"), gold) == []
        runs = hurt.http.get("/v1/runs", params={"scope": "acme", "limit": 500}).json()["runs"]
        assert {run["state"] for run in runs} == {"projected"}
        read = sum(run["counts"].get("events", 0) for run in runs)
        assert read == len({item["id"] for item in deck}), "an event was distilled twice or never"
        assert hurt.status("acme")["outbox"] == 0
    finally:
        stop(hurt)


def kill_one(runtime: Runtime, name: str) -> None:
    """SIGKILL the first process of that name and wait until another has taken its place."""
    runtime.wait(lambda: bool(runtime.processes(name)), f"a {name}")
    victim = runtime.processes(name)[0]
    victim.kill()
    psutil.wait_procs([victim], timeout=10)
    runtime.wait(
        lambda: any(process.pid != victim.pid for process in runtime.processes(name)),
        f"another {name} after {victim.pid} was killed",
    )


def answers_quiet(runtime: Runtime) -> bool:
    try:
        runtime.http.post("/v1/runs", json={"scope": "acme"}).raise_for_status()
    except httpx.HTTPStatusError:
        return False
    return bool(runtime.status("acme")["quiet"])
