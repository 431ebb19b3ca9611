"""The idle pool over HTTP: how it stands, and asking it to give way."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.serve.hot_path import HotPathParts

MAX_YIELD_S = 24 * 3600.0


class YieldBody(BaseModel):
    """What ``POST /v1/pool/yield`` takes. Zero seconds ends an earlier request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, le=MAX_YIELD_S)


def add_pool(app: FastAPI, parts: HotPathParts) -> None:
    """The pool's routes."""

    @app.get("/v1/pool")
    async def pool() -> dict[str, Any]:
        """The state of the idle pool, its engines, and where the actors of nights run."""
        return await parts.pool()

    @app.post("/v1/pool/yield")
    async def give_way(body: YieldBody) -> dict[str, Any]:
        """Take the idle pool away from nights for so many seconds.

        Answers when every bundle is free. What was answered to nights is kept, and they go on
        afterwards. Whoever needs the pool's GPU sooner than the cluster would notice asks here.
        """
        return await parts.give_way(body.seconds)
