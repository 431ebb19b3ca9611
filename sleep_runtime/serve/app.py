"""The HTTP surface, version 1, as a FastAPI application over ``HotPathParts``."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from sleep_runtime.core.access import AccessRole, Caller
from sleep_runtime.core.errors import Forbidden, InvalidEvent, InvalidInput, SleepRuntimeError
from sleep_runtime.core.event import Event, EventKind, Role, Trust
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.bare import (
    CaptureEndpoint,
    ContextEndpoint,
    Endpoint,
    SearchEndpoint,
    append,
    from_validation,
    reading_threads,
)
from sleep_runtime.serve.bodies import Bodies
from sleep_runtime.serve.description import description
from sleep_runtime.serve.errors import answer_of
from sleep_runtime.serve.front import Authenticate, Front, anybody, caller_of
from sleep_runtime.serve.hot_path import HotPathParts, Reader
from sleep_runtime.serve.people import People
from sleep_runtime.serve.pool import add_pool
from sleep_runtime.serve.roles import admitted, rights_at
from sleep_runtime.serve.subjects import add_subjects

Asking = Annotated[Caller, Depends(caller_of)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeedbackBody(_Body):
    """What ``POST /v1/feedback`` takes. It is captured like any event; the night applies it."""

    scope: Scope
    note: str = Field(min_length=1, max_length=100)
    helpful: bool
    session: str = Field(default="feedback", min_length=1, max_length=500)
    id: str | None = Field(default=None, min_length=1, max_length=200)
    ts: AwareDatetime | None = None
    text: str = Field(default="", max_length=4000)


class UndoBody(_Body):
    """What ``POST /v1/runs/{id}/undo`` takes."""

    dry_run: bool = False
    cascade: bool = False


class ReviewBody(_Body):
    """What ``POST /v1/reviews/{id}`` takes: a decision.

    It is the caller's; ``by`` counts from whoever administers everything, and from nobody else.
    """

    decision: str = Field(min_length=1, max_length=50)
    by: str = Field(default="", max_length=200)


class RunsBody(_Body):
    """What ``POST /v1/runs`` takes: the part of the tree to consolidate now."""

    scope: Scope | None = None


def build_app(parts: HotPathParts, authenticate: Authenticate = anybody) -> Front:
    """The application, as ASGI. Runs in a Serve replica, or in any ASGI server in tests.

    ``authenticate`` says who asks; by default that is whoever runs the process.
    """
    app = FastAPI(
        title="sleep-runtime",
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(admitted)],
    )
    # The way FastAPI documents for extending the description.
    app.openapi = partial(description, app)  # type: ignore[method-assign]
    app.state.auditor = parts.auditor
    reader = Reader(parts)
    _add_error_handlers(app)
    _add_feedback(app, parts, reader)
    _add_notes(app, parts, reader)
    _add_nights(app, parts, reader)
    _add_people(app, parts, People(parts, reader))
    add_pool(app, parts)
    add_subjects(app, parts, reader)
    _add_health(app, parts)
    threads = reading_threads()
    hot: dict[str, Endpoint] = {
        "/v1/events": CaptureEndpoint(parts),
        "/v1/search": SearchEndpoint(reader, threads, parts.limiter, parts.auditor),
        "/v1/context": ContextEndpoint(reader, threads, parts.limiter, parts.auditor),
    }
    bodies = Bodies(parts.body_s, parts.max_bodies_bytes)
    return Front(app, hot, bodies, parts.latency, authenticate, parts.limiter, parts.auditor)


def _add_feedback(app: FastAPI, parts: HotPathParts, reader: Reader) -> None:
    @app.post("/v1/feedback", status_code=202)
    async def feedback(caller: Asking, body: FeedbackBody) -> Response:
        """Say whether a note helped. Durable like any event; the next night weighs it.

        It is a person's feedback with a key that speaks as one, else an agent's.
        """
        rights = rights_at(caller, AccessRole.CAPTURE, body.scope)
        await run_in_threadpool(reader.known, rights, body.scope)
        event = _feedback_event(body, caller, parts.clock.now())
        raw = event.model_dump_json().encode()
        answer = await append(parts, caller, raw, content_type="application/json")
        if answer["rejected"]:
            raise _refusal(answer["rejected"][0]["error"])
        return JSONResponse(answer, status_code=202)


def _feedback_event(body: FeedbackBody, caller: Caller, now: datetime) -> Event:
    ts = body.ts or now
    name = body.id or stable_id("fb", body.scope, body.note, str(body.helpful), ts.isoformat())
    return Event(
        id=name,
        ts=ts,
        scope=body.scope,
        session=body.session,
        kind=EventKind.FEEDBACK,
        role=Role.HUMAN if caller.speaks is Trust.HUMAN else Role.AGENT,
        text=body.text,
        data={"note": body.note, "helpful": body.helpful},
    )


def _refusal(said: str) -> InvalidEvent:
    """One refused event, ``field: reason (mend)``, as the answer to a request of its own."""
    field, _, rest = said.partition(": ")
    reason, _, mend = rest.removesuffix(")").rpartition(" (")
    return InvalidEvent(reason or rest, field=field, mend=mend or "send another")


def _add_notes(app: FastAPI, parts: HotPathParts, reader: Reader) -> None:
    @app.get("/v1/notes")
    async def notes(
        caller: Asking,
        scope: str | None = None,
        status: str = "active",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str, Query(max_length=100)] = "",
    ) -> dict[str, Any]:
        """Notes at and below ``scope``, by id."""
        at, of_status = _scope(scope), _status(status)
        rights = rights_at(caller, AccessRole.READ, at)
        parts.auditor.read(caller, at)
        return await run_in_threadpool(
            reader.notes, rights, at, of_status, limit=limit, after=after
        )

    @app.get("/v1/notes/{note_id}")
    async def note(caller: Asking, note_id: str) -> dict[str, Any]:
        """One note: its revisions with their reasons, and excerpts of its evidence."""
        found = await run_in_threadpool(reader.note, caller.rights(), note_id)
        parts.auditor.read(caller, Scope(found["note"]["scope"]), note_id)
        return found


def _add_nights(app: FastAPI, parts: HotPathParts, reader: Reader) -> None:
    @app.post("/v1/runs", status_code=202)
    async def start(caller: Asking, body: RunsBody) -> dict[str, Any]:
        """Make everything pending at and below ``scope`` due now."""
        caller.require(AccessRole.CURATE, body.scope)
        if body.scope is not None:
            await run_in_threadpool(reader.known, caller.rights(), body.scope)
        requested = await parts.request_night(body.scope)
        return {
            "requested": [str(scope) for scope in requested],
            "at": parts.clock.now().isoformat(),
        }

    @app.get("/v1/runs")
    async def runs(
        caller: Asking,
        scope: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        """Runs at and below ``scope``, newest first."""
        at = _scope(scope)
        rights = rights_at(caller, AccessRole.READ, at)
        parts.auditor.read(caller, at)
        return {"runs": await run_in_threadpool(reader.runs, rights, at, limit=limit)}

    @app.get("/v1/runs/{run_id}")
    async def run(caller: Asking, run_id: str) -> dict[str, Any]:
        """One run: what was proposed, what was thought of it, what was written and why."""
        found = await run_in_threadpool(reader.run, caller.rights(), run_id)
        parts.auditor.read(caller, Scope(found["run"]["scope"]), run_id)
        return found

    @app.get("/v1/status")
    async def status(caller: Asking, scope: str | None = None) -> dict[str, Any]:
        """What is awake, pending and due, and why the last night did what it did.

        Of the pool only its state, for whoever may not read everywhere.
        """
        at = _scope(scope)
        rights = rights_at(caller, AccessRole.READ, at)
        found = await run_in_threadpool(reader.status, rights, at)
        pool = await parts.pool()
        whole = caller.may(AccessRole.READ, None)
        return {**found, "pool": pool if whole else {"state": pool["state"]}}

    @app.post("/v1/index/reconcile")
    async def reconcile() -> dict[str, int]:
        """Compare the index with the ledger and repair what differs."""
        return await parts.repair("reconcile")

    @app.post("/v1/index/rebuild")
    async def rebuild() -> dict[str, int]:
        """Build a new generation of the index from the ledger and flip to it."""
        return await parts.repair("rebuild")


def _add_people(app: FastAPI, parts: HotPathParts, people: People) -> None:
    @app.post("/v1/runs/{run_id}/undo")
    async def undo(caller: Asking, run_id: str, body: UndoBody) -> dict[str, Any]:
        """Restore the state before a run, by a run that can be undone itself.

        409 names the later runs that built on it; ``cascade`` undoes these too.
        """
        return await people.undo(caller, run_id, cascade=body.cascade, dry_run=body.dry_run)

    @app.get("/v1/reviews")
    async def reviews(
        caller: Asking,
        scope: str | None = None,
        state: str = "open",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What the Curator would not decide, at and below ``scope``, oldest first."""
        at = _scope(scope)
        rights = rights_at(caller, AccessRole.READ, at)
        parts.auditor.read(caller, at)
        return await run_in_threadpool(people.reviews, rights, at, state, limit=limit)

    @app.post("/v1/reviews/{review_id}")
    async def resolve(caller: Asking, review_id: str, body: ReviewBody) -> dict[str, Any]:
        """Decide one. The next night of its scope does it, and the verdict is remembered."""
        return await people.resolve(caller, review_id, body.decision, body.by)


