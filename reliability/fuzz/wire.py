"""HTTP itself, byte by byte, against a runtime that is up: what no HTTP library would send.

Every connection has to be answered or closed in time, with one answer for one request and no 5xx
but 503, whatever was sent; and afterwards the runtime still takes events and answers questions.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from reliability.fuzz.target import SHOWN_CHARS

AT_ONCE = 24
_HOST = b"host: wire\r\n"
QUIET_S = 0.4
MOST_ANSWER_BYTES = 2**22
_STATUS = re.compile(rb"(?:\A|\r\n\r\n|[}\n])HTTP/1\.[01] (\d{3})")
_EVENT = (
    b'{"id":"w","ts":"2026-11-22T09:00:00Z","scope":"wire","session":"s","kind":"message",'
    b'"role":"human","text":"hello"}'
)


@dataclass(frozen=True)
class Shape:
    """Bytes for one connection, and how many answers they may have at most."""

    name: str
    data: bytes
    answers: int = 1


@dataclass
class Attacked:
    """What came of it. ``statuses``: of every answer; 0 where the connection was only closed."""

    inputs: int = 0
    server_errors: int = 0
    hangs: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def attack(url: str, key: str, *, seeded: int, mutations: int, patience_s: float) -> Attacked:
    """Send every shape and so many mutations of good requests to the runtime at ``url``.

    ``patience_s``: longer than the runtime gives a client to send a request.
    """
    where = urlsplit(url)
    address = (where.hostname or "", where.port or 80)
    made = [*shapes(), *mutated(random.Random(seeded), mutations)]
    made = [replace(shape, data=_signed(shape.data, key)) for shape in made]
    found = Attacked()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(lambda shape: _send(address, shape, patience_s), made)
        for shape, (heard, ended) in zip(made, answers, strict=True):
            _judge(shape, heard, ended=ended, found=found)
    return found


def _signed(data: bytes, key: str) -> bytes:
    """The first request with a key; what may hide behind it has none."""
    return data.replace(_HOST, _HOST + b"authorization: Bearer %s\r\n" % key.encode(), 1)


def _send(address: tuple[str, int], shape: Shape, patience_s: float) -> tuple[bytes, bool]:
    """What was heard, and whether the connection was answered or closed in time."""
    heard = b""
    with socket.create_connection(address, timeout=patience_s) as line:
        with contextlib.suppress(OSError):  # it may hang up before it has heard all
            line.sendall(shape.data)
        give_up = time.monotonic() + patience_s
        while (left := give_up - time.monotonic()) > 0 and len(heard) < MOST_ANSWER_BYTES:
            line.settimeout(min(left, QUIET_S) if heard else left)
            try:
                part = line.recv(65536)
            except TimeoutError:
                return heard, bool(heard)
            except OSError:
                return heard, True
            if not part:
                return heard, True
            heard += part
    return heard, bool(heard)


def _judge(shape: Shape, heard: bytes, *, ended: bool, found: Attacked) -> None:
    found.inputs += 1
    statuses = [int(status) for status in _STATUS.findall(heard)]
    found.statuses.update(statuses or [0])
    shown = f"{shape.name}: {shape.data[:SHOWN_CHARS]!r}"
    if not ended:
        found.hangs += 1
        found.failures.append(f"no answer and no end to {shown}")
    if bad := [status for status in statuses if status >= 500 and status != 503]:
        found.server_errors += len(bad)
        found.failures.append(f"{bad[0]} for {shown}")
    final = [status for status in statuses if status >= 200]
    if len(final) > shape.answers:
        found.failures.append(f"{len(final)} answers for {shown}")


def _request(
    method: bytes = b"POST",
    target: bytes = b"/v1/events",
    headers: bytes = b"",
    body: bytes = _EVENT,
    *,
    length: bool = True,
    version: bytes = b"HTTP/1.1",
) -> bytes:
    size = b"content-length: %d\r\n" % len(body) if length else b""
    head = b"%s %s %s\r\nhost: wire\r\n%s%s\r\n" % (method, target, version, size, headers)
    return head + body


def shapes() -> Iterator[Shape]:
    """The known ways to be no HTTP, or two requests in one."""
    yield from _lines()
    yield from _heads()
    yield from _smuggling()
    yield from _chunks()
    yield from _targets()


def _lines() -> Iterator[Shape]:
    for name, data in {
        "nothing but line ends": b"\r\n" * 200,
        "no target": b"GET\r\n\r\n",
        "no version": b"GET /healthz\r\n\r\n",
        "another version": b"GET /healthz HTTP/9.9\r\nhost: wire\r\n\r\n",
        "http/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
        "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 40,
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        "bare line feeds": b"GET /healthz HTTP/1.1\nhost: wire\n\n",
        "a nul": b"GET /healthz\x00 HTTP/1.1\r\nhost: wire\r\n\r\n",
        "two spaces": b"GET  /healthz  HTTP/1.1\r\nhost: wire\r\n\r\n",
        "an endless line": b"GET /" + b"a" * 200_000,
        "an endless method": b"G" * 100_000,
        "half a head": b"GET /healthz HTTP/1.1\r\nhost: wi",
    }.items():
        yield Shape(name, data)
    for method in (b"CONNECT", b"TRACE", b"OPTIONS", b"HEAD", b"DELETE", b"FOO", b"post", b"P(ST"):
        yield Shape(f"method {method.decode()}", _request(method))
    yield Shape("many at once", _request(b"GET", b"/healthz", body=b"") * 50, 50)


def _heads() -> Iterator[Shape]:
    for name, headers in {
        "no colon": b"nonsense\r\n",
        "space before the colon": b"content-type : application/json\r\n",
        "folded": b"x-a: 1\r\n  2\r\n",
        "a nul": b"x-a: 1\x00\r\n",
        "bytes beyond ascii": b"x-a: \xff\xfe\xc3\r\ncontent-type: \xff\r\n",
        "another host": b"host: evil\r\n",
        "a thousand headers": b"".join(b"x-%d: 1\r\n" % n for n in range(1000)),
        "twenty thousand headers": b"x: 1\r\n" * 20_000,
        "a megabyte of header": b"x: " + b"a" * 2**20 + b"\r\n",
        "credentials of rubbish": b"authorization: Bearer \xff\x00.\xe9.%s\r\n" % (b"a" * 5000),
        "two credentials": b"authorization: Bearer a\r\nauthorization: Basic b\r\n",
        "expects": b"expect: 100-continue\r\n",
        "expects more": b"expect: the unexpected\r\n",
        "upgrade": b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n",
        "gzip that is none": b"content-encoding: gzip\r\n",
        "encodings": b"content-encoding: gzip, deflate, br\r\n",
        "a range": b"range: bytes=0-0,5-1,-99999999999999999999\r\n",
    }.items():
        yield Shape(f"head: {name}", _request(headers=headers))
    yield Shape("no host", b"GET /healthz HTTP/1.1\r\n\r\n")


def _smuggling() -> Iterator[Shape]:
    inner = _request(b"GET", b"/v1/notes", body=b"")
    chunked = b"transfer-encoding: chunked\r\n"
    for name, headers, body in (
        ("length and chunks", b"content-length: 4\r\n" + chunked, b"0\r\n\r\n" + inner),
        ("chunks and length", chunked + b"content-length: 5\r\n", b"0\r\n\r\n" + inner),
        ("two lengths", b"content-length: 0\r\ncontent-length: %d\r\n" % len(inner), inner),
        ("a list of lengths", b"content-length: 0, %d\r\n" % len(inner), inner),
        ("a signed length", b"content-length: +0\r\n", inner),
        ("a negative length", b"content-length: -1\r\n", inner),
        ("a length in hex", b"content-length: 0x0\r\n", inner),
        ("a length with a space", b"content-length : 0\r\n", inner),
        ("a length beyond numbers", b"content-length: %s\r\n" % (b"9" * 400), inner),
        ("chunked, twice", chunked + b"transfer-encoding: identity\r\n", b"0\r\n\r\n" + inner),
        ("chunked, misspelt", b"transfer-encoding: xchunked\r\n", b"0\r\n\r\n" + inner),
        ("chunked behind a tab", b"transfer-encoding:\tchunked\x0b\r\n", b"0\r\n\r\n" + inner),
        ("chunked, folded", b"transfer-encoding:\r\n chunked\r\n", b"0\r\n\r\n" + inner),
        ("chunked with a list", b"transfer-encoding: chunked, gzip\r\n", b"0\r\n\r\n" + inner),
    ):
        # Two answers: when the first request ends where ``inner`` begins, that is a second one.
        yield Shape(name, _request(headers=headers, body=body, length=False), 2)
    hidden = b"x-a: 1\n\nGET /v1/notes HTTP/1.1\nhost: wire\n\n"
    # HAProxy takes a bare line feed for a line's end (RFC 9112, 2.2) and so sees two requests; what
    # it sends on has no bare ones, so the replica sees the same two.
    yield Shape("a request in a header", _request(b"GET", b"/healthz", hidden, b""), 2)


def _chunks() -> Iterator[Shape]:
    for name, body in {
        "good": b"%x\r\n%s\r\n0\r\n\r\n" % (len(_EVENT), _EVENT),
        "no number": b"zz\r\n\r\n0\r\n\r\n",
        "negative": b"-5\r\nhello\r\n0\r\n\r\n",
        "beyond numbers": b"%s\r\n" % (b"F" * 40),
        "larger than it is": b"ff\r\nhello\r\n0\r\n\r\n",
        "smaller than it is": b"2\r\nhello\r\n0\r\n\r\n",
        "never ending": b"5\r\nhello\r\n" * 100,
        "with an endless name": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
        "one byte each": b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n",
        "with trailers": b"0\r\nx-a: 1\r\ncontent-length: 7\r\n\r\n",
        "bare line feeds": b"5\nhello\n0\n\n",
    }.items():
        headers = b"transfer-encoding: chunked\r\n"
        yield Shape(f"chunks {name}", _request(headers=headers, body=body, length=False))


def _targets() -> Iterator[Shape]:
    for target in (
        *(b"*", b"/", b"//v1//notes", b"/v1/notes/../../etc/passwd", b"/v1/notes/%2e%2e%2f"),
        *(b"/v1/notes/%", b"/v1/notes/%00", b"/v1/notes/%ff%fe", b"/v1/notes/%ed%a0%80", b"/%zz"),
        *(b"http://evil/healthz", b"http://[::1", b"http:/v1/notes", b"evil:80", b"/\xff\xfe"),
        *(b"/v1/notes?" + b"a=b&" * 5000, b"/v1/notes?limit=" + b"9" * 5000, b"/" + b"a" * 30_000),
        *(b"/v1/notes?after=%00&scope=%ff", b"/v1/notes?scope[]=a&scope=b;c=d", b"/v1/notes#x"),
        *(
            b"/v1/runs/" + b"%41" * 3000,
            b"/-/healthz",
            b"/-/routes",
            b"\\v1\\notes",
            b"/v1/notes;a",
        ),
    ):
        yield Shape(f"target {target[:40]!r}", _request(b"GET", target, body=b""))


def mutated(chance: random.Random, count: int) -> Iterator[Shape]:
    """Good requests with some bytes changed, cut, doubled or put in."""
    bits = (
        b"\r\n",
        b"\n",
        b"\x00",
        b":",
        b" ",
        b"\r\n\r\n",
        b"\xff",
        b"0",
        b"%",
        b"chunked",
        b"\t",
    )
    good = (
        _request(headers=b"content-type: application/json\r\n"),
        _request(target=b"/v1/search", body=b'{"scope":"wire","query":"hello"}'),
        _request(b"GET", b"/v1/notes?scope=wire&limit=1", body=b""),
        _request(
            headers=b"transfer-encoding: chunked\r\n",
            body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(_EVENT), _EVENT),
            length=False,
        ),
    )
    for number in range(count):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at:at] = chance.choice(bits)
                case 2:
                    del data[at : at + chance.randint(1, 5)]
                case _:
                    data[at:at] = data[at : at + chance.randint(1, 30)]
        # What is put in may end a request early: what follows is another one.
        yield Shape(f"mutation {number}", bytes(data), 4)
