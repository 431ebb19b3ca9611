"""The endpoints an agent waits for, as bare ASGI: what a request costs beyond its work.

They say and refuse what any other endpoint would; only the framework's way from bytes to arguments
and back, which costs several times what an event does, is left out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.errors import too_large, too_slow
from sleep_runtime.serve.hot_path import HotPathParts, Reader
from sleep_runtime.telemetry.metrics import METRICS

MAX_QUERY_CHARS = 4000
SMALL_BODY_BYTES = 64 * 1024
# A question is a sentence or two; what is larger is a mistake, and is not read to its end.
MAX_QUESTION_BYTES = 64 * 1024

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]
Model = TypeVar("Model", bound=BaseModel)

_JSON = (b"content-type", b"application/json")
_ACCEPTED = METRICS.capture_events.labels("accepted")
_DUPLICATE = METRICS.capture_events.labels("duplicate")
_CONFLICT = METRICS.capture_events.labels("conflict")
_REJECTED = METRICS.capture_events.labels("rejected")
# Nearly every answer is this one.
_ONE = {"accepted": 1, "duplicates": 0, "rejected": []}
_ONE_ACCEPTED = b'{"accepted":1,"duplicates":0,"rejected":[]}'


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchBody(_Body):
    """What ``POST /v1/search`` takes."""

    scope: Scope
    query: str = Field(max_length=MAX_QUERY_CHARS)
    k: int | None = Field(default=None, ge=1)
    as_of: AwareDatetime | None = None
    include_superseded: bool = False


class ContextBody(_Body):
    """What ``POST /v1/context`` takes."""

    scope: Scope
    query: str = Field(max_length=MAX_QUERY_CHARS)
    budget_tokens: int | None = Field(default=None, ge=16, le=100_000)
    compiler: str | None = Field(default=None, max_length=100)


class CaptureEndpoint:
    """Append events: a JSON array, one object, or NDJSON; gzip welcome. Acked means durable."""

    def __init__(self, parts: HotPathParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        said = dict(scope["headers"])
        raw = await read_body(receive, self._parts.limits.max_body_bytes, self._parts.body_s)
        answer = await append(
            self._parts,
            raw,
            content_type=said.get(b"content-type", b"").decode("latin-1"),
            content_encoding=said.get(b"content-encoding", b"").decode("latin-1"),
        )
        await respond(send, _ONE_ACCEPTED if answer == _ONE else _dumps(answer))


class SearchEndpoint:
    """The notes a reader at ``scope`` may see, best first: user, then team, then org."""

    def __init__(self, parts: HotPathParts, reader: Reader) -> None:
        self._parts = parts
        self._reader = reader

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:  # noqa: ARG002 - the signature is ASGI's
        raw = await read_body(receive, MAX_QUESTION_BYTES, self._parts.body_s)
        body = _read(SearchBody, raw)
        with METRICS.search_seconds.time():
            hits = await run_in_threadpool(
                self._reader.search,
                body.scope,
                body.query,
                k=body.k,
                as_of=body.as_of,
                include_superseded=body.include_superseded,
            )
        found = [{"note": hit.note.public(), "score": round(hit.score, 6)} for hit in hits]
        await respond(send, _dumps({"hits": found}))


class ContextEndpoint:
    """Prompt text for ``query`` within a token budget, and the notes it is made of."""

    def __init__(self, parts: HotPathParts, reader: Reader) -> None:
        self._parts = parts
        self._reader = reader

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:  # noqa: ARG002 - the signature is ASGI's
        raw = await read_body(receive, MAX_QUESTION_BYTES, self._parts.body_s)
        body = _read(ContextBody, raw)
        with METRICS.context_seconds.time():
            compiled = await run_in_threadpool(
                self._reader.context,
                body.scope,
                body.query,
                budget_tokens=body.budget_tokens,
                compiler=body.compiler,
            )
        await respond(send, _dumps(compiled))


async def append(
    parts: HotPathParts, raw: bytes, *, content_type: str, content_encoding: str = ""
) -> dict[str, Any]:
    """Parse a body, make what is good durable, and say what became of each event."""
    parse = partial(
        parse_events,
        raw,
        content_type=content_type,
        content_encoding=content_encoding,
        now=parts.clock.now(),
        limits=parts.limits,
    )
    # A large body takes longer to parse than other requests should wait for the loop.
    parsed = parse() if len(raw) <= SMALL_BODY_BYTES else await run_in_threadpool(parse)
    result = await parts.append(parsed.rows)
    refused = parsed.refused(result.conflicts)
    _ACCEPTED.inc(result.accepted)
    if refused or result.duplicates:
        _DUPLICATE.inc(result.duplicates)
        _CONFLICT.inc(len(result.conflicts))
        _REJECTED.inc(len(parsed.rejected))
    METRICS.capture_batch_events.observe(len(parsed.rows) + len(parsed.rejected))
    return {
        "accepted": result.accepted,
        "duplicates": result.duplicates,
        "rejected": [{"index": item.index, "error": item.error} for item in refused],
    }


async def read_body(receive: Receive, max_bytes: int, within_s: float) -> bytes:
    """The raw body, refused as soon as it grows past the limit or takes too long to come.

    Raises ``TooLarge``, ``TooSlow``, and ``ClientDisconnect`` when the client hangs up.
    """
    chunks: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(within_s):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size > max_bytes:
                    raise too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise too_slow(within_s) from None
    return b"".join(chunks)


def _read(kind: type[Model], raw: bytes) -> Model:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False, include_input=False)) from None


def from_validation(errors: Any, *, skip: int = 0) -> InvalidInput:
    """The first of pydantic's errors as one of ours. ``skip``: parts of its place left out."""
    first = errors[0]
    where = [str(part) for part in first["loc"][skip:]]
    if first["type"] == "json_invalid":
        return InvalidInput(
            f"the body is not JSON: {first['ctx']['error']}", field="body", mend="send one object"
        )
    return InvalidInput(
        first["msg"], field=".".join(where) or "body", mend="GET /openapi.json shows what is taken"
    )


async def respond(
    send: Any, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send one whole JSON answer."""
    head = [_JSON, (b"content-length", b"%d" % len(body))]
    if headers:
        head += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
