"""The HTTP client of the command: where the runtime is, bounded waits, errors as ours."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sleep_runtime.cli.options import load_settings
from sleep_runtime.cli.output import WrongUsage
from sleep_runtime.client.local import local_key
from sleep_runtime.client.wire import is_local, retry_after
from sleep_runtime.core.errors import (
    Conflict,
    Forbidden,
    InvalidConfig,
    InvalidInput,
    NotFound,
    Overloaded,
    RuntimeUnavailable,
    SleepRuntimeError,
    StoreFull,
    Unauthenticated,
)

if TYPE_CHECKING:
    import httpx

    from sleep_runtime.config import Settings

GIVEN_KEY: ContextVar[str | None] = ContextVar("GIVEN_KEY", default=None)
"""What ``--key`` said, which stands before the command's name."""
CONNECT_S = 3.0
ANSWER_S = 60.0
MAX_TRIES = 6
MAX_WAIT_S = 10.0
PAGE = 500
_NOT_FOUND = 404


class TooLarge(InvalidInput):
    """The request is larger than the runtime takes."""


class Client:
    """Talks JSON to one runtime. Not for use by several threads at once.

    429 and 503 are tried again after ``Retry-After`` (at most ten seconds each, six tries), then
    raise ``Overloaded`` or ``RuntimeUnavailable``. ``sleep`` is how it waits, in seconds.
    """

    def __init__(
        self, url: str, *, key: str = "", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._sleep = sleep
        try:
            self._http = httpx.Client(
                base_url=self.url,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                trust_env=not is_local(self.url),
                headers={"authorization": f"Bearer {key}"} if key else None,
            )
        except (httpx.InvalidURL, ValueError) as problem:
            raise _bad_url(url) from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._json("GET", path, params=params)

    def post(
        self, path: str, body: dict[str, Any] | None = None, *, answer_s: float = ANSWER_S
    ) -> dict[str, Any]:
        import httpx

        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        return self._json("POST", path, json=body if body is not None else {}, timeout=timeout)

    def delete(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        return self._json("DELETE", path, params=params)

    def post_events(self, ndjson: bytes) -> dict[str, Any]:
        """Send one batch. Repeating it is harmless: event ids make it idempotent."""
        headers = {"content-type": "application/x-ndjson"}
        return self._json("POST", "/v1/events", content=ndjson, headers=headers)

    def pages(
        self, path: str, key: str, params: dict[str, Any], limit: int
    ) -> Iterator[dict[str, Any]]:
        """Up to ``limit`` items of a paged list, asking for a page when it is needed."""
        after = ""
        while limit > 0:
            page = self.get(path, {**params, "limit": min(limit, PAGE), "after": after})
            yield from page[key]
            limit -= len(page[key])
            after = page.get("next") or ""
            if not after or not page[key]:
                return

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        for tries_left in reversed(range(MAX_TRIES)):
            response = self._send(method, path, request)
            if response.status_code not in (429, 503) or not tries_left:
                break
            self._sleep(_retry_after(response))
        if response.is_success:
            return self._body(response)
        raise self._error(response)

    def _send(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        import httpx

        try:
            return self._http.request(method, path, **request)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as problem:
            raise _bad_url(self.url) from problem
        except httpx.ConnectError as problem:
            raise nobody_at(self.url) from problem
        except httpx.TimeoutException as problem:
            raise RuntimeUnavailable(
                f"{self.url} did not answer in time", mend="see: sleep-runtime status"
            ) from problem
        except httpx.HTTPError as problem:
            raise RuntimeUnavailable(
                f"the connection to {self.url} broke: {problem}", mend="see: sleep-runtime status"
            ) from problem

    def _body(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RuntimeUnavailable(
                f"what answers at {self.url} is not a sleep-runtime", mend="check --url"
            )
        return body

    def _error(self, response: httpx.Response) -> SleepRuntimeError:
        try:
            told = response.json()["error"]
            reason, field, mend = told["reason"], told.get("field", ""), told.get("mend", "")
        except (ValueError, KeyError, TypeError):
            reason, field = f"{self.url} answered {response.status_code}", ""
            mend = "check --url" if response.status_code < 500 else "see the runtime's log"
            if response.status_code == _NOT_FOUND:  # what we answer has a body of ours
                reason += ": something serves there, but no sleep-runtime is deployed on it"
                mend = "check --url and http.route_prefix, or start it: sleep-runtime up"
        return _kind(response.status_code)(reason, field=field, mend=mend)


def connect(
    url: str | None,
    config: Path | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """A client of the runtime that ``--url``, ``SLEEP_URL`` or the data directory name."""
    found = url or os.environ.get("SLEEP_URL") or find_url(load_settings(config).settings)
    return Client(found, key=find_key(found, config), sleep=sleep)


def find_key(url: str, config: Path | None) -> str:
    """``--key``, else ``SLEEP_API_KEY``, else this machine's, for the runtime of this directory."""
    given = GIVEN_KEY.get() or os.environ.get("SLEEP_API_KEY") or ""
    if not (given.isascii() and given.isprintable()):
        raise WrongUsage("has characters no key has", field="--key")
    if given:
        return given
    try:
        settings = load_settings(config).settings
    except InvalidConfig:
        if config is not None:
            raise
        return ""  # a command with --url needs no settings
    return local_key(url, settings.absolute().data_dir)


def find_url(settings: Settings) -> str:
    """Where the runtime of this data directory says it listens, else where it would."""
    known = read_runtime_file(settings)
    if known and isinstance(known.get("url"), str):
        return str(known["url"])
    host = settings.http.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - asked, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http.port}"


def read_runtime_file(settings: Settings) -> dict[str, Any] | None:
    """What the running runtime wrote about itself; None when there is no such file."""
    try:
        found = json.loads(runtime_file(settings).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def runtime_file(settings: Settings) -> Path:
    """Where a running runtime says how it is reached."""
    return settings.absolute().data_dir / "runtime.json"


def nobody_at(url: str) -> RuntimeUnavailable:
    """The error of a command that needs a runtime and finds none."""
    return RuntimeUnavailable(
        f"no runtime answers at {url}", mend="start one with: sleep-runtime up"
    )


def _bad_url(url: str) -> WrongUsage:
    return WrongUsage(f"{url!r} is not an address", field="--url", mend="http://127.0.0.1:8377")


def _kind(status: int) -> type[SleepRuntimeError]:
    kinds: dict[int, type[SleepRuntimeError]] = {
        401: Unauthenticated,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        413: TooLarge,
        429: Overloaded,
        503: RuntimeUnavailable,
        507: StoreFull,
    }
    return kinds.get(status, InvalidInput if status < 500 else SleepRuntimeError)


def _retry_after(response: httpx.Response) -> float:
    asked = retry_after(response.headers.get("retry-after", ""))
    return min(max(1.0 if asked is None else asked, 0.1), MAX_WAIT_S)
