"""The OpenAPI description: what FastAPI knows, and the endpoints that are bare ASGI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from sleep_runtime.core.event import Event
from sleep_runtime.serve.access import OPEN_PATHS
from sleep_runtime.serve.bare import (
    CaptureEndpoint,
    ContextBody,
    ContextEndpoint,
    SearchBody,
    SearchEndpoint,
)

_REFS = "#/components/schemas/{model}"


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFS.format(model=model)}


_EVENTS_BODY: dict[str, Any] = {
    "application/json": {"schema": {"type": "array", "items": _ref("Event")}},
    "application/x-ndjson": {"schema": {"type": "string", "description": "one event a line"}},
}
_BARE: dict[str, tuple[str, type, dict[str, Any]]] = {
    "/v1/events": ("Capture", CaptureEndpoint, _EVENTS_BODY),
    "/v1/search": (
        "Search",
        SearchEndpoint,
        {"application/json": {"schema": _ref("SearchBody")}},
    ),
    "/v1/context": (
        "Context",
        ContextEndpoint,
        {"application/json": {"schema": _ref("ContextBody")}},
    ),
}
_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "sleep-runtime keys create"}}
_MODELS: tuple[type[BaseModel], ...] = (Event, SearchBody, ContextBody)
_ANSWERS = {
    "200": "done",
    "401": "it is not known who asks",
    "403": "who asks may not do this there",
    "408": "the body came too slowly",
    "413": "it is too large",
    "422": "it cannot be taken: field, reason and mend",
    "429": "too much waits: retry after Retry-After seconds",
    "503": "a store is away: retry after Retry-After seconds",
}


def description(app: FastAPI) -> dict[str, Any]:
    """The page of ``GET /openapi.json``, made once."""
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = page.setdefault("components", {}).setdefault("schemas", {})
        for model in _MODELS:
            schema = model.model_json_schema(mode="validation", ref_template=_REFS)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for path, (summary, endpoint, content) in _BARE.items():
            page["paths"][path] = {"post": _operation(summary, endpoint, content)}
        page["components"]["securitySchemes"] = _SCHEMES
        page["security"] = [{name: []} for name in _SCHEMES]
        for path in OPEN_PATHS:
            page["paths"][path]["get"]["security"] = []
        app.openapi_schema = page
    return app.openapi_schema


def _operation(summary: str, endpoint: type, content: dict[str, Any]) -> dict[str, Any]:
    json_object = {"application/json": {"schema": {"type": "object"}}}
    return {
        "summary": summary,
        "description": endpoint.__doc__,
        "operationId": summary.lower(),
        "requestBody": {"required": True, "content": content},
        "responses": {
            status: {"description": words, "content": json_object}
            for status, words in _ANSWERS.items()
        },
    }
