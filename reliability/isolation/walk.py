"""The walk: asks every route, as every caller, about everything, and looks at what comes back.

A leak is a byte of another scope: in a status line, a header, a body or a log line. So is an answer
that tells a thing that may not be seen from one that does not exist, by its words or by how many
queries it took; and a refusal of a scope for which a store was asked at all.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from reliability.isolation.callers import Registry, callers
from reliability.isolation.canaries import Canary
from reliability.isolation.routes import ROUTES, Asked, Things
from reliability.isolation.world import World
from sleep_runtime.core.access import Caller
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores import sqlite
from sleep_runtime.stores.forgetter import THREAD

MOST_TOLD = 50
_WORD = re.compile(r"zq[a-z]+|(?:note|run|review)_[0-9a-z]+")


class Answer(NamedTuple):
    """What came back, and how many queries it took."""

    status: int
    head: bytes
    body: bytes
    queries: int


@dataclass
class Report:
    """What the walk came to. ``leaks`` is to be nothing, and so is ``broken``: answers of 5xx."""

    seed: int
    routes_walked: int = 0
    callers: int = 0
    requests: int = 0
    canaries: int = 0
    leaks: int = 0
    broken: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    leaks_by_kind: dict[str, int] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)

    def leak(self, kind: str, asked: Asked, caller: Caller, detail: str) -> None:
        self.leaks += 1
        self.leaks_by_kind[kind] = self.leaks_by_kind.get(kind, 0) + 1
        if len(self.told) < MOST_TOLD:
            request = f"{asked.method} {asked.path} {asked.body.decode()[:300]}"
            told = {"kind": kind, "caller": caller.name, "request": request, "detail": detail}
            self.told.append(told)


@contextmanager
def counted_queries() -> Iterator[list[int]]:
    """Counts every statement of every connection that readers open inside."""
    count = [0]
    open_connection = sqlite.connect_reader

    def traced(path: Any) -> Any:
        connection = open_connection(path)
        connection.set_trace_callback(lambda text: _count(count, text))
        return connection

    sqlite.connect_reader = traced
    try:
        yield count
    finally:
        sqlite.connect_reader = open_connection


def _count(count: list[int], text: str) -> None:
    """What the process asks by itself, now and then, is nobody's question."""
    if threading.current_thread().name == THREAD:
        return
    count[0] += text.lstrip().upper().startswith(("SELECT", "WITH"))


def walk(
    world: World, count: list[int], *, seed: int, only: Collection[tuple[str, str]] = ()
) -> Report:
    """Walk ``only`` these routes, or all of them. ``count`` grows with every query."""
    began, report, registry = time.monotonic(), Report(seed), Registry()
    app = world.running.app(authenticate=registry)
    things = Things.of(world)
    asking = list(callers(world))
    report.callers, report.canaries = len(asking), len(world.aviary.all)
    with asyncio.Runner() as runner:
        _check_known(
            runner.run(ask(app, Asked("GET", "/openapi.json"), registry, asking[-1], count))
        )
        for route, requests in ROUTES.items():
            if only and route not in only:
                continue
            report.routes_walked += 1
            for caller in asking:
                step = _Step(app, registry, caller, count, world, report)
                runner.run(step.take(list(requests(things, caller))))
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _check_known(page: Answer) -> None:
    """Every route of the application is walked, and every route that is walked is one."""
    paths = json.loads(page.body)["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    if there != ROUTES.keys():
        raise SystemExit(f"the walk does not know its way: {sorted(there ^ ROUTES.keys())}")


class _Step:
    """One caller at one route."""

    def __init__(
        self,
        app: Any,
        registry: Registry,
        caller: Caller,
        count: list[int],
        world: World,
        report: Report,
    ) -> None:
        self._app, self._registry, self._caller, self._count = app, registry, caller, count
        self._report = report
        self._rights, self._all = caller.rights(), world.aviary.all
        self._foreign = {one.token: one for one in world.aviary.foreign(self._rights)}
        self._words = {one.token: one for one in self._all.values() if one.said}

    async def take(self, requests: list[Asked]) -> None:
        for asked in requests:
            log = io.StringIO()
            with redirect_stderr(log):
                answer = await self._ask(asked)
            self._look(asked, answer, log.getvalue())
            if asked.twin and answer.status in (403, 404) and not self._theirs(asked):
                self._compare(asked, answer, await self._ask(asked.about_nothing()))

    async def _ask(self, asked: Asked) -> Answer:
        self._report.requests += 1
        answer = await ask(self._app, asked, self._registry, self._caller, self._count)
        statuses, status = self._report.statuses, str(answer.status)
        statuses[status] = statuses.get(status, 0) + 1
        self._report.broken += answer.status >= 500
        return answer

    def _look(self, asked: Asked, answer: Answer, log: str) -> None:
        sent = f"{asked.path} {asked.body.decode()}"
        given = (answer.head + answer.body).decode()
        for place, text, canaries in (("answer", given, self._foreign), ("log", log, self._words)):
            for one in _found(text, canaries):
                if one.token not in sent:
                    self._report.leak(place, asked, self._caller, f"{one.what} of {one.owner}")
        if answer.status == 403 and answer.queries and not self._theirs(asked):
            self._report.leak("asked", asked, self._caller, f"{answer.queries} queries for a 403")

    def _theirs(self, asked: Asked) -> bool:
        """Whether the thing it names may be seen by them, and so be answered as what it is."""
        name = unquote(asked.names[0])
        if (known := self._all.get(name)) is not None:
            return known.seen_by(self._rights)
        return "/" in name and self._rights.covers(Scope(name))

    def _compare(self, asked: Asked, answer: Answer, nothing: Answer) -> None:
        """A thing that is not shown is answered as one that is not there."""
        name, other = map(unquote, asked.names)
        as_nothing = answer.body.replace(name.encode(), other.encode())
        if (answer.status, as_nothing, answer.head) != (nothing.status, nothing.body, nothing.head):
            told = f"{answer.status} {answer.body!r}, of nothing {nothing.status} {nothing.body!r}"
            self._report.leak("existence", asked, self._caller, told)
        elif answer.queries != nothing.queries:
            told = f"{answer.queries} queries, of nothing {nothing.queries}"
            self._report.leak("work", asked, self._caller, told)


def _found(text: str, canaries: dict[str, Canary]) -> list[Canary]:
    return [canaries[word] for word in set(_WORD.findall(text)) if word in canaries]


async def ask(
    app: Any, asked: Asked, registry: Registry, caller: Caller, count: list[int]
) -> Answer:
    """One request to the ASGI application, as this caller."""
    path, _, query = asked.path.partition("?")
    headers = [registry.header(caller), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": asked.method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("walk", 80),
        "client": ("walk", 1),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": asked.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    before = count[0]
    await app(scope, receive, send)
    start = sent[0]
    head = b"\n".join(name + b": " + value for name, value in sorted(start["headers"]))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], head, body, count[0] - before)
