"""Processes die while a night runs; afterwards the store is that of an undisturbed night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from living import Runtime, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def essence(notes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What was learned, without when it was recorded."""
    return sorted(
        (
            note["scope"],
            note["statement"],
            note["status"],
            note["revision"],
            tuple(sorted(note["evidence"])),
        )
        for note in notes
    )


def captured(runtime: Runtime, events: list[dict[str, Any]]) -> None:
    for at in range(0, len(events), 100):
        answer = runtime.http.post("/v1/events", json=events[at : at + 100])
        answer.raise_for_status()


@pytest.mark.timeout(400)
def test_killing_each_process_during_the_night_changes_nothing(
    runtime: Runtime, deck: list[dict[str, Any]], tmp_path: Path
) -> None:
    captured(runtime, deck)
    runtime.night("acme")
    undisturbed = essence(runtime.notes("acme", "all"))
    assert undisturbed

    hurt = start(tmp_path)
    try:
        captured(hurt, deck)
        hurt.http.post("/v1/runs", json={"scope": "acme"}).raise_for_status()
        for victim in ("TierActor", "LedgerOwner", "IndexOwner", "JournalOwner", "NightWatch"):
            kill_one(hurt, victim)
        hurt.wait(lambda: answers_quiet(hurt), "the hurt night to end", timeout_s=150)
        assert essence(hurt.notes("acme", "all")) == undisturbed
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
