"""httpx, in the one place that meets it: whole answers in bounded time, errors as ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sleep_runtime.client.wire import Address, Ask, Reply, Unreachable

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 32 << 20


def _options(address: Address) -> dict[str, Any]:
    return {
        "trust_env": not address.is_local,
        # Loading certificates takes tens of milliseconds, which plain HTTP has no use for.
        "verify": address.url.startswith("https:"),
    }


class SyncSender:
    """Sends over kept connections, made when first used. From any thread.

    httpx bounds each wait by itself; here the whole answer has to be there in time, or at most
    one such wait later.
    """

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self._address = address
        self._transport = transport
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()

    def __call__(self, ask: Ask, timeout_s: float) -> Reply:
        import httpx

        give_up = time.monotonic() + timeout_s
        try:
            with self._client().stream(
                ask.method, self._address.url + ask.path, content=ask.content,
                headers={**self._address.headers(), **ask.headers}, timeout=timeout_s,
            ) as response:  # fmt: skip
                self._address.heard(response.status_code)
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    _check(len(body), give_up)
                return Reply(response.status_code, bytes(body), _retry_after(response.headers))
        except httpx.HTTPError as problem:
            raise Unreachable(_why(problem)) from problem

    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                options = _options(self._address)
                self._http = httpx.Client(transport=self._transport, **options)
            return self._http

    def close(self) -> None:
        """Close the connections; the next request makes new ones."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def forked(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._lock = threading.Lock()
        self._http = None


class AsyncSender:
    """The same over ``httpx.AsyncClient``, for one event loop."""

    def __init__(self, address: Address, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address = address
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, ask: Ask, timeout_s: float) -> Reply:
        import httpx

        give_up = time.monotonic() + timeout_s
        try:
            async with self._client().stream(
                ask.method, self._address.url + ask.path, content=ask.content,
                headers={**self._address.headers(), **ask.headers}, timeout=timeout_s,
            ) as response:  # fmt: skip
                self._address.heard(response.status_code)
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    _check(len(body), give_up)
                return Reply(response.status_code, bytes(body), _retry_after(response.headers))
        except httpx.HTTPError as problem:
            raise Unreachable(_why(problem)) from problem

    def _client(self) -> httpx.AsyncClient:
        import httpx

        if self._http is None:
            options = _options(self._address)
            self._http = httpx.AsyncClient(transport=self._transport, **options)
        return self._http

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def forked(self) -> None:
        """In a forked child: the connection is the parent's."""
        self._http = None


def _check(size: int, give_up: float) -> None:
    if size > MAX_ANSWER_BYTES:
        raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    if time.monotonic() > give_up:
        raise Unreachable("the answer took too long")


def _retry_after(headers: Mapping[str, str]) -> str:
    return headers.get("retry-after", "")


def _why(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
