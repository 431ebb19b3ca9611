"""vLLM: how long an engine loads, how fast it answers, and what our side of it costs.

The same questions go to ``VllmChatModel.chat`` from many threads, and from as many tasks to the
``AsyncLLM`` below it, by turns of a few seconds: other work on the machine hits both alike. The
bare engine gets token ids; ours also renders the messages, checks the answers and keeps the books.
What a question does not share is shorter than a block of the prefix cache, so that asking it again
is as much work as the first time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.harness import Results, main, say
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.async_llm import (
    Backend,
    VllmOptions,
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
LOADS = 3
ORDER = ("ours", "bare", "bare", "ours")


class Captured:
    """The loaded engine, with the event loop it lives in, so that it can be asked without us."""

    def __init__(self, options: VllmOptions) -> None:
        self._backend = load(options)
        self.gpus, self.can_sleep = self._backend.gpus, self._backend.can_sleep
        self.render, self.generate = self._backend.render, self._backend.generate
        self.sleep, self.wake = self._backend.sleep, self._backend.wake
        self.shutdown = self._backend.shutdown

    def watch(self, died: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._backend.watch(died)

    @property
    def engine(self) -> Any:
        """vLLM's own ``AsyncLLM``."""
        return vars(self._backend)["_engine"]


class Sides:
    """The same engine, asked through ``chat`` and bare."""

    def __init__(self, options: VllmOptions) -> None:
        self._model = VllmChatModel(options, timeout_s=600, load_backend=self._load)
        self._model.load()

    def _load(self, options: VllmOptions) -> Backend:
        self._captured = Captured(options)
        return self._captured

    def render(self, questions: Sequence[ChatRequest]) -> list[list[int]]:
        return [self._captured.render(question) for question in questions]

    def ours(self, questions: Sequence[ChatRequest], concurrent: int) -> tuple[int, float]:
        """Output tokens and seconds of ``concurrent`` threads that ask one question at a time."""
        with ThreadPoolExecutor(concurrent) as pool:
            began = time.perf_counter()
            answers = list(pool.map(self._ask, questions))
            took = time.perf_counter() - began
        unusable = [answer.problem for answer in answers if answer.object is None]
        if unusable:
            raise RuntimeError(f"{len(unusable)} unusable answers, the first: {unusable[0]}")
        return sum(answer.usage.output_tokens for answer in answers), took

    def _ask(self, question: ChatRequest) -> ChatAnswer:
        return self._model.chat([question])[0]

    def bare(
        self, questions: Sequence[ChatRequest], prompts: Sequence[list[int]], concurrent: int
    ) -> tuple[int, float]:
        """Output tokens and seconds of as many tasks in the engine's own loop."""
        work = self._bare(list(zip(questions, prompts, strict=True)), concurrent)
        return asyncio.run_coroutine_threadsafe(work, self._captured.loop).result()

    async def _bare(
        self, questions: Sequence[tuple[ChatRequest, list[int]]], concurrent: int
    ) -> tuple[int, float]:
        left = iter(questions)
        began = time.perf_counter()
        counts = await asyncio.gather(*(self._work(left) for _ in range(concurrent)))
        return sum(counts), time.perf_counter() - began

    async def _work(self, left: Iterator[tuple[ChatRequest, list[int]]]) -> int:
        from vllm.inputs import tokens_input

        tokens = 0
        for request, prompt in left:
            how = sampling(request, seed=0)
            answers = self._captured.engine.generate(tokens_input(prompt), how, request.id)
            async for answer in answers:
                tokens += len(answer.outputs[0].token_ids)
        return tokens

    def close(self) -> None:
        self._model.close()


def measure(results: Results, n: int) -> None:
    """Up to three loads, then ``n`` rounds at each concurrency."""
    configure("warning", "console")
    polite(os.environ)
    options = small_options()
    loads = min(n, LOADS)
    for turn in range(loads):
        say(f"loading, {turn + 1} of {loads}")
        began = time.perf_counter()
        sides = Sides(options)
        results.add("load_s", time.perf_counter() - began, "s")
        if turn + 1 < loads:
            sides.close()
    try:
        sides.ours(_questions("warm", 2), 1)  # compiles the schema, fills the prefix cache
        for turn in range(n):
            say(f"round {turn + 1} of {n}")
            for concurrent in CONCURRENCY:
                _round(results, sides, turn, concurrent)
    finally:
        sides.close()


def _round(results: Results, sides: Sides, turn: int, concurrent: int) -> None:
    """One round: ours and bare by turns, each first as often as the other."""
    tokens, took = {"ours": 0, "bare": 0}, {"ours": 0.0, "bare": 0.0}
    for number, side in enumerate(ORDER):
        questions = _questions(f"{turn}/{concurrent}/{number // 2}", max(2, concurrent))
        prompts = sides.render(questions)
        if side == "ours":
            more, seconds = sides.ours(questions, concurrent)
        else:
            more, seconds = sides.bare(questions, prompts, concurrent)
        tokens[side] += more
        took[side] += seconds
    own, theirs = (tokens[side] / took[side] for side in ("ours", "bare"))
    results.add(f"tokens_per_s_{concurrent}", own, "tokens/s")
    results.add(f"bare_tokens_per_s_{concurrent}", theirs, "tokens/s")
    results.add(f"ratio_{concurrent}", own / theirs, "ours/bare")


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
