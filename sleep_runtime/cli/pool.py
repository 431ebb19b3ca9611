"""``pool``: the idle pool nights run on, and taking it from them for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import emit, out, relative, table
from sleep_runtime.core.errors import Conflict

app = typer.Typer(
    help="The idle pool that nights run on.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("show")
def show(
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Show the pool's state, and where each actor runs."""
    with connect(url, config) as client:
        found = client.get("/v1/pool")
    if as_json:
        emit(found)
        return
    out(in_words(found, datetime.now(UTC)))
    rows = [
        (name, place["host"], place["node"][:8], str(place["pid"]), place["policy"])
        for name, place in sorted(found["where"].items())
    ]
    if rows:
        out(table(("ACTOR", "HOST", "NODE", "PID", "PRIORITY"), rows))


@app.command("yield")
def give_way(
    seconds: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=0.1, max=86_400, help="For how long.")
    ] = 60.0,
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Give the pool to live work for a while.

    Returns when its bundles are free; exit code 1 when they are not in time. Nights go on
    afterwards with what was answered before.
    """
    with connect(url, config) as client:
        found = client.post("/v1/pool/yield", {"seconds": seconds}, answer_s=seconds + 60.0)
    if as_json:
        emit(found)
    if not found["freed"]:
        raise Conflict(
            f"the pool still holds a bundle after {found['waited_ms']:g} ms",
            field="pool",
            mend="see: sleep-runtime pool show",
        )
    if not as_json:
        out(f"free after {found['waited_ms']:g} ms, for {seconds:g} s")


@app.command("resume")
def resume(*, url: options.Url = None, config: options.Config = None) -> None:
    """End a yield early: nights go on once live work is calm."""
    with connect(url, config) as client:
        client.post("/v1/pool/yield", {"seconds": 0})
    out("nights may go on")


def in_words(pool: dict[str, Any], now: datetime) -> str:
    """The pool in one line: its state, why, and when it tries again."""
    parts = [pool["state"]]
    if pool.get("reason"):
        parts.append(pool["reason"])
    if pool.get("engines"):
        phases = ", ".join(f"{one['engine']} {one['phase']}" for one in pool["engines"])
        parts.append(phases)
    if pool.get("next_try_s"):
        parts.append(f"tries again in {pool['next_try_s']:.0f} s")
    if pool.get("since"):
        parts.append(f"since {relative(pool['since'], now)}")
    return "; ".join(parts)
