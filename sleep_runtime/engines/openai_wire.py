"""What is said to an OpenAI-compatible server and what its bytes mean. Pure: no network, no clock.

Servers differ in what they accept. A ``Dialect`` names the differences; when a server refuses a
question, ``Dialect.after`` gives the next plainer way to ask it, until there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.answers import CUT_OFF, Unusable, checked, said

_MAX_COUNT = 10**9


class Form(StrEnum):
    """How the server is made to answer with one JSON object, strictest first."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    PLAIN = "plain"


_PLAINER = {Form.SCHEMA: Form.OBJECT, Form.OBJECT: Form.PLAIN}


@dataclass(frozen=True)
class Dialect:
    """What one server accepts. ``without`` are the optional parameters that it refused."""

    form: Form = Form.SCHEMA
    limit: str = "max_tokens"
    without: frozenset[str] = frozenset()

    def after(self, refused: str) -> Dialect | None:
        """The next way to ask after a 400 about parameter ``refused`` ("" when it named none)."""
        if refused == "max_tokens" and self.limit == refused:
            return replace(self, limit="max_completion_tokens")
        if refused in ("temperature", "seed") and refused not in self.without:
            return replace(self, without=self.without | {refused})
        plainer = _PLAINER.get(self.form)
        return replace(self, form=plainer) if plainer else None


def body(request: ChatRequest, model: str, dialect: Dialect, *, seed: int) -> dict[str, Any]:
    """The request as ``POST /chat/completions`` takes it."""
    said: dict[str, Any] = {
        "model": model,
        "messages": _messages(request, dialect.form),
        dialect.limit: request.max_output_tokens,
        "temperature": 0,
        "seed": seed,
        "stream": False,
    }
    if dialect.form is Form.SCHEMA:
        schema = {"name": "answer", "strict": True, "schema": request.json_schema}
        said["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.form is Form.OBJECT:
        said["response_format"] = {"type": "json_object"}
    return {key: value for key, value in said.items() if key not in dialect.without}


def _messages(request: ChatRequest, form: Form) -> list[dict[str, str]]:
    messages = [{"role": role, "content": content} for role, content in request.messages]
    if form is Form.SCHEMA:
        return messages
    # In front, so that what all questions of a kind share stays one prefix.
    rule = (
        "Answer with one JSON object and nothing else. It follows this JSON schema:\n"
        + canonical_json(request.json_schema)
    )
    if messages and messages[0]["role"] == "system":
        messages[0]["content"] += f"\n\n{rule}"
        return messages
    return [{"role": "system", "content": rule}, *messages]


def read_refusal(raw: bytes, *, secret: str = "") -> tuple[str, str]:
    """The refused parameter and what the server said, from the body of an error. Both may be ""."""
    error = _object(raw).get("error")
    if isinstance(error, str):
        return "", said(error, secret=secret)
    if not isinstance(error, Mapping):
        return "", said(str(_object(raw).get("message") or ""), secret=secret)
    param = error.get("param")
    return (
        param if isinstance(param, str) else "",
        said(str(error.get("message") or ""), secret=secret),
    )


def is_completion(raw: bytes) -> bool:
    """Whether these bytes are a chat completion at all, whatever the model said in it."""
    return isinstance(_object(raw).get("choices"), list)


def read_completion(raw: bytes, request: ChatRequest, *, calls: int) -> ChatAnswer:
    """The validated object of a chat completion, or the problem with it. Never raises."""
    completion = _object(raw)
    usage = _usage(completion.get("usage"), calls)
    try:
        content = _content(completion.get("choices"))
    except Unusable as problem:
        return ChatAnswer(problem=str(problem), usage=usage)
    return checked(content, request, usage)


def _content(choices: Any) -> str:
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise Unusable("the model gave no answer")
    if choice.get("finish_reason") == "length":
        raise Unusable(CUT_OFF)
    if choice.get("finish_reason") == "content_filter":
        raise Unusable("withheld by the server's content filter")
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise Unusable("the model gave no message")
    if message.get("refusal"):
        raise Unusable("the model declined to answer")
    content = message.get("content")
    if not isinstance(content, str):
        raise Unusable("the model gave an empty answer")
    return content


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(reported: Any, calls: int) -> Usage:
    counts = reported if isinstance(reported, Mapping) else {}
    return Usage(
        calls=calls,
        input_tokens=_count(counts.get("prompt_tokens")),
        output_tokens=_count(counts.get("completion_tokens")),
    )


def _count(value: Any) -> int:
    return min(value, _MAX_COUNT) if type(value) is int and value >= 0 else 0