def _add_health(app: FastAPI, parts: HotPathParts) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "one of them does not"}})
    async def readyz() -> Response:
        """The owners of the journal and the ledger answer too."""
        ready = await parts.ready()
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus text of all processes of the runtime. For a key that may read everywhere."""
        return Response(await parts.gather_metrics(), media_type="text/plain; version=0.0.4")


def _scope(text: str | None) -> Scope | None:
    return Scope(text) if text else None


def _status(text: str) -> NoteStatus | None:
    if text == "all":
        return None
    try:
        return NoteStatus(text)
    except ValueError:
        names = ", ".join((*(status.value for status in NoteStatus), "all"))
        raise InvalidInput(
            f"{text!r} is no status", field="status", mend=f"use one of {names}"
        ) from None


# ---------------------------------------------------------------------------- errors


def _add_error_handlers(app: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, SleepRuntimeError)  # noqa: S101 - registered for this type only
        if isinstance(error, Forbidden):
            auditor: Auditor = app.state.auditor
            auditor.refused(caller_of(request), request.method, request.scope["route"].path)
        return _error_response(error)

    async def invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
        assert isinstance(error, RequestValidationError)  # noqa: S101
        # The first part of a place says where: body, query, path.
        return _error_response(from_validation(error.errors(), skip=1))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        field = "body" if error.status_code == 400 else "path"
        return _error_response(
            InvalidInput(
                f"{request.method} {request.url.path}: {error.detail}",
                field=field,
                mend="GET /openapi.json shows what is taken",
            ),
            error.status_code,
        )

    app.add_exception_handler(SleepRuntimeError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


def _error_response(error: SleepRuntimeError, status: int | None = None) -> Response:
    answer = answer_of(error, status)
    return Response(answer.body, answer.status, answer.headers, "application/json")
