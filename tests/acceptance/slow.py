"""Clients that are slow, silent or greedy, and how others fare beside them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from living import Runtime, event

from benchmarks.waiting import bearer

CONNECT_S = 20.0


def head(runtime: Runtime, path: str, length: int, method: str = "POST") -> bytes:
    """The head of a request whose body has so many bytes."""
    who = bearer(runtime.data_dir)["authorization"]
    return (
        f"{method} {path} HTTP/1.1\r\nhost: weather\r\ncontent-type: application/json\r\n"
        f"authorization: {who}\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def dial(runtime: Runtime, *, receive_bytes: int | None = None) -> socket.socket:
    """A connection to the hot path; with a small buffer for answers, if that is given."""
    where = urlsplit(runtime.url)
    line = socket.socket()
    if receive_bytes is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    line.settimeout(CONNECT_S)
    line.connect((where.hostname, where.port))
    return line


@contextlib.contextmanager
def lines(runtime: Runtime, count: int, *, receive_bytes: int | None = None) -> Iterator[Lines]:
    """So many connections at once, hung up at the end."""
    with contextlib.ExitStack() as held:
        made = [
            held.enter_context(dial(runtime, receive_bytes=receive_bytes)) for _ in range(count)
        ]
        yield Lines(made)


@dataclass
class Lines:
    """Connections that are written to and read from without waiting for any one of them."""

    open: list[socket.socket]
    answers: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._ready = selectors.DefaultSelector()
        for line in self.open:
            line.setblocking(False)
            self._ready.register(line, selectors.EVENT_READ)

    def send(self, data: bytes) -> None:
        """Give each that still takes it the same bytes; they have to fit into its buffer."""
        for line in self.open:
            with contextlib.suppress(OSError):  # it was answered and closed meanwhile
                line.send(data)

    def listen(self, seconds: float) -> None:
        """Take in what comes within so many seconds."""
        until = time.monotonic() + seconds
        while self._ready.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in self._ready.select(left):
                self._hear(key.fd, key.fileobj)

    def _hear(self, name: int, line: object) -> None:
        assert isinstance(line, socket.socket)
        try:
            data = line.recv(65536)
        except OSError:
            data = b""
        self.answers[name] = self.answers.get(name, b"") + data
        if not data:
            self.ended.add(name)
            self._ready.unregister(line)

    def statuses(self) -> list[int]:
        """The status of every answer there is."""
        return [int(answer.split()[1]) for answer in self.answers.values() if answer]


def p99_ms(runtime: Runtime, org: str, requests: int = 150) -> float:
    """The p99 of captures and searches, one after the other, as an agent beside them has it."""
    took: list[float] = []
    with httpx.Client(base_url=runtime.url, timeout=60, auth=runtime.sign) as http:
        for number in range(requests):
            began = time.perf_counter()
            answer = http.post("/v1/events", json=[event(number, org)])
            assert answer.status_code == 200, answer.text
            asked = {"scope": f"{org}/team/ana", "query": "which day"}
            answer = http.post("/v1/search", json=asked)
            assert answer.status_code == 200, answer.text
            took.append((time.perf_counter() - began) * 1000 / 2)
    return sorted(took)[int(0.99 * len(took))]
