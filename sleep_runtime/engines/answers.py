"""What becomes of a writing model's words, whichever way they came: an object, or a problem.

Shared by the chat models. Pure: no network, no clock.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.json_schema import violation

CUT_OFF = "cut off at the output limit"
MAX_SAID_CHARS = 160
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_CODE_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?\s*```\Z", re.DOTALL)


class BatchLost(EngineUnavailable):
    """The model cannot be used. ``usage`` is what the batch had cost until then."""

    def __init__(
        self, reason: str = "", *, field: str = "", mend: str = "", usage: Usage | None = None
    ) -> None:
        super().__init__(reason, field=field, mend=mend)
        self.usage = usage or Usage()


class Unusable(Exception):
    """The model's answer cannot be used; the message says why."""


def checked(content: str, request: ChatRequest, usage: Usage) -> ChatAnswer:
    """The object in ``content`` if it is one of the request's schema, else the problem."""
    try:
        answer = _parse(content)
    except Unusable as problem:
        return ChatAnswer(problem=str(problem), usage=usage)
    broken = violation(answer, request.json_schema)
    if broken:
        return ChatAnswer(problem=f"outside its schema: {broken}", usage=usage)
    return ChatAnswer(object=answer, usage=usage)


def said(text: str, *, secret: str = "") -> str:
    """Foreign text made fit for an error: one bounded line, without the secret."""
    shown = text.replace(secret, "[key]") if secret else text
    line = _CONTROL.sub(" ", shown).strip()
    return line if len(line) <= MAX_SAID_CHARS else line[: MAX_SAID_CHARS - 1] + "…"


def _parse(content: str) -> dict[str, Any]:
    if not content.strip():
        raise Unusable("the model gave an empty answer")
    text = _THINKING.sub("", content).strip()
    fenced = _CODE_FENCE.match(text)
    try:
        answer = json.loads(fenced[1] if fenced else text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Unusable("not valid JSON") from None
    if not isinstance(answer, dict):
        raise Unusable("not a JSON object")
    return answer


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
