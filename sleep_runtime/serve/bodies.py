"""Bodies: the bodies of requests, each bounded in size and time, all of them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect

from sleep_runtime.core.errors import Overloaded
from sleep_runtime.serve.errors import too_large, too_slow

Receive = Callable[[], Awaitable[Any]]


class Limit(NamedTuple):
    """How many bytes a body may have, and what to do about one that has more."""

    bytes: int
    mend: str


class Bodies:
    """Reads bodies. A body has ``within_s`` seconds to come; ``max_bytes`` are held in all.

    Not locked: its user lives in one event loop.
    """

    def __init__(self, within_s: float, max_bytes: int) -> None:
        self._within_s = within_s
        self._max_bytes = max_bytes
        self._held = 0

    async def read(self, receive: Receive, most: Limit) -> bytes:
        """The body ASGI's ``receive`` gives. It counts until it is given to ``drop``.

        Raises ``TooLarge`` as soon as more than ``most`` came, ``TooSlow`` when the time is
        over, ``Overloaded`` when the others leave no room, ``ClientDisconnect`` when the client
        hangs up.
        """
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._within_s):
                await self._collect(receive, most, chunks)
        except BaseException as error:
            self._held -= sum(map(len, chunks))
            if isinstance(error, TimeoutError):
                raise too_slow(self._within_s) from None
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _collect(self, receive: Receive, most: Limit, chunks: list[bytes]) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            chunks.append(chunk)
            self._held += len(chunk)
            size += len(chunk)
            self._check(size, most)

    def drop(self, body: bytes) -> None:
        """This body is not needed any more."""
        self._held -= len(body)

    def _check(self, size: int, most: Limit) -> None:
        if size > most.bytes:
            raise too_large(*most)
        if self._held > self._max_bytes:
            raise Overloaded(
                f"{self._held} bytes of requests are under way, which is too much",
                field="body",
                mend="retry in a second, in smaller batches, or raise http.max_bodies_bytes",
            )
