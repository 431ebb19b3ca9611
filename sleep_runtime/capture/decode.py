"""From the bytes of a request to JSON values: encodings, forms and sizes, in bounded memory."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic_core import from_json

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.refusal import json_name
from sleep_runtime.core.errors import InvalidEvent, InvalidInput, TooLarge

_NDJSON = {
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-lines",
}
_BOM = b"\xef\xbb\xbf"
_GZIP_WBITS = 31
_MAX_GZIP_MEMBERS = 16


class Decoded(NamedTuple):
    """Values with their positions in the request, and the lines that were no JSON."""

    items: list[tuple[int, Any]]
    rejected: list[tuple[int, InvalidEvent]]


def decode(body: bytes, content_type: str, content_encoding: str, limits: CaptureLimits) -> Decoded:
    """The values of a JSON array, of one JSON object, or of NDJSON.

    A body that starts with an object and goes on after it is NDJSON whatever its type says.
    Raises ``InvalidInput`` when the request as a whole cannot be taken.
    """
    raw = _unpack(body, content_encoding, limits).removeprefix(_BOM)
    if not raw.strip():
        raise InvalidInput("is empty", field="body", mend="send one event, an array, or NDJSON")
    if content_type.partition(";")[0].strip().lower() in _NDJSON:
        return _lines(raw, limits)
    try:
        value = _load(raw)
    except ValueError as error:
        if "trailing characters" in str(error) and raw.lstrip().startswith(b"{"):
            return _lines(raw, limits)
        raise InvalidInput(
            f"is not valid JSON: {error}", field="body", mend="send JSON in UTF-8"
        ) from None
    return Decoded(list(enumerate(_as_list(value, limits))), [])


def _as_list(value: Any, limits: CaptureLimits) -> list[Any]:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise InvalidInput(
            f"is {json_name(value)}, expected an object or an array of objects",
            field="body",
            mend="send one event, an array, or NDJSON",
        )
    if len(value) > limits.max_events:
        raise _too_many(f"{len(value)}", limits)
    return value


def _lines(raw: bytes, limits: CaptureLimits) -> Decoded:
    decoded = Decoded([], [])
    for index, (number, line) in enumerate(_filled(raw)):
        if index >= limits.max_events:
            raise _too_many(f"more than {limits.max_events}", limits)
        try:
            decoded.items.append((index, _load(line)))
        except ValueError as error:
            refusal = InvalidEvent(
                f"is not valid JSON: {error}",
                field=f"line {number}",
                mend="send one JSON object per line, in UTF-8",
            )
            decoded.rejected.append((index, refusal))
    return decoded


def _filled(raw: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(io.BytesIO(raw), start=1):
        if stripped := line.strip():
            yield number, stripped


def _too_many(found: str, limits: CaptureLimits) -> TooLarge:
    return TooLarge(
        f"has {found} events, at most {limits.max_events} are taken at once",
        field="body",
        mend=f"split it into requests of up to {limits.max_events} events; nothing was taken",
    )


def _load(raw: bytes) -> Any:
    """One JSON text. Raises ``ValueError`` with the position of the fault.

    A lone surrogate escape, which clients make by cutting a text in the middle of an emoji,
    becomes the replacement character: the event is worth more than the half character.
    """
    try:
        return from_json(raw)
    except ValueError as error:
        if "hex escape" not in str(error):
            raise
        repaired = _without_surrogates(raw)
        if repaired is None:
            raise
        return from_json(repaired)


def _without_surrogates(raw: bytes) -> bytes | None:
    try:
        text = json.dumps(json.loads(raw), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


# ---------------------------------------------------------------------------- content-encoding


def _unpack(body: bytes, content_encoding: str, limits: CaptureLimits) -> bytes:
    if len(body) > limits.max_body_bytes:
        raise _too_large(limits)
    match content_encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body, limits)
        case other:
            raise InvalidInput(
                f"{other[:40]!r} is not supported", field="content-encoding", mend="send gzip"
            )


def _gunzip(body: bytes, limits: CaptureLimits) -> bytes:
    """Unpack while counting: a small body that would grow without end stops at the limit."""
    parts: list[bytes] = []
    room = limits.max_body_bytes
    rest = body
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            parts.append(member.decompress(rest, room + 1))
        except zlib.error as error:
            raise _not_gzip(str(error)) from None
        room -= len(parts[-1])
        if room < 0:
            raise _too_large(limits)
        if not member.eof:
            raise _not_gzip("it ends too early")
        rest = member.unused_data
        if not rest:
            return b"".join(parts)
    raise _not_gzip(f"it has more than {_MAX_GZIP_MEMBERS} members")


def _not_gzip(reason: str) -> InvalidInput:
    return InvalidInput(
        f"is not a complete gzip stream: {reason}",
        field="body",
        mend="pack the body again, or send it without content-encoding",
    )


def _too_large(limits: CaptureLimits) -> TooLarge:
    return TooLarge(
        f"is larger than {limits.max_body_bytes} bytes",
        field="body",
        mend="split it into smaller requests; nothing was taken",
    )
