"""vLLM: how long an engine loads, how fast it answers, and what our side of it costs.

The same questions go to ``VllmChatModel.chat`` from many threads and to a bare ``AsyncLLM`` from
as many tasks, in turns, with an empty prefix cache each time. The bare engine gets token ids; ours
also renders the messages, checks the answers and keeps the books.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.harness import Results, main, say
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.async_llm import (
    Backend,
    VllmOptions,
    engine_arguments,
    load,
    sampling,
)
from sleep_runtime.engines.json_schema import schema_of
from sleep_runtime.engines.llm_answers import CompareAnswer
from sleep_runtime.engines.prompt import load_prompt
from sleep_runtime.engines.vllm import VllmChatModel
from sleep_runtime.telemetry.log import configure
from sleep_runtime.testing.vllm import polite, small_options

CONCURRENCY = (1, 8, 32)
MAX_TOKENS = 96
NAMES = {1: "single", 8: "8", 32: "32"}


class Ours:
    """A thread for each question that is out at a time."""

    def __init__(self, options: VllmOptions) -> None:
        self._backend: Backend | None = None
        self._model = VllmChatModel(options, timeout_s=600, load_backend=self._load)

    def _load(self, options: VllmOptions) -> Backend:
        self._backend = load(options)
        return self._backend

    def load(self) -> None:
        self._model.load()

    def render(self, request: ChatRequest) -> list[int]:
        assert self._backend is not None
        return self._backend.render(request)

    def run(self, questions: list[ChatRequest], concurrent: int) -> tuple[int, float, int]:
        """Output tokens, seconds, and how many answers were usable."""
        with ThreadPoolExecutor(concurrent) as pool:
            began = time.perf_counter()
            answers = list(pool.map(self._ask, questions))
            took = time.perf_counter() - began
        tokens = sum(answer.usage.output_tokens for answer in answers)
        return tokens, took, sum(answer.object is not None for answer in answers)

    def _ask(self, question: ChatRequest) -> ChatAnswer:
        return self._model.chat([question])[0]

    def close(self) -> None:
        self._model.close()


class Bare:
    """vLLM as it comes: a task for each question that is out at a time."""

    def __init__(self, options: VllmOptions) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(model=options.model, **engine_arguments(options))
        self._engine = AsyncLLM.from_engine_args(arguments)
        self._loop = asyncio.new_event_loop()

    def run(
        self, questions: list[tuple[ChatRequest, list[int]]], concurrent: int
    ) -> tuple[int, float]:
        """Output tokens and seconds."""
        return self._loop.run_until_complete(self._run(questions, concurrent))

    async def _run(
        self, questions: list[tuple[ChatRequest, list[int]]], concurrent: int
    ) -> tuple[int, float]:
        left = iter(questions)
        began = time.perf_counter()
        counts = await asyncio.gather(*(self._work(left) for _ in range(concurrent)))
        return sum(counts), time.perf_counter() - began

    async def _work(self, left: Any) -> int:
        from vllm.inputs import tokens_input

        tokens = 0
        for request, prompt in left:
            how = sampling(request, seed=0)
            async for answer in self._engine.generate(tokens_input(prompt), how, request.id):
                tokens += len(answer.outputs[0].token_ids)
        return tokens

    def close(self) -> None:
        self._engine.shutdown(timeout=5)
        self._loop.close()


def measure(results: Results, n: int) -> None:
    """Loads once more than it needs to, then ``n`` rounds at each concurrency."""
    configure("warning", "console")
    polite(os.environ)
    options = small_options()
    for turn in range(min(n, 3)):
        say(f"loading, {turn + 1} of {min(n, 3)}")
        began = time.perf_counter()
        ours = Ours(options)
        ours.load()
        results.add("load_s", time.perf_counter() - began, "s")
        if turn + 1 < min(n, 3):
            ours.close()
    bare = Bare(options)
    try:
        _warm(ours, bare)
        for turn in range(n):
            say(f"round {turn + 1} of {n}")
            for concurrent in CONCURRENCY:
                _round(results, ours, bare, turn, concurrent)
    finally:
        bare.close()
        ours.close()


def _warm(ours: Ours, bare: Bare) -> None:
    """Compile the schema and fill the prefix cache with what all questions share."""
    first = _questions("warm", 2)
    ours.run(first, 1)
    bare.run([(one, ours.render(one)) for one in first], 1)


def _round(results: Results, ours: Ours, bare: Bare, turn: int, concurrent: int) -> None:
    questions = _questions(f"{turn}/{concurrent}", max(8, 2 * concurrent))
    prompts = [(one, ours.render(one)) for one in questions]

    def ask_ours() -> float:
        tokens, took, usable = ours.run(questions, concurrent)
        results.add(f"usable_{NAMES[concurrent]}", usable / len(questions), "share")
        return tokens / took

    def ask_bare() -> float:
        tokens, took = bare.run(prompts, concurrent)
        return tokens / took

    if turn % 2:
        theirs, own = ask_bare(), ask_ours()
    else:
        own, theirs = ask_ours(), ask_bare()
    results.add(f"tokens_per_s_{NAMES[concurrent]}", own, "tokens/s")
    results.add(f"bare_tokens_per_s_{NAMES[concurrent]}", theirs, "tokens/s")
    results.add(f"ratio_{NAMES[concurrent]}", own / theirs, "ours/bare")


def _questions(name: str, count: int) -> list[ChatRequest]:
    """Questions as the Reflector asks them: one long shared beginning, a pair of notes each."""
    shared, schema = load_prompt("compare"), schema_of(CompareAnswer)
    schema["properties"]["reasoning"]["maxLength"] = 120
    return [
        ChatRequest(
            id=f"{name}/{number}",
            messages=(
                *shared,
                ("user", f"<notes>\nA: Use {number} spaces in {name}\nB: Use tabs\n</notes>"),
            ),
            json_schema=schema,
            max_output_tokens=MAX_TOKENS,
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main("vllm", measure))
