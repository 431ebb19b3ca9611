"""Overload: far more than can be taken, for half a minute. What is said, how soon, what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.cluster_rig import Rig
from benchmarks.harness import Results, say
from benchmarks.wrk import Client

NORMAL_SHARE = 0.5
TIMES = 10
RECOVERY_S = 2


def measure(rig: Rig, client: Client, results: Results, seconds: float) -> None:
    """Half of what is sustainable, then ten times that, then at once as before."""
    say("overload")
    before = client.run("capture", "o-before", RECOVERY_S, concurrency=32)
    sustainable = before.rps
    normal = _open_loop(client, "o-normal", sustainable * NORMAL_SHARE, 5.0)
    memory, kept = _rss(), _kept(rig)
    storm = _open_loop(client, "o-storm", sustainable * TIMES, seconds)
    grown = _rss() - memory
    after = client.run("capture", "o-after", RECOVERY_S, concurrency=32)
    acked = storm["statuses"].get("200", {}).get("count", 0)
    lost = acked + after.requests - (_settled(rig) - kept)
    results.add("overload_sustainable_rps", sustainable, "requests/s")
    results.add("overload_offered_over_sustainable", storm["due"] / seconds / sustainable, "ratio")
    results.add("overload_sent_over_sustainable", storm["sent"] / seconds / sustainable, "ratio")
    results.add("overload_accepted_rps", acked / seconds, "requests/s")
    results.add("overload_unanswered", storm["unanswered"], "requests")
    normal_p99 = normal["statuses"]["200"]["p99_ms"]
    results.add("overload_normal_p99_ms", normal_p99, "ms")
    for status, told in storm["statuses"].items():
        results.add(f"overload_{status}_count", told["count"], "requests")
        results.add(f"overload_{status}_p99_ms", told["p99_ms"], "ms")
    if acked:
        accepted = storm["statuses"]["200"]["p99_ms"]
        results.add("overload_accepted_p99_over_normal", accepted / normal_p99, "ratio")
    results.add("overload_acked_lost", max(0, lost), "events")
    results.add("overload_memory_grown_mb", grown / 2**20, "MB")
    results.add("overload_recovered_rps", after.rps / before.rps, "ratio")


def _open_loop(client: Client, tag: str, rate: float, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.hotpath.openloop"]
    command += ["--url", client.url, "--path", "/v1/events"]
    command += ["--file", str(client.folder / "capture.lines"), "--tag", tag]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    command += ["--authorization", client.headers.get("authorization", "")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _rss() -> int:
    return sum(each.memory_info().rss for each in _processes())


def _processes() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        title = " ".join(process.cmdline()[:1])
        if any(name in title for name in ("HotPath", "JournalOwner", "journal", "haproxy")):
            yield process


def _kept(rig: Rig) -> int:
    found: int = rig.http.get("/v1/status").json()["journal"]["events"]
    return found


def _settled(rig: Rig, within_s: float = 10.0) -> int:
    """The count once it stands still: what was under way as a client left is kept as well."""
    give_up, last = time.monotonic() + within_s, -1
    while (now := _kept(rig)) != last and time.monotonic() < give_up:
        last = now
        time.sleep(0.2)
    return now
