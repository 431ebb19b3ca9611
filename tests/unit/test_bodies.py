"""Bodies are bounded: each in size and time, all of them together in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from sleep_runtime.core.errors import Overloaded, TooLarge, TooSlow
from sleep_runtime.serve.bare import SMALL
from sleep_runtime.serve.bodies import Bodies, Limit
from sleep_runtime.serve.front import Front
from sleep_runtime.serve.latency import LatencyWindow

MOST = Limit(10, "less")
Receive = Callable[[], Awaitable[Any]]


def chunks(*parts: bytes, ends: bool = True, hangs_up: bool = False) -> Receive:
    """A client that sends these parts, and then says no more unless the last one ends it."""
    left = list(parts)

    async def receive() -> Any:
        if left:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left) or not ends}
        if not hangs_up:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


@pytest.mark.parametrize(
    ("receive", "kind"),
    [
        (chunks(b"x" * 6, b"x" * 5), TooLarge),
        (chunks(b"x", ends=False), TooSlow),
        (chunks(b"x", ends=False, hangs_up=True), ClientDisconnect),
    ],
)
def test_a_body_that_is_refused_holds_nothing(receive: Receive, kind: type[Exception]) -> None:
    bodies = Bodies(0.05, 10)

    async def ask() -> bytes:
        with pytest.raises(kind):
            await bodies.read(receive, MOST)
        return await bodies.read(chunks(b"y" * 10), MOST)  # there is room for all of it

    assert asyncio.run(ask()) == b"y" * 10


def test_all_bodies_together_leave_no_room_until_one_is_dropped() -> None:
    bodies = Bodies(1.0, 15)

    async def ask() -> None:
        first = await bodies.read(chunks(b"a" * 5, b"b" * 5), MOST)
        assert first == b"aaaaabbbbb"
        with pytest.raises(Overloaded, match=r"under way.*max_bodies_bytes"):
            await bodies.read(chunks(b"c" * 5, b"d"), MOST)
        assert len(await bodies.read(chunks(b"c" * 5), MOST)) == 5
        bodies.drop(first)
        assert len(await bodies.read(chunks(b"d" * 10), MOST)) == 10

    asyncio.run(ask())


class Site:
    """A front with one hot endpoint and an application that reads its body like any."""

    def __init__(self) -> None:
        self.window = LatencyWindow()
        self.bodies = Bodies(0.05, 10**6)
        self.front = Front(self.app, {"/hot": self}, self.bodies, self.window)
        self.limit = SMALL
        self.sent: list[Any] = []
        self.reached: list[bytes] = []

    async def __call__(self, caller: Any, headers: Any, raw: bytes) -> bytes:
        self.reached.append(raw)
        return b"{}"

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ask(self, path: str, receive: Receive, method: str = "POST") -> int:
        async def send(message: Any) -> None:
            self.sent.append(message)

        asked = {"type": "http", "method": method, "path": path, "headers": []}
        asyncio.run(self.front(asked, receive, send))
        status: int = self.sent[0]["status"] if self.sent else 0
        return status

    def error(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.sent[1]["body"])["error"]
        return found


@pytest.mark.parametrize("path", ["/hot", "/else"])
def test_every_endpoint_gets_its_whole_body_and_no_bad_one(path: str) -> None:
    site = Site()
    assert site.ask(path, chunks(b"a", b"b")) == 200
    assert site.reached == [b"ab"]
    for receive, status in (
        (chunks(b"x" * 10, ends=False), 408),
        (chunks(*[b"x" * 10_000] * 100), 413),
    ):
        site = Site()
        assert site.ask(path, receive) == status
        assert site.error()["field"] == "body"
        assert site.error()["mend"]
        assert not site.reached
        assert site.window.read() == (None, 0), "a slow client says nothing about this machine"
    site = Site()
    assert site.ask(path, chunks(b"x", ends=False, hangs_up=True)) == 0


def test_a_hot_endpoint_is_asked_by_post_only() -> None:
    site = Site()
    assert site.ask("/hot", chunks(b""), "GET") == 405
    assert site.error()["mend"] == "use POST"
