"""The spine: how long the runtime takes to come up, what it weighs, how fast it moves.

Runs the real runtime as a user would (``sleep-runtime up`` in a process of its own) and talks to
it over HTTP; the consolidation figure runs the same parts inside this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.harness import Results, main, quantile, say
from benchmarks.trail import trail
from benchmarks.waiting import bearer, free_port
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.telemetry.clock import SystemClock
from sleep_runtime.telemetry.log import configure

CLIENTS = 8
BATCH = 100
CAPTURE_EVENTS = 20_000
QUERIES = 300
NIGHT_EVENTS = 10_000
UP_TIMEOUT_S = 120.0


def measure(results: Results, n: int) -> None:
    """All figures of the spine, ``n`` times each."""
    configure("warning", "console")
    for turn in range(n):
        say(f"night in this process, {turn + 1} of {n}")
        _night(results, seed=turn)
    for turn in range(n):
        say(f"runtime up, {turn + 1} of {n}")
        with tempfile.TemporaryDirectory() as home, _up(Path(home), results) as (url, process):
            results.add("idle_rss_gb", _pss_gb(process.pid), "GB (PSS)")
            _capture(results, url, bearer(home), seed=turn)
            _search(results, url, bearer(home), seed=turn)
            results.add("worked_rss_gb", _pss_gb(process.pid), "GB (PSS)")


# ---------------------------------------------------------------------------- consolidation


def _night(results: Results, *, seed: int) -> None:
    """Events through one night of all tiers, per second of CPU time of this process."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as home:
        settings = load(overrides={"data_dir": home}).settings
        with Embedded(settings) as runtime:
            body = "\n".join(json.dumps(event) for event in trail(NIGHT_EVENTS, seed=seed))
            parsed = parse_events(
                body.encode(),
                content_type="application/x-ndjson",
                content_encoding="",
                now=clock.now(),
                limits=CaptureLimits(),
            )
            runtime.journal.append(parsed.rows)
            runtime.driver_parts.embedder.embed(["the model is loaded before the clock starts"])
            cpu, wall = time.process_time(), time.perf_counter()
            runtime.nights()
            results.add(
                "extractive_events_per_s",
                len(parsed.rows) / (time.process_time() - cpu),
                "events/s per core",
            )
            results.add("night_wall_s", time.perf_counter() - wall, "s")


# ---------------------------------------------------------------------------- the whole runtime


@contextlib.contextmanager
def _up(home: Path, results: Results) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "SLEEP_DATA_DIR": str(home), "SLEEP_HTTP__PORT": str(port)}
    began = time.perf_counter()
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sleep_runtime.cli.main", "up"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_ready(url, process, home / "up.log")
        results.add("up_s", time.perf_counter() - began, "s")
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the runtime did not come up:\n{log.read_text()[-4000:]}")


def _pss_gb(pid: int) -> float:
    """Proportional set size of a process and all below it, in GB."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 1024**3


def _capture(results: Results, url: str, who: dict[str, str], *, seed: int) -> None:
    """Durable events per second through Serve: batches of 100 from 8 clients."""
    events = trail(CAPTURE_EVENTS, seed=1000 + seed)
    batches = [json.dumps(events[at : at + BATCH]) for at in range(0, len(events), BATCH)]

    def send(share: list[str]) -> int:
        with httpx.Client(base_url=url, timeout=60, headers=who) as client:
            return sum(_post(client, "/v1/events", batch)["accepted"] for batch in share)

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        accepted = sum(pool.map(send, [batches[at::CLIENTS] for at in range(CLIENTS)]))
    results.add("capture_batch_events_per_s", accepted / (time.perf_counter() - began), "events/s")


def _search(results: Results, url: str, who: dict[str, str], *, seed: int) -> None:
    """Latency of distinct queries, one client, after a night."""
    with httpx.Client(base_url=url, timeout=120, headers=who) as client:
        _post(client, "/v1/runs", "{}")
        _wait_quiet(client)
        took = []
        for number in range(QUERIES):
            body = {"scope": "bench/t0/u0", "query": f"how to draw chart {number} of run {seed}"}
            began = time.perf_counter()
            _post(client, "/v1/search", json.dumps(body))
            took.append((time.perf_counter() - began) * 1000)
    results.add("search_p50_ms", quantile(took, 0.5), "ms")
    results.add("search_p99_ms", quantile(took, 0.99), "ms")


def _wait_quiet(client: httpx.Client) -> None:
    give_up = time.monotonic() + 600
    while time.monotonic() < give_up:
        if client.get("/v1/status").json()["quiet"]:
            return
        time.sleep(0.2)
    raise RuntimeError("the night did not end within ten minutes")


def _post(client: httpx.Client, path: str, body: str) -> dict[str, Any]:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


if __name__ == "__main__":
    sys.exit(main("spine", measure))
