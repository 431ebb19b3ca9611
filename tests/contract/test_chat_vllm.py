"""The vLLM model keeps the ChatModel contract: the real engine, with real weights.

A script says what the model answers: each question is asked along a schema that only allows the
scripted object, so that vLLM decodes it token by token. What becomes of the answer is then judged
by the question's own schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sleep_runtime.core.ports import ChatModel, ChatRequest
from sleep_runtime.engines.async_llm import Backend, Completion, EngineGone, load
from sleep_runtime.engines.vllm import VllmChatModel
from sleep_runtime.testing.contracts.chat import ChatModelContract, Make, Script
from sleep_runtime.testing.vllm import small_options as vllm_options

# vLLM and torch warn of their own deprecations while they are imported.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


class Scripted:
    """A loaded backend whose model can only say what the script of the running test says."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.script: Script = lambda _: {}
        self.over = False
        self.gpus, self.can_sleep = backend.gpus, backend.can_sleep

    def watch(self, died: Callable[[], None]) -> None:
        self._backend.watch(died)

    def render(self, request: ChatRequest) -> list[int]:
        return self._backend.render(request)

    async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
        try:
            only = {"const": self.script(request)}
        except ConnectionError as error:
            raise EngineGone(str(error)) from error
        forced = request.model_copy(update={"json_schema": only})
        return await self._backend.generate(forced, prompt, key)

    async def sleep(self) -> None:
        await self._backend.sleep()

    async def wake(self) -> None:
        await self._backend.wake()

    def shutdown(self) -> None:
        """The model ends an engine that is gone; this one only said so, and is taken again."""
        if self.over:
            self._backend.shutdown()


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[VllmChatModel, Scripted]]:
    options = vllm_options()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        backend = load(options)
    scripted = Scripted(backend)
    model = VllmChatModel(options, timeout_s=100, load_backend=lambda _: scripted)
    yield model, scripted
    scripted.over = True
    model.close()


class TestVllm(ChatModelContract):
    @pytest.fixture
    def make(self, engine: tuple[VllmChatModel, Scripted]) -> Make:
        model, scripted = engine

        def build(script: Script) -> ChatModel:
            scripted.script = script
            return model

        return build
