"""Capture: one event and a hundred, over a no-op of the same Serve and over the bare writer."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.cluster_rig import Rig
from benchmarks.harness import Results, say
from benchmarks.hotpath.reference import PREFIX
from benchmarks.hotpath.windows import Window, Windows
from benchmarks.hotpath.words import BATCH, captured_event
from benchmarks.wrk import Client, Load
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.telemetry.clock import SystemClock

NOOP = f"{PREFIX}/noop"
BARE_EVENTS = 40_000


def measure(rig: Rig, client: Client, results: Results, n: int, seconds: float) -> None:
    """``n`` rounds of every pair, the reference before and after by turns."""
    windows = Windows(client, seconds, "capture")
    for turn in range(n):
        say(f"capture, {turn + 1} of {n}")
        for concurrency in (1, 8, 32):
            ours = Window("capture", concurrency)
            found = windows.by_turns({"ours": ours, "noop": ours._replace(path=NOOP)}, turn)
            _compare(results, f"c{concurrency}", found["ours"], found["noop"])
        health = windows.run(Window("capture", 8, "GET /healthz"))
        results.add("healthz_p50_ms_c8", health.p50_ms, "ms")
        over = results.samples["ours_p50_ms_c8"][-1] / health.p50_ms
        results.add("capture_p50_over_healthz_c8", over, "ratio")
        batch = windows.run(Window("batch", 8)).rps * BATCH
        bare = bare_events_per_s(turn)
        results.add("capture_batch_events_per_s", batch, "events/s")
        results.add("bare_writer_events_per_s", bare, "events/s")
        results.add("capture_batch_over_bare_writer", batch / bare, "ratio")
    kept = rig.http.get("/v1/status").json()["journal"]["events"]
    results.add("events_kept", kept, "events")


def _compare(results: Results, name: str, ours: Load, noop: Load) -> None:
    for who, load in (("ours", ours), ("noop", noop)):
        results.add(f"{who}_p50_ms_{name}", load.p50_ms, "ms")
        results.add(f"{who}_p99_ms_{name}", load.p99_ms, "ms")
        results.add(f"{who}_rps_{name}", load.rps, "requests/s")
    results.add(f"capture_p50_over_noop_{name}", ours.p50_ms / noop.p50_ms, "ratio")
    results.add(f"capture_p99_over_noop_{name}", ours.p99_ms / noop.p99_ms, "ratio")
    results.add(f"capture_rps_over_noop_{name}", ours.rps / noop.rps, "ratio")


def bare_events_per_s(turn: int) -> float:
    """Durable events a second of the group-commit writer alone: eight producers, parsed rows."""
    rows = _rows(turn)
    batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(8) as producers:
        journal = SqliteJournal(Path(place) / "journal.sqlite")
        try:
            began = time.perf_counter()
            list(producers.map(journal.append, batches))
            return len(rows) / (time.perf_counter() - began)
        finally:
            journal.close()


def _rows(turn: int) -> list[JournalRow]:
    event = captured_event(turn)
    first = parse_events(
        canonical_json(event).encode(),
        content_type="application/json",
        content_encoding="",
        now=SystemClock().now(),
        limits=CaptureLimits(),
    ).rows[0]
    return [first._replace(id=f"bare{turn}-{number}") for number in range(BARE_EVENTS)]
