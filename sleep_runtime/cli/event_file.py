"""Reading event files: NDJSON or a JSON array, gzip or not, in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from sleep_runtime.core.errors import InvalidInput

MAX_EVENT_BYTES = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One event as it will be sent. ``number`` is the line of the file it starts on, from 1.

    ``raw`` holds no newline. ``problem`` says why it will not be sent at all.
    """

    number: int
    raw: bytes
    problem: str = ""


def read_events(stream: BinaryIO) -> Iterator[Line]:
    """The events of a file, one by one. Blank lines are skipped.

    Raises ``InvalidInput`` naming the line when a JSON array or gzip data breaks off.
    """
    plain = io.BufferedReader(cast("io.RawIOBase", stream), _CHUNK)
    source = plain
    try:
        if plain.peek(2)[:2] == _GZIP:
            unzipped = gzip.GzipFile(fileobj=plain)
            source = io.BufferedReader(cast("io.RawIOBase", unzipped), _CHUNK)
        if source.peek(3)[:3] == _BOM:
            source.read(3)
        is_array = source.peek(64).lstrip()[:1] == b"["
        yield from _Array(source) if is_array else _lines(source)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"the gzip data is damaged: {error}",
            field="file",
            mend="pack it again; events before the damage were sent",
        ) from None
    finally:
        if not stream.closed:  # a reader that was left halfway may outlive the stream
            if source is not plain:
                source.detach()
            plain.detach()  # the stream stays open: it is the caller's


def batches(lines: Iterable[Line], *, max_events: int, max_bytes: int) -> Iterator[list[Line]]:
    """Group lines into requests. A line larger than ``max_bytes`` makes one of its own.

    When reading fails, what was read before is handed out first.
    """
    batch: list[Line] = []
    size = 0
    try:
        for line in lines:
            if batch and (len(batch) >= max_events or size + len(line.raw) + 1 > max_bytes):
                yield batch
                batch, size = [], 0
            batch.append(line)
            size += len(line.raw) + 1
    except InvalidInput:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _lines(source: BinaryIO) -> Iterator[Line]:
    number = 0
    while raw := source.readline(MAX_EVENT_BYTES + 1):
        number += 1
        if len(raw) > MAX_EVENT_BYTES and not raw.endswith(b"\n"):
            _skip_line(source)
            yield _too_long(number)
        elif stripped := raw.strip():
            yield Line(number, stripped)


def _skip_line(source: BinaryIO) -> None:
    while (rest := source.readline(_CHUNK)) and not rest.endswith(b"\n"):
        continue


def _too_long(number: int) -> Line:
    return Line(number, b"", f"event: is larger than {MAX_EVENT_BYTES} bytes")


class _Array:
    """The elements of a JSON array, decoded one at a time and written as lines."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._text = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def __iter__(self) -> Iterator[Line]:
        self._expect("[")
        if self._next_sign() == "]":
            return
        while True:
            self._next_sign()
            number = self._line
            raw = json.dumps(self._element(), separators=(",", ":")).encode("ascii")
            yield Line(number, raw) if len(raw) <= MAX_EVENT_BYTES else _too_long(number)
            if self._next_sign() == "]":
                return
            self._expect(",")

    def _expect(self, sign: str) -> None:
        if self._next_sign() != sign:
            raise self._broken(f"{sign!r} is missing")
        self._at += 1

    def _next_sign(self) -> str:
        """The next character that is not white space, left where it is."""
        while True:
            while self._at < len(self._buffer):
                sign = self._buffer[self._at]
                if sign not in " \t\r\n":
                    return sign
                self._line += sign == "\n"
                self._at += 1
            if not self._fill():
                raise self._broken("the array is not closed")

    def _element(self) -> Any:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if len(self._buffer) - self._at > 2 * MAX_EVENT_BYTES or not self._fill():
                    raise self._broken(error.msg) from None
            except RecursionError:
                raise self._broken("is nested too deeply") from None
            except ValueError:  # of ``int``, which reads only so many digits
                raise self._broken("holds a number that is too long") from None
            else:
                if end < len(self._buffer) or not self._fill():
                    self._line += self._buffer.count("\n", self._at, end)
                    self._at = end
                    return value

    def _fill(self) -> bool:
        """Read on, twice as much as is held, so that a long element is not decoded too often."""
        if self._ended:
            return False
        self._buffer = self._buffer[self._at :]
        self._at = 0
        chunk = self._source.read(max(_CHUNK, len(self._buffer)))
        self._ended = not chunk
        try:
            self._buffer += self._text.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._broken(f"is not UTF-8: {error.reason}") from None
        return True

    def _broken(self, reason: str) -> InvalidInput:
        return InvalidInput(
            reason,
            field=f"line {self._line}",
            mend="the file is no JSON array; events before this line were sent",
        )
