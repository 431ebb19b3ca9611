"""What tests of the idle pool do with a runtime: capture a day, begin its night, see it end."""

from __future__ import annotations

from typing import Any

from living import Runtime

from benchmarks.trail import trail

NIGHT_S = 240.0


def pool(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = runtime.http.get("/v1/pool").json()
    return found


def day(org: str, events: int) -> list[dict[str, Any]]:
    """A day of one organisation, like no other's."""
    return [
        {**item, "id": f"{org}-{item['id']}", "scope": {**item["scope"], "org": org}}
        for item in trail(events, seed=1)
    ]


def begin(runtime: Runtime, org: str, events: list[dict[str, Any]]) -> None:
    """Capture a day, begin its night, and wait until an engine works on it."""
    for at in range(0, len(events), 100):
        runtime.http.post("/v1/events", json=events[at : at + 100]).raise_for_status()
    runtime.http.post("/v1/runs", json={"scope": org}).raise_for_status()
    runtime.wait(lambda: pool(runtime)["nights"] > 0, "a night with an engine", NIGHT_S)


def ends_once(runtime: Runtime, org: str, events: int) -> None:
    """Wait for the end of the organisation's nights: each event was read by one run."""

    def quiet() -> bool:
        asked = runtime.http.post("/v1/runs", json={"scope": org})
        return asked.is_success and bool(runtime.status(org)["quiet"])

    runtime.wait(quiet, f"the nights of {org} to end; the pool is {pool(runtime)}", NIGHT_S)
    answer = runtime.http.get("/v1/runs", params={"scope": org, "limit": 500})
    runs: list[dict[str, Any]] = answer.json()["runs"]
    assert {run["state"] for run in runs} == {"projected"}
    assert sum(run["counts"].get("events", 0) for run in runs) == events
    assert runtime.status(org)["outbox"] == 0
