"""An open loop: requests leave at their time whether or not earlier ones were answered.

A process of its own (``python -m benchmarks.hotpath.openloop``). Latency counts from the moment a
request was due, so one that had to wait for a connection is as late as its user would find it.
Prints one JSON object: by status, how many and how fast; and what could not be sent at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.harness import quantile

TICK_S = 0.002
GRACE_S, LOOK_S = 10.0, 0.05


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._due = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._run.idle.append(self)

    def send(self, due: float, request: bytes) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return
        self._buffer = b""
        self._run.answered(int(head[9:12]), time.perf_counter() - self._due)
        if b"connection: close" in head.lower():
            self._transport.close()
        elif not self._run.ended:
            self._run.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the base's signature
        if self in self._run.idle:
            self._run.idle.remove(self)
        self._run.open -= 1


class Run:
    """One run at ``rate`` requests a second with at most ``most`` connections."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.idle: deque[Connection] = deque()
        self.open = 0
        self.ended = False
        self.sent = 0
        self.unsent = 0
        self.took: dict[int, list[float]] = defaultdict(list)
        self._opening: set[asyncio.Task[Any]] = set()

    def answered(self, status: int, seconds: float) -> None:
        self.took[status].append(seconds)

    async def go(self) -> dict[str, Any]:
        options = self.options
        lines = _lines(options.file)
        await self._grow(min(64, options.connections))
        began = time.perf_counter()
        due = 0
        while (now := time.perf_counter() - began) < options.seconds:
            target = int(now * options.rate)
            while due < target:
                self._send(began + due / options.rate, lines, due)
                due += 1
            if len(self.idle) < 32 and self.open < options.connections:
                self._grow_later(min(32, options.connections - self.open))
            await asyncio.sleep(TICK_S)
        self.ended = True
        for _ in range(int(GRACE_S / LOOK_S)):
            if not self._missing():
                break
            await asyncio.sleep(LOOK_S)
        return self._told(due)

    def _send(self, due: float, lines: list[bytes], number: int) -> None:
        if not self.idle:
            self.unsent += 1
            return
        body = lines[number % len(lines)].replace(b"@ID", f"{self.options.tag}-{number}".encode())
        body = body.replace(b"@TURN", b"0")
        head = self.options.head % len(body)
        self.idle.popleft().send(due, head + body)
        self.sent += 1

    def _missing(self) -> int:
        return self.sent - sum(len(each) for each in self.took.values())

    async def _grow(self, more: int) -> None:
        loop, at = asyncio.get_running_loop(), urlsplit(self.options.url)
        self.open += more
        made = [
            loop.create_connection(lambda: Connection(self), at.hostname, at.port)
            for _ in range(more)
        ]
        for outcome in await asyncio.gather(*made, return_exceptions=True):
            self.open -= isinstance(outcome, BaseException)

    def _grow_later(self, more: int) -> None:
        task = asyncio.ensure_future(self._grow(more))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _told(self, due: int) -> dict[str, Any]:
        return {
            "due": due,
            "sent": self.sent,
            "unsent": self.unsent,
            "unanswered": self._missing(),
            "connections": self.open,
            "statuses": {
                str(status): {
                    "count": len(took),
                    "p50_ms": quantile(took, 0.5) * 1000,
                    "p99_ms": quantile(took, 0.99) * 1000,
                    "max_ms": max(took) * 1000,
                }
                for status, took in self.took.items()
            },
        }


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _lines(path: str) -> list[bytes]:
    return Path(path).read_bytes().splitlines()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in (("url", str), ("path", str), ("file", str), ("tag", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--authorization", default="")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=2000)
    options = parser.parse_args()
    at = urlsplit(options.url)
    options.head = (
        f"POST {options.path} HTTP/1.1\r\nhost: {at.netloc}\r\n"
        f"authorization: {options.authorization}\r\n"
        "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    ).encode()
    print(json.dumps(uvloop.run(Run(options).go())))


if __name__ == "__main__":
    main()
