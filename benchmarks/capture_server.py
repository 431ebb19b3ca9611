"""A small live server that takes captures as a runtime does, in a process of its own.

``python -m benchmarks.capture_server PORT [--journal FILE] [--die-after N] [--slow SECONDS]``: what
it took is in the journal, one event a line, and known again after a restart. After N batches it
dies as a killed one would: the last is taken and nobody is told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks.waiting import wait_until
from sleep_runtime.testing.recorder import CaptureRecorder

START_S = 20.0


class Site:
    """What the handlers share."""

    def __init__(self, journal: Path | None, die_after: int, slow_s: float) -> None:
        self.recorder = CaptureRecorder()
        self._journal = journal
        self._die_after = die_after
        self._slow_s = slow_s
        self._batches = 0
        self._written = 0
        self._lock = threading.Lock()
        if journal is not None and journal.exists():
            request = httpx.Request("POST", "http://x/v1/events", content=journal.read_bytes())
            if journal.stat().st_size:
                self.recorder.handle_request(request)
            self._written = len(self.recorder.events)

    def answer(self, method: str, path: str, body: bytes) -> httpx.Response:
        time.sleep(self._slow_s)
        answer = self.recorder.handle_request(
            httpx.Request(method, f"http://x{path}", content=body)
        )
        if path == "/v1/events":
            self._keep()
        return answer

    def _keep(self) -> None:
        with self._lock:
            if self._journal is None:
                return
            events = self.recorder.events
            fresh, self._written = events[self._written :], len(events)
            with self._journal.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(event) + "\n" for event in fresh)
            self._batches += 1
            if self._batches == self._die_after:
                os.kill(os.getpid(), signal.SIGKILL)


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with kept connections."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    site: Site

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = self.site.answer(self.command, self.path, body)
        self.send_response(answer.status_code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(port: int, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a process, ready when this returns, ended by its pid afterwards."""
    command = [sys.executable, "-m", "benchmarks.capture_server", str(port), *words]
    process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1])
    try:
        wait_until(lambda: _answers(port, process), "the capture server", START_S)
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the capture server ended with {process.returncode}")
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1.0).is_success
    except httpx.TransportError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture_server")
    parser.add_argument("port", type=int)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--slow", type=float, default=0.0)
    given = parser.parse_args()
    Handler.site = Site(given.journal, given.die_after, given.slow)
    with ThreadingHTTPServer(("127.0.0.1", given.port), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
