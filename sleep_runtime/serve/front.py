"""Front: every request's body, and the endpoints an agent waits for, past the framework.

A body is read whole before anybody works on it, so a client that sends slowly costs its own time
and a few bytes, whatever it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive

from sleep_runtime.core.access import ROOT, Caller
from sleep_runtime.core.errors import Forbidden, InvalidInput, SleepRuntimeError
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.bare import SMALL, Endpoint, respond
from sleep_runtime.serve.bodies import Bodies, Limit
from sleep_runtime.serve.errors import answer_of, too_large
from sleep_runtime.serve.latency import LatencyWindow
from sleep_runtime.serve.limits import Limiter

Authenticate = Callable[[Mapping[bytes, bytes], str], Caller]
"""Who asks, from a request's headers and its path. Raises ``Unauthenticated``."""

_CALLER = "sleep_runtime.caller"
# So many digits are more than any body has, and no work to read.
_LENGTH_DIGITS = 20


def caller_of(request: Request) -> Caller:
    """Who asks, as the front has found out: a dependency of the endpoints behind it."""
    caller: Caller = request.scope[_CALLER]
    return caller


def anybody(headers: Mapping[bytes, bytes], path: str) -> Caller:  # noqa: ARG001 - the signature
    """Everybody is whoever runs the process: for the runtime inside one process."""
    return ROOT


class Front:
    """The ASGI application. ``hot`` are endpoints by path, for POST; ``app`` answers the rest.

    Nobody gets past it before ``authenticate`` has said who asks and ``limiter`` has let them in;
    not a byte of a body is read, and none of one that says it is too large.

    ``latency``, where there is one, is filled with how long the hot ones take once they have
    their body: how fast a client sends says nothing about this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        hot: Mapping[str, Endpoint],
        bodies: Bodies,
        latency: LatencyWindow | None = None,
        authenticate: Authenticate = anybody,
        limiter: Limiter | None = None,
        auditor: Auditor | None = None,
    ) -> None:
        self.app = app
        self._hot = hot
        self._bodies = bodies
        self._latency = latency
        self._authenticate = authenticate
        self._limiter = limiter or Limiter()
        self._auditor = auditor

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        endpoint = self._hot.get(path)
        if endpoint is not None and scope["method"] != "POST":
            await _refuse_method(scope, send)
            return
        headers = dict(scope["headers"])
        try:
            caller = self._authenticate(headers, path)
            use = self._limiter.enter(caller, path)
        except SleepRuntimeError as error:
            await _tell(send, error)
            return
        try:
            most = self._limiter.body(caller, SMALL if endpoint is None else endpoint.limit)
            await self._admitted(scope, receive, send, endpoint, caller, headers, most)
        finally:
            if use is not None:
                use.leave()

    async def _admitted(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        endpoint: Endpoint | None,
        caller: Caller,
        headers: Mapping[bytes, bytes],
        most: Limit,
    ) -> None:
        try:
            _check_declared(headers, most)
            body = await self._bodies.read(receive, most)
        except SleepRuntimeError as error:
            await _tell(send, error)
            return
        except ClientDisconnect:
            return  # nobody reads an answer
        try:
            if endpoint is None:
                await self.app({**scope, _CALLER: caller}, _again(body, receive), send)
            else:
                await self._answer(endpoint, scope["path"], caller, headers, body, send)
        finally:
            self._bodies.drop(body)

    async def _answer(
        self,
        endpoint: Endpoint,
        path: str,
        caller: Caller,
        headers: Mapping[bytes, bytes],
        body: bytes,
        send: Any,
    ) -> None:
        began = self._latency.begin() if self._latency is not None else 0.0
        try:
            answer = await endpoint(caller, headers, body)
        except SleepRuntimeError as error:
            if isinstance(error, Forbidden) and self._auditor is not None:
                self._auditor.refused(caller, "POST", path)
            await _tell(send, error)
        else:
            await respond(send, answer)
        finally:
            if self._latency is not None:
                self._latency.end(began)


def _check_declared(headers: Mapping[bytes, bytes], most: Limit) -> None:
    """Raise ``TooLarge`` for a body that says it is; one that says nothing is counted."""
    said = headers.get(b"content-length", b"")
    if said.isdigit() and int(said[:_LENGTH_DIGITS]) > most.bytes:
        raise too_large(*most)


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` as it was before the body was read from it."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _refuse_method(scope: Any, send: Any) -> None:
    told = answer_of(
        InvalidInput(
            f"{scope['method']} {scope['path']}: Method Not Allowed", field="path", mend="use POST"
        ),
        405,
    )
    await respond(send, told.body, told.status, {**told.headers, "Allow": "POST"})


async def _tell(send: Any, error: SleepRuntimeError) -> None:
    told = answer_of(error)
    await respond(send, told.body, told.status, told.headers)
