"""Cold start: from ``sleep-runtime up`` in an empty directory to the first 200."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.harness import Results, say
from benchmarks.waiting import QUIET, free_port

WAIT_S = 120.0


def measure(results: Results, n: int) -> None:
    """``n`` starts, each of a Ray of its own."""
    for turn in range(n):
        say(f"cold start, {turn + 1} of {n}")
        results.add("cold_start_s", _start(), "s")


def _start() -> float:
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, **QUIET}
        environment |= {"SLEEP_DATA_DIR": f"{home}/data", "SLEEP_HTTP__PORT": str(port)}
        # Each start finds ports of its own; those of a runtime in this process are not for it.
        environment = {k: v for k, v in environment.items() if not k.startswith("RAY_SERVE_")}
        log = Path(home) / "up.log"
        began = time.perf_counter()
        with log.open("wb") as said:
            up = [sys.executable, "-m", "sleep_runtime.cli.main", "up"]
            process = subprocess.Popen(up, env=environment, stdout=said, stderr=said)
        try:
            return _first_answer(f"http://127.0.0.1:{port}/readyz", process, log) - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)


def _first_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> float:
    give_up = time.perf_counter() + WAIT_S
    while time.perf_counter() < give_up and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return time.perf_counter()
        except httpx.TransportError:
            time.sleep(0.02)
    raise RuntimeError(f"the runtime did not come up:\n{log.read_text()[-4000:]}")
