"""Front: the endpoints an agent waits for, past the framework; everything else goes through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from sleep_runtime.core.errors import InvalidInput, SleepRuntimeError
from sleep_runtime.serve.bare import Asgi, respond
from sleep_runtime.serve.errors import answer_of
from sleep_runtime.serve.latency import LatencyWindow


class Front:
    """The ASGI application. ``hot`` are endpoints by path, for POST; ``app`` answers the rest.

    ``latency``, where there is one, is filled with how long the hot ones take.
    """

    def __init__(
        self, app: FastAPI, hot: Mapping[str, Asgi], latency: LatencyWindow | None = None
    ) -> None:
        self.app = app
        self._hot = hot
        self._latency = latency

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        endpoint = None
        if scope["type"] == "http":
            endpoint = self._hot.get(scope["path"].removeprefix(scope.get("root_path", "")))
        if endpoint is None:
            await self.app(scope, receive, send)
        elif scope["method"] != "POST":
            await _refuse_method(scope, send)
        elif self._latency is None:
            await _answer(endpoint, scope, receive, send)
        else:
            began = self._latency.begin()
            try:
                await _answer(endpoint, scope, receive, send)
            finally:
                self._latency.end(began)


async def _refuse_method(scope: Any, send: Any) -> None:
    told = answer_of(
        InvalidInput(
            f"{scope['method']} {scope['path']}: Method Not Allowed", field="path", mend="use POST"
        ),
        405,
    )
    await respond(send, told.body, told.status, {**told.headers, "Allow": "POST"})


async def _answer(endpoint: Asgi, scope: Any, receive: Any, send: Any) -> None:
    try:
        await endpoint(scope, receive, send)
    except SleepRuntimeError as error:
        told = answer_of(error)
        await respond(send, told.body, told.status, told.headers)
    except ClientDisconnect:
        return  # nobody reads an answer
