"""How fast the hot path is: ``scripts/bench hotpath [--json] [-n N] [--only PART …]``.

Runtimes are up in this process; ``wrk`` posts to them from another one, closed loop; overload comes
from an open loop. Every reference is measured in the same run, before and after ours by turns:
a no-op and a no-op that embeds, bare ASGI on the same Serve behind the same HAProxy, and the
journal's writer alone. Nights are off. The parts:

- ``capture``: one event of 1 KB at 1, 8 and 32 connections, batches of 100 at 8;
- ``search``: distinct queries over 1,000 notes that every reader sees;
- ``scale``: the same over 100,000 notes in 10,000 scopes, readers drawn from all of them;
- ``syscalls``: system calls a request takes, which do not depend on the machine;
- ``overload``: ten times what can be taken;
- ``cold``: from ``up`` to the first 200.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cluster_rig import Rig, rig
from benchmarks.harness import Results, say, show
from benchmarks.hotpath import capture, cold, overload, reference, search, syscalls
from benchmarks.hotpath.words import captured_event, write_captures, write_searches
from benchmarks.retrieval import store
from benchmarks.waiting import bearer
from benchmarks.wrk import Client, program
from sleep_runtime.engines.embedder import MODEL_NAME
from sleep_runtime.stores.datadir import DataDir

PARTS = ("capture", "search", "scale", "syscalls", "overload", "cold")
COLD_STARTS = 3
NOTES = 1000
SCOPES, NOTES_EACH = 10_000, 10


@contextmanager
def _up(home: Path) -> Iterator[tuple[Rig, Client]]:
    settings: dict[str, Any] = {"data_dir": str(home / "data"), "pool.enabled": False}
    with rig(**settings) as running:
        reference.deploy(running.running.settings)
        yield running, Client(running.running.url, home, bearer(home / "data"))


def _capture(options: argparse.Namespace, results: Results) -> None:
    with tempfile.TemporaryDirectory() as place:
        write_captures(Path(place), options.seed)
        with _up(Path(place)) as (running, client):
            if "capture" in options.only:
                capture.measure(running, client, results, options.n, options.seconds)
            if "overload" in options.only:
                overload.measure(running, client, results, options.storm_s)
            if "syscalls" in options.only:
                syscalls.measure(client, results, {"capture": None})


def _search(
    options: argparse.Namespace, results: Results, kind: str, scopes: Sequence[str], each: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        path = DataDir(home / "data").ensure().ledger_path
        say(f"writing {len(scopes) * each} notes")
        store.write(path, scopes, each, seed=options.seed, model=MODEL_NAME)
        readers = [scope for scope in scopes if scope.count("/") == 2] or [f"{scopes[0]}/t/u"]
        write_searches(home, kind, readers, options.seed)
        with _up(home) as (running, client):
            _make_known(running, readers)
            search.measure(client, results, options.n, options.seconds, kind)


def _make_known(running: Rig, readers: Sequence[str]) -> None:
    """A scope is known once something was captured in its organisation."""
    first = {reader.split("/")[0]: reader for reader in readers}
    events = []
    for number, reader in enumerate(first.values()):
        org, team, user = reader.split("/")
        event = captured_event(number)
        events.append({**event, "scope": {"org": org, "team": team, "user": user}})
    running.capture(events)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench hotpath")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=7, help="rounds")
    parser.add_argument("--seconds", type=float, default=3, help="length of a window")
    parser.add_argument("--storm-s", type=float, default=30, help="length of the overload")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program()  # before anything is started
    results = Results("hotpath")
    if {"capture", "overload"} & set(options.only):
        _capture(options, results)
    if "search" in options.only:
        _search(options, results, "search", ["bench"], NOTES)
    if "scale" in options.only:
        _search(options, results, "scale", store.spread(SCOPES), NOTES_EACH)
    if {"search", "scale"} <= set(options.only):
        few, many = (f"search_ours_p50_ms_{kind}_c8" for kind in ("search", "scale"))
        medians = [statistics.median(results.samples[name]) for name in (many, few)]
        results.add("search_scale", medians[0] / medians[1], "ratio")
    if "cold" in options.only:
        cold.measure(results, COLD_STARTS)
    show(results, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
