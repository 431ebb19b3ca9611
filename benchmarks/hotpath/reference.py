"""What ours is measured against, on the same Serve and behind the same proxy.

``/reference/noop`` reads a request's body and answers; ``/reference/embed`` embeds the query in
it first, with the embedder and the threads that search has. Bare ASGI, as our own endpoints are.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ray import serve

from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.config import Settings
from sleep_runtime.serve.bare import reading_threads
from sleep_runtime.serve.bodies import Bodies, Limit

PREFIX = "/reference"
_LIMIT = Limit(2**20, "")
_BODY = b'{"accepted":1,"duplicates":0,"rejected":[]}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


def deploy(settings: Settings) -> None:
    """Put the reference beside the runtime that is up in this process."""

    def build() -> Any:
        return _Reference(settings)

    ingress: Any = serve.ingress(build)(_Ingress)
    made: Any = serve.deployment(
        ingress,
        name="Reference",
        max_ongoing_requests=settings.http.max_ongoing_requests,
        max_queued_requests=settings.http.max_queued_requests,
        ray_actor_options={"num_cpus": 0},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    serve.run(made.bind(), name="reference", route_prefix=PREFIX)


class _Ingress:
    """Everything it does is in the application it wraps."""


class _Reference:
    def __init__(self, settings: Settings) -> None:
        self._bodies = Bodies(settings.http.body_timeout_s, settings.http.max_bodies_bytes)
        self._embedder = make_embedder(settings)
        self._embedder.embed(["warm up"])
        self._threads = reading_threads()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        raw = await self._bodies.read(receive, _LIMIT)
        self._bodies.drop(raw)
        if scope["path"].endswith("/embed"):
            loop = asyncio.get_running_loop()
            query = json.loads(raw)["query"]
            await loop.run_in_executor(self._threads, self._embedder.embed, [query])
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})
