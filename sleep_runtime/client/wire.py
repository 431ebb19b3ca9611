"""The HTTP contract without I/O: requests to send, and what an answer means.

Both faces of the client, sync and async, and the flusher use nothing else to speak and to hear.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from sleep_runtime import __version__
from sleep_runtime.client.errors import (
    AccessDenied,
    ClientError,
    InvalidArgument,
    NotFound,
    RuntimeUnavailable,
)
from sleep_runtime.client.local import LocalKey

DEFAULT_URL = "http://127.0.0.1:8377"
NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}
_SPLIT = (400, 409, 413, 415, 422)
_START = "start one with: sleep-runtime up"


@dataclass(frozen=True)
class Ask:
    """One request: a path below the runtime's address, and its body."""

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answer. ``retry_after`` is the header as it came, empty when there was none."""

    status: int
    content: bytes
    retry_after: str = ""


class Unreachable(Exception):
    """No whole answer came; the message says why."""


# ---------------------------------------------------------------------------- asking


@dataclass(frozen=True)
class Address:
    """Where a runtime is and how to be let in."""

    url: str
    api_key: str = ""
    own: LocalKey | None = field(default=None, compare=False)

    @classmethod
    def find(cls, url: str | None, api_key: str | None) -> Address:
        """What was passed, else ``SLEEP_URL`` and ``SLEEP_API_KEY``, else this machine's own.

        Its own key is that of the runtime in ``SLEEP_DATA_DIR``, or in ``.sleep`` here, while that
        one answers at the address.

        Raises ``InvalidArgument`` for what is no address, or cannot be a key.
        """
        found = (url or os.environ.get("SLEEP_URL") or DEFAULT_URL).rstrip("/")
        if urlsplit(found).scheme not in ("http", "https") or not urlsplit(found).hostname:
            raise InvalidArgument(f"{found!r} is not an address", field="url", mend=DEFAULT_URL)
        key = api_key or os.environ.get("SLEEP_API_KEY") or ""
        if not (key.isascii() and key.isprintable()):
            raise InvalidArgument("has characters no key has", field="api_key")
        return cls(found, key, None if key else LocalKey(found))

    @property
    def is_local(self) -> bool:
        return is_local(self.url)

    def headers(self) -> dict[str, str]:
        """What stands before every request."""
        key = self.api_key or (self.own() if self.own is not None else "")
        own = {"user-agent": f"sleep-runtime-client/{__version__}"}
        return {**own, "authorization": f"Bearer {key}"} if key else own

    def heard(self, status: int) -> None:
        """After an answer: a key of this machine that was refused is not sent again."""
        if status == 401 and self.own is not None:
            self.own.forget()

    def __repr__(self) -> str:
        return f"Address({self.url!r})"  # the key stays out of logs and tracebacks


def is_local(url: str) -> bool:
    """Whether it is this machine: a proxy of the environment must not come between."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def get(path: str, **params: object) -> Ask:
    """A question; parameters that are None are left out."""
    pairs = [
        f"{name}={quote(str(value), safe='')}"
        for name, value in params.items()
        if value is not None
    ]
    return Ask("GET", f"{path}?{'&'.join(pairs)}" if pairs else path)


def post(path: str, **body: object) -> Ask:
    """A question with a body; fields that are None are left out."""
    given = {name: value for name, value in body.items() if value is not None}
    return Ask("POST", path, json.dumps(given).encode(), JSON)


def post_events(lines: Sequence[bytes]) -> Ask:
    """One batch. Repeating it is harmless: event ids make it idempotent."""
    return Ask("POST", "/v1/events", b"\n".join(lines), NDJSON)


# ---------------------------------------------------------------------------- hearing


def decode(reply: Reply) -> dict[str, Any]:
    """The object of a good answer. Raises the ``ClientError`` that the answer is."""
    body = _object(reply.content)
    if 200 <= reply.status < 300:
        if body is None:
            raise RuntimeUnavailable("what answers is not a sleep-runtime", mend="check the url")
        return body
    raise error_of(reply)


def error_of(reply: Reply) -> ClientError:
    """The error an answer stands for."""
    told = _told(reply)
    if told is None and reply.status in (404, 405):
        return RuntimeUnavailable(
            f"the answer was {reply.status}: something serves there, but no sleep-runtime",
            mend="check the url",
        )
    if told is None:
        mend = "check the url" if reply.status < 500 else "see the runtime's log"
        return _kind(reply.status)(f"the answer was {reply.status}", mend=mend)
    return _kind(reply.status)(
        str(told.get("reason", "")),
        field=str(told.get("field", "")),
        mend=str(told.get("mend", "")),
    )


def unreachable(url: str, why: str) -> RuntimeUnavailable:
    """The error of a question nobody answered."""
    return RuntimeUnavailable(f"no runtime answers at {url}: {why}", mend=_START)


def _kind(status: int) -> type[ClientError]:
    if status in (401, 403):
        return AccessDenied
    if status == 404:
        return NotFound
    if status in (408, 425, 429) or status >= 500 or status < 400:
        return RuntimeUnavailable
    return InvalidArgument


def _told(reply: Reply) -> dict[str, Any] | None:
    """The error object of our own answers; None when something else answered."""
    told = (_object(reply.content) or {}).get("error")
    return told if isinstance(told, dict) else None


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


# ---------------------------------------------------------------------------- captures


@dataclass(frozen=True)
class Taken:
    """The runtime has the batch, but for ``refused``: position and reason."""

    accepted: int
    duplicates: int
    refused: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Apart:
    """The batch as a whole cannot be taken: smaller ones may, a single event never will."""

    reason: str


@dataclass(frozen=True)
class Later:
    """Keep the batch and try again. ``lasting``: not before somebody mends something.

    ``denied``: what has to be mended is who asks.
    """

    reason: str
    retry_after_s: float | None = None
    lasting: bool = False
    denied: bool = False


Outcome = Taken | Apart | Later


def judge(reply: Reply, events: int) -> Outcome:
    """What became of a batch of so many events.

    Only an answer that accounts for every event counts as delivered: a login page with status 200
    must lose nothing.
    """
    if reply.status == 200:
        return _taken(reply, events) or Later("what answers is not a sleep-runtime", lasting=True)
    if reply.status == 413 or (reply.status in _SPLIT and _told(reply) is not None):
        return Apart(str(error_of(reply)))
    if reply.status in (401, 403):
        return Later(f"refused the key: {error_of(reply)}", lasting=True, denied=True)
    lasting = 300 <= reply.status < 500 and reply.status not in (408, 425, 429)
    return Later(str(error_of(reply)), retry_after(reply.retry_after), lasting)


def _taken(reply: Reply, events: int) -> Taken | None:
    body = _object(reply.content)
    try:
        found = body or {}
        accepted, duplicates = int(found["accepted"]), int(found["duplicates"])
        refused = tuple((int(item["index"]), str(item["error"])) for item in found["rejected"])
    except (KeyError, TypeError, ValueError):
        return None
    whole = accepted + duplicates + len(refused) == events
    return (
        Taken(accepted, duplicates, refused)
        if whole and all(0 <= n < events for n, _ in refused)
        else None
    )


def retry_after(header: str) -> float | None:
    """Seconds of a ``Retry-After``; None when there is none that is a number."""
    try:
        found = float(header)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
