"""Erasing over HTTP: everything of a scope, of one session or of one event, and the receipts."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from sleep_runtime.core.access import AccessRole, Caller
from sleep_runtime.core.erasure import Erasure, Target, public
from sleep_runtime.core.errors import NotFound
from sleep_runtime.core.ports import SeenLedger
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.front import caller_of
from sleep_runtime.serve.hot_path import HotPathParts, Reader
from sleep_runtime.serve.roles import rights_at

WAIT_S, MAX_WAIT_S = 20.0, 50.0
_POLL_S = 0.1

Asking = Annotated[Caller, Depends(caller_of)]


def add_subjects(app: FastAPI, parts: HotPathParts, reader: Reader) -> None:
    """The routes of erasures."""

    @app.delete("/v1/subjects/{scope:path}")
    async def erase(
        scope: str,
        caller: Asking,
        session: Annotated[str, Query(max_length=500)] = "",
        event: Annotated[str, Query(max_length=200)] = "",
        wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = WAIT_S,
    ) -> JSONResponse:
        """Erase everything at and below a scope, or one session or event of it.

        200 with the receipt when it is done within ``wait_s`` seconds; else 202, and it goes on:
        ``GET /v1/erasures/{id}`` tells when it is over.
        """
        target = Target(scope=Scope(scope), session=session, event=event)
        rights = rights_at(caller, AccessRole.ADMIN, target.scope)
        await run_in_threadpool(reader.known, rights, target.scope)
        asked = await parts.erase(target)
        done = await _wait(parts.ledger.seen_by(rights), asked, wait_s)
        return JSONResponse(public(done), status_code=200 if done.over else 202)

    @app.get("/v1/erasures")
    async def erasures(caller: Asking, scope: str | None = None) -> dict[str, Any]:
        """What was erased at and below a scope, oldest first, and what is under way."""
        within = Scope(scope) if scope else None
        seen = parts.ledger.seen_by(rights_at(caller, AccessRole.ADMIN, within))
        found = await run_in_threadpool(seen.erasures, within)
        return {"erasures": [public(one) for one in found]}

    @app.get("/v1/erasures/{erasure_id}")
    async def erasure(caller: Asking, erasure_id: str) -> dict[str, Any]:
        """One erasure: how far it is, and its receipt."""
        seen = parts.ledger.seen_by(rights_at(caller, AccessRole.ADMIN, None))
        found = await run_in_threadpool(seen.erasure, erasure_id)
        if found is None:
            raise NotFound(f"there is no erasure {erasure_id!r}", field="id", mend="list them")
        return public(found)


async def _wait(seen: SeenLedger, asked: Erasure, wait_s: float) -> Erasure:
    """The erasure when it is over, or as it is after so many seconds."""
    give_up = time.monotonic() + wait_s
    while not asked.over and time.monotonic() < give_up:
        await asyncio.sleep(_POLL_S)
        found: Erasure | None = await run_in_threadpool(seen.erasure, asked.id)
        asked = found or asked
    return asked
