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
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("field", "reason", "mend")},
            "required": ["field", "reason", "mend"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
_COUNT = {"type": "integer", "minimum": 0}
# What the bare endpoints answer; the names of a note's fields are in docs/reference/http.md.
_GIVEN: dict[str, dict[str, Any]] = {
    "/v1/events": {
        "accepted": _COUNT,
        "duplicates": _COUNT,
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"index": _COUNT, "error": {"type": "string"}},
                "required": ["index", "error"],
            },
        },
    },
    "/v1/search": {
        "hits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"note": {"type": "object"}, "score": {"type": "number"}},
                "required": ["note", "score"],
            },
        }
    },
    "/v1/context": {
        "text": {"type": "string"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "compiler": {"type": "string"},
        "tokens": _COUNT,
    },
}
_RETRY = {"Retry-After": {"description": "whole seconds", "schema": _COUNT, "required": True}}
_ERRORS = {
    "400": "the framework cannot read the body",
    "401": "it is not known who asks",
    "403": "this key may not do it there",
    "404": "there is no such thing",
    "408": "the body came too slowly",
    "409": "it cannot be done as things stand",
    "413": "it is too large",
    "422": "it cannot be taken: field, reason and mend",
    "429": "too much waits, or a limit of this key is reached: retry after Retry-After seconds",
    "503": "a store is away: retry after Retry-After seconds",
    "507": "the disk is full: nothing was acked",
}


def description(app: FastAPI) -> dict[str, Any]:
    """The page of ``GET /openapi.json``, made once."""
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = page.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):  # the framework's, not ours
            schemas.pop(unused, None)
        schemas["Error"] = _ERROR
        for model in _MODELS:
            schema = model.model_json_schema(mode="validation", ref_template=_REFS)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for path, (summary, endpoint, content) in _BARE.items():
            page["paths"][path] = {"post": _operation(path, summary, endpoint, content)}
        page["components"]["securitySchemes"] = _SCHEMES
        page["security"] = [{name: []} for name in _SCHEMES]
        for path in OPEN_PATHS:
            page["paths"][path]["get"]["security"] = []
        for item in page["paths"].values():
            for operation in item.values():
                _may_fail(operation["responses"])
        app.openapi_schema = page
    return app.openapi_schema


def _may_fail(responses: dict[str, Any]) -> None:
    """Every endpoint tells its errors in the one shape that errors have."""
    responses.pop("422", None)  # the framework describes its own
    for status, words in _ERRORS.items():
        answer = {"description": words, "content": {"application/json": {"schema": _ref("Error")}}}
        if status in ("429", "503"):
            answer["headers"] = _RETRY
        responses.setdefault(status, answer)


def _operation(path: str, summary: str, endpoint: type, content: dict[str, Any]) -> dict[str, Any]:
    given = _GIVEN[path]
    schema = {"type": "object", "properties": given, "required": [*given]}
    return {
        "summary": summary,
        "description": endpoint.__doc__,
        "operationId": summary.lower(),
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": schema}}}
        },
    }
