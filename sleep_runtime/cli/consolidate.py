"""``consolidate``: ask for a night now, and wait for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import Client, connect
from sleep_runtime.cli.output import Talk, counted, emit, out, say, table
from sleep_runtime.cli.runs import what_happened
from sleep_runtime.core.errors import RuntimeUnavailable

FIRST_POLL_S = 0.2
LAST_POLL_S = 2.0
MAX_RUNS = 500


def consolidate(
    *,
    scope: options.SomeScope = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the night is over.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Longest wait.")
    ] = 3600.0,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Make everything pending at and below a scope due now."""
    params = options.scope_params(scope)
    with connect(url, config) as client:
        asked = client.post("/v1/runs", params)
        if not wait:
            _report_request(asked, as_json=as_json)
            return
        wait_until_quiet(client, params, timeout_s=timeout)
        night = _night(client, params, asked["at"])
    if as_json:
        emit({"requested": asked["requested"], "runs": night})
    else:
        _print_night(night)
    if any(run["state"] != "projected" for run in night):
        raise typer.Exit(1)


def _report_request(asked: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(asked)
        return
    for scope in asked["requested"]:
        out(scope)
    say(f"{len(asked['requested'])} scopes are due now" if asked["requested"] else "nothing to do")


def wait_until_quiet(
    client: Client,
    params: dict[str, Any],
    *,
    timeout_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Return when nothing at or below the scope is due or awake; the wait is bounded."""
    deadline, pause = now() + timeout_s, FIRST_POLL_S
    with Talk("consolidating") as talk:
        while not (status := client.get("/v1/status", params))["quiet"]:
            if now() >= deadline:
                raise RuntimeUnavailable(
                    f"the night is not over after {timeout_s:.0f} s: {_at_work(status)}",
                    mend="it goes on by itself; see: sleep-runtime status",
                )
            talk.update(_at_work(status))
            sleep(pause)
            pause = min(pause * 1.5, LAST_POLL_S)


def _at_work(status: dict[str, Any]) -> str:
    awake, pending = status["awake"], status["pending"]
    states = counted(dict(Counter(lease["state"] for lease in awake)))
    return (
        f"{len(awake)} scopes awake{f' ({states})' if states else ''}, pending: "
        f"{pending['events']} events, {pending['observations']} observations"
    )


def _night(client: Client, params: dict[str, Any], since: str) -> list[dict[str, Any]]:
    """The runs that did something since this instant, oldest first, with what they wrote."""
    start = datetime.fromisoformat(since)
    runs = client.get("/v1/runs", {**params, "limit": MAX_RUNS})["runs"]
    ours = [run for run in runs if datetime.fromisoformat(run["updated_at"]) >= start]
    for run in ours:
        deltas = client.get(f"/v1/runs/{run['id']}")["deltas"]
        run["written"] = dict(Counter(delta["kind"] for delta in deltas))
    return ours[::-1]


def _print_night(runs: list[dict[str, Any]]) -> None:
    if not runs:
        say("nothing was pending: no night was needed")
        return
    rows = [
        (run["scope"], run["state"], counted(run["written"]) or "nothing", what_happened(run))
        for run in runs
    ]
    out(table(("SCOPE", "STATE", "WRITTEN", "WHAT HAPPENED"), rows))
