"""The endpoints an agent waits for, from bytes to bytes: what a request costs beyond its work.

They say and refuse what any other endpoint would; only the framework's way from bytes to arguments
and back, which costs several times what an event does, is left out.
"""

from __future__ import annotations

import asyncio
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from fastapi.concurrency import run_in_threadpool
from prometheus_client import Histogram
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.access import AccessRole, Caller, Rights
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.bodies import Limit
from sleep_runtime.serve.hot_path import HotPathParts, Reader
from sleep_runtime.serve.limits import Limiter
from sleep_runtime.telemetry.metrics import METRICS

MAX_QUERY_CHARS = 4000
SMALL_BODY_BYTES = 64 * 1024
# Whatever holds no events is a sentence or two; what is larger is a mistake, not read to its end.
SMALL = Limit(64 * 1024, "shorten what you ask or say: events alone may be large")
_SMALLER_BATCHES = "send smaller batches, or raise http.max_body_bytes"

Model = TypeVar("Model", bound="_Question")

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


class _Question(_Body):
    scope: Scope
    query: str = Field(max_length=MAX_QUERY_CHARS)


class SearchBody(_Question):
    """What ``POST /v1/search`` takes."""

    k: int | None = Field(default=None, ge=1)
    as_of: AwareDatetime | None = None
    include_superseded: bool = False


class ContextBody(_Question):
    """What ``POST /v1/context`` takes."""

    budget_tokens: int | None = Field(default=None, ge=16, le=100_000)
    compiler: str | None = Field(default=None, max_length=100)


class Endpoint(Protocol):
    """An endpoint of the hot path: the answer's JSON for one request, whose body is here."""

    @property
    def limit(self) -> Limit:
        """The largest body it takes."""

    async def __call__(
        self, caller: Caller, headers: Mapping[bytes, bytes], raw: bytes
    ) -> bytes: ...


class CaptureEndpoint:
    """Append events: a JSON array, one object, or NDJSON; gzip welcome. Acked means durable."""

    def __init__(self, parts: HotPathParts) -> None:
        self._parts = parts
        self.limit = Limit(parts.limits.max_body_bytes, _SMALLER_BATCHES)

    async def __call__(self, caller: Caller, headers: Mapping[bytes, bytes], raw: bytes) -> bytes:
        caller.anywhere(AccessRole.CAPTURE)
        answer = await append(
            self._parts,
            caller,
            raw,
            content_type=headers.get(b"content-type", b"").decode("latin-1"),
            content_encoding=headers.get(b"content-encoding", b"").decode("latin-1"),
        )
        return _ONE_ACCEPTED if answer == _ONE else _dumps(answer)


class _QuestionEndpoint(ABC, Generic[Model]):
    """A question is read in the loop and answered, whole, in a thread."""

    limit = SMALL
    takes: type[Model]
    seconds: Histogram

    def __init__(
        self, reader: Reader, threads: Executor, limiter: Limiter, auditor: Auditor
    ) -> None:
        self._reader = reader
        self._threads = threads
        self._limiter = limiter
        self._auditor = auditor

    async def __call__(self, caller: Caller, headers: Mapping[bytes, bytes], raw: bytes) -> bytes:  # noqa: ARG002 - the protocol's signature
        caller.anywhere(AccessRole.READ)
        self._limiter.question(caller)
        body = _read(self.takes, raw)
        caller.require(AccessRole.READ, body.scope)
        self._auditor.read(caller, body.scope)
        with self.seconds.time():
            loop = asyncio.get_running_loop()
            seen: list[int] = []
            answer = partial(self._answer, caller.rights(), body, seen.append)
            try:
                return await loop.run_in_executor(self._threads, answer)
            finally:
                self._limiter.looked(caller, sum(seen))

    @abstractmethod
    def _answer(self, rights: Rights, body: Model, looked: Callable[[int], None]) -> bytes:
        """The answer's JSON; ``looked`` is told the notes looked at. Runs in a thread."""


class SearchEndpoint(_QuestionEndpoint[SearchBody]):
    """The notes a reader at ``scope`` may see, best first: user, then team, then org."""

    takes = SearchBody
    seconds = METRICS.search_seconds

    def _answer(self, rights: Rights, body: SearchBody, looked: Callable[[int], None]) -> bytes:
        hits = self._reader.search(
            rights,
            body.scope,
            body.query,
            k=body.k,
            as_of=body.as_of,
            include_superseded=body.include_superseded,
            looked=looked,
        )
        found = [{"note": hit.note.public(), "score": round(hit.score, 6)} for hit in hits]
        return _dumps({"hits": found})


class ContextEndpoint(_QuestionEndpoint[ContextBody]):
    """Prompt text for ``query`` within a token budget, and the notes it is made of."""

    takes = ContextBody
    seconds = METRICS.context_seconds

    def _answer(self, rights: Rights, body: ContextBody, looked: Callable[[int], None]) -> bytes:
        return _dumps(
            self._reader.context(
                rights,
                body.scope,
                body.query,
                budget_tokens=body.budget_tokens,
                compiler=body.compiler,
                looked=looked,
            )
        )


def reading_threads() -> Executor:
    """Threads for questions: hardly more than processors, so that few wait for each other's turn
    at the interpreter. How many questions may wait for one is bounded by HTTP's own limits."""
    return ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="question")


async def append(
    parts: HotPathParts,
    caller: Caller,
    raw: bytes,
    *,
    content_type: str,
    content_encoding: str = "",
) -> dict[str, Any]:
    """Parse what ``caller`` sent, make what is good durable, and say what became of each event."""
    parse = partial(
        parse_events,
        raw,
        content_type=content_type,
        content_encoding=content_encoding,
        now=parts.clock.now(),
        limits=parts.limiter.capture(caller, parts.limits),
        caller=caller,
    )
    # A large body takes longer to parse than other requests should wait for the loop.
    parsed = parse() if len(raw) <= SMALL_BODY_BYTES else await run_in_threadpool(parse)
    parts.limiter.events(caller, len(parsed.rows))
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
