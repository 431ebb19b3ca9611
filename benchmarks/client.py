"""Client: what a capture costs the agent, while the flusher sends to a live server.

The server is a process of its own. For each way of capturing, one client and events of a session
(400 characters, a tool's name and arguments). All in microseconds, p50 and p99 of one repetition:

- ``client_capture``: paced, an event a millisecond, more than an agent does; it has the target
- ``client_burst``: back to back, faster than anybody takes them; half of it goes to the spool
- ``client_away``: paced, and nobody listens: everything goes to the spool
- ``client_durable``, ``client_fsync``: paced; written to the spool, or on the disk, on return

References of the same run: ``floor`` is ``json.dumps`` of the same event and ``deque.append``,
``post`` one request of httpx with one event over a kept connection. ``lateness`` is by how much a
thread that sleeps a millisecond wakes up late beside a flusher at work, ``lateness_alone`` without.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.capture_server import serving
from benchmarks.harness import Results, main, quantile, say
from benchmarks.waiting import free_port
from sleep_runtime.client import Client, Options

EVENTS = 3000
BURST = 20_000
SLOW = 300
PACE_S = 0.001
TEXT = "The bridge from reported to adjusted EBITDA is on page 7. " * 7
ARGS: dict[str, Any] = {"path": "/share/northwind/deck.md", "sheet": 4}


def measure(results: Results, n: int) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as place, serving(port):
        url = f"http://127.0.0.1:{port}"
        for repetition in range(n):
            say(f"repetition {repetition + 1} of {n}")
            at = Path(place) / str(repetition)
            floor(results)
            posts(results, url)
            captures(results, "capture", url, at / "a")
            captures(results, "burst", url, at / "b", count=BURST, pace_s=0.0)
            captures(results, "away", f"http://127.0.0.1:{free_port()}", at / "c")
            captures(results, "durable", url, at / "d", count=SLOW, durable=True)
            captures(results, "fsync", url, at / "e", count=SLOW, durable=True, fsync=True)


def captures(
    results: Results, name: str, url: str, spool: Path, *, count: int = EVENTS,
    pace_s: float = PACE_S, **options: Any,
) -> None:  # fmt: skip
    client = Client(url, options=Options(spool_dir=spool, **options))
    session = client.session("acme/banking/ana", agent="deck", about={"account": "northwind"})
    session.message("warm", role="agent")
    client.flush(10.0)

    def capture() -> None:
        session.tool_call("read", ARGS, text=TEXT)

    late = timed(results, f"client_{name}", capture, count, pace_s)
    if name == "capture":
        results.add("lateness_us_p99", quantile(late, 0.99), "us")
    before = client.stats()
    if before.dropped:
        results.add(f"client_{name}_dropped", before.dropped, "events")
    if name == "capture":
        results.add("client_sent_meanwhile", before.sent, "events")
    client.close(0.5)


def floor(results: Results) -> None:
    queue: deque[str] = deque()
    event = {
        "id": "0" * 36, "ts": "2026-01-05T09:00:00.000000+00:00", "scope": "acme/banking/ana",
        "session": "0" * 32, "agent": "deck", "kind": "tool_call", "role": "agent", "text": TEXT,
        "about": {"account": "northwind"}, "data": {"tool": "read", "args": ARGS},
    }  # fmt: skip
    late = timed(results, "floor", lambda: queue.append(json.dumps(event)), EVENTS, PACE_S)
    results.add("lateness_alone_us_p99", quantile(late, 0.99), "us")


def posts(results: Results, url: str) -> None:
    event = {
        "ts": "2026-01-05T09:00:00Z", "scope": "acme/banking/ana", "session": "s",
        "kind": "tool_call", "role": "agent", "text": TEXT, "data": {"tool": "read", "args": ARGS},
    }  # fmt: skip
    with httpx.Client(base_url=url, trust_env=False) as http:

        def post() -> None:
            name = f"post-{time.perf_counter_ns()}"
            http.post("/v1/events", json={"id": name, **event}).raise_for_status()

        post()
        timed(results, "post", post, SLOW, PACE_S)


def timed(
    results: Results, name: str, do: Callable[[], None], count: int, pace_s: float
) -> list[float]:
    """Time each call; how late the sleeps between them ended, in microseconds."""
    gc.collect()
    took: list[float] = []
    late: list[float] = []
    for _ in range(count):
        if pace_s:
            began = time.perf_counter()
            time.sleep(pace_s)
            late.append((time.perf_counter() - began - pace_s) * 1e6)
        began = time.perf_counter()
        do()
        took.append((time.perf_counter() - began) * 1e6)
    results.add(f"{name}_us_p50", quantile(took, 0.5), "us")
    results.add(f"{name}_us_p99", quantile(took, 0.99), "us")
    return late


if __name__ == "__main__":
    sys.exit(main("client", measure))
