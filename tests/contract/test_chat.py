"""The chat models keep the ChatModel contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.ports import ChatModel, ChatRequest
from sleep_runtime.engines.openai import OpenAIChatModel
from sleep_runtime.testing.chat import ScriptedChatModel
from sleep_runtime.testing.contracts.chat import ChatModelContract, Make, Script


class TestScripted(ChatModelContract):
    @pytest.fixture
    def make(self) -> Make:
        def build(script: Script) -> ChatModel:
            def answer(request: ChatRequest) -> dict[str, Any]:
                try:
                    return script(request)
                except ConnectionError as error:
                    raise EngineUnavailable(
                        str(error), field="engine.base_url", mend="start it"
                    ) from error

            return ScriptedChatModel(answer)

        return build


class TestOpenAI(ChatModelContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with ExitStack() as models:

            def build(script: Script) -> ChatModel:
                model = OpenAIChatModel(
                    "http://model.test/v1",
                    "tiny",
                    transport=httpx.MockTransport(lambda request: _serve(script, request)),
                    sleep=lambda _: None,
                )
                models.callback(model.close)
                return model

            yield build


def _serve(script: Script, request: httpx.Request) -> httpx.Response:
    said = json.loads(request.content)
    messages = tuple((message["role"], message["content"]) for message in said["messages"])
    question = ChatRequest(id="", messages=messages, json_schema={}, max_output_tokens=1)
    try:
        answer = script(question)
    except ConnectionError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    choice = {"finish_reason": "stop", "message": {"content": json.dumps(answer)}}
    return httpx.Response(200, json={"choices": [choice]})
