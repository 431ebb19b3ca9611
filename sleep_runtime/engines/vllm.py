"""VllmChatModel: a writing model inside this process, batched over everybody who asks.

vLLM runs its model in processes of its own; here one thread holds the event loop that talks to
them. Callers of any number of threads meet in that loop: a question is in flight at most once, by
its id, and whoever asks the same one meanwhile gets the same answer.

    unloaded -- first question --> loaded -- died, hung, close --> unloaded
                                    |  ^
                                  pause  resume

What ends a batch ends it for its own caller only; questions that others wait for too go on.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sleep_runtime.core.errors import EngineUnavailable, InvalidConfig
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.answers import CUT_OFF, BatchLost, checked
from sleep_runtime.engines.async_llm import (
    Backend,
    Completion,
    EngineGone,
    Load,
    Refused,
    VllmOptions,
    load,
)
from sleep_runtime.engines.breaker import Breaker
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

_GRACE_S = 10.0
_MODEL = "engine.model"
log = get_logger(__name__)
Result = TypeVar("Result")


class _Stopped(BatchLost):
    """The engine was told to stop: not a failure of the engine."""


@dataclass(eq=False)
class _Question:
    """One question in flight. ``waiters`` counts the batches it belongs to."""

    key: str
    request: ChatRequest
    prompt: list[int]
    answer: asyncio.Future[ChatAnswer]
    task: asyncio.Task[None] = field(init=False)
    waiters: int = 0

    def settle(self, outcome: ChatAnswer | BaseException) -> None:
        """Tell those who wait, once; a later outcome is nobody's."""
        if self.answer.done():
            return
        if isinstance(outcome, ChatAnswer):
            self.answer.set_result(outcome)
            return
        self.answer.set_exception(outcome)
        self.answer.exception()  # seen, even when nobody waits any more


@dataclass
class GpuMeter:
    """Shares time between those who use the engine. Only the event loop touches it.

    Every second is worth ``gpus`` and is split evenly among the questions in flight.
    """

    gpus: int
    busy: int = 0
    _share: float = 0.0
    _at_s: float = 0.0

    def enter(self, now_s: float) -> float:
        """A question begins; what ``leave`` wants back."""
        self._advance(now_s)
        self.busy += 1
        return self._share

    def leave(self, entered: float, now_s: float) -> float:
        """A question ends; its GPU-seconds."""
        self._advance(now_s)
        self.busy -= 1
        return self._share - entered

    def _advance(self, now_s: float) -> None:
        if self.busy:
            self._share += (now_s - self._at_s) * self.gpus / self.busy
        self._at_s = now_s


class _Engine:
    """A loaded backend, and what is in flight in it. Everything here runs in the event loop."""

    def __init__(
        self, backend: Backend, *, timeout_s: float, slots: int, monotonic: Callable[[], float]
    ) -> None:
        self.backend = backend
        self.gone = False
        self.asleep = False
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(slots)
        self._monotonic = monotonic
        self._meter = GpuMeter(backend.gpus)
        self._flying: dict[str, _Question] = {}
        self._answered_s = 0.0
        backend.watch(self._died)

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    async def ask(self, batch: Sequence[tuple[ChatRequest, list[int]]]) -> list[ChatAnswer]:
        """The answers of one batch, in order. Raises what ends it, as ``BatchLost``."""
        questions = [self._join(request, prompt) for request, prompt in batch]
        answers = {question.answer for question in questions}
        try:
            await asyncio.wait(answers, return_when=asyncio.FIRST_EXCEPTION)
            error = next((e for e in map(_error, answers) if e is not None), None)
            if error is None:
                return [question.answer.result() for question in questions]
            raise _lost(error, answers) from error
        finally:
            self._leave(questions)

    def _join(self, request: ChatRequest, prompt: list[int]) -> _Question:
        question = self._flying.get(request.id)
        if question is None or question.answer.done() or question.request != request:
            question = self._begin(request, prompt)
        question.waiters += 1
        return question

    def _begin(self, request: ChatRequest, prompt: list[int]) -> _Question:
        key, other = request.id, 1
        while key in self._flying:  # on its way out, or another question under this id
            key, other = f"{request.id}#{other}", other + 1
        question = _Question(key, request, prompt, asyncio.get_running_loop().create_future())
        self._flying[key] = question
        question.task = asyncio.ensure_future(self._work(question))
        question.task.add_done_callback(lambda _: self._flying.pop(key, None))
        return question

    def _leave(self, questions: Sequence[_Question]) -> None:
        for question in questions:
            question.waiters -= 1
            if question.waiters == 0 and not question.answer.done():
                question.settle(_Stopped("nobody waits for the answer any more"))
                question.task.cancel()

    def stop(self, error: EngineUnavailable) -> int:
        """End everything in flight with ``error``; how many questions that were."""
        flying = [one for one in self._flying.values() if not one.answer.done()]
        for question in flying:
            question.settle(error)
            question.task.cancel()
        return len(flying)

    def _died(self) -> None:
        self.gone = True
        self.stop(_gone(EngineGone("its process has died")))

    async def _work(self, question: _Question) -> None:
        try:
            async with self._slots:
                question.settle(await self._answer_now(question))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            question.settle(error)

    async def _answer_now(self, question: _Question) -> ChatAnswer:
        request, asked_s = question.request, self._monotonic()
        entered = self._meter.enter(asked_s)
        said: Completion | str
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await self.backend.generate(request, question.prompt, question.key)
        except Refused as refusal:
            said = str(refusal)
        except EngineGone as gone:
            self.gone = True
            raise _gone(gone) from gone
        except TimeoutError:
            raise self._too_slow(asked_s) from None
        finally:
            now_s = self._monotonic()
            gpu_seconds = self._meter.leave(entered, now_s)
        self._answered_s = now_s
        if isinstance(said, str):
            return ChatAnswer(problem=said, usage=Usage(calls=1, gpu_seconds=gpu_seconds))
        return _answer(said, request, gpu_seconds)

    def _too_slow(self, asked_s: float) -> EngineUnavailable:
        """An engine that answered nobody meanwhile hangs; another is just slow."""
        if self._answered_s < asked_s:
            self.gone = True
            return EngineUnavailable(
                f"the engine hangs: no answer to anything within {self._timeout_s:g} s",
                field="engine.timeout_s",
                mend="it is loaded anew; raise engine.timeout_s if it only needs longer",
            )
        return EngineUnavailable(
            f"no answer within {self._timeout_s:g} s, while others were answered",
            field="engine.timeout_s",
            mend="raise it, or lower engine.vllm.max_num_seqs or engine.max_output_tokens",
        )


def _gone(cause: EngineGone) -> EngineUnavailable:
    return EngineUnavailable(
        f"the engine is gone: {cause}",
        field=_MODEL,
        mend="it is loaded anew at the next question; its log has the cause",
    )


def _error(answer: asyncio.Future[ChatAnswer]) -> BaseException | None:
    return answer.exception() if answer.done() else None


def _lost(error: BaseException, answers: set[asyncio.Future[ChatAnswer]]) -> BaseException:
    """What ends a batch, with what it had cost until then."""
    if not isinstance(error, EngineUnavailable):
        return error
    answered = [one.result() for one in answers if one.done() and _error(one) is None]
    usage = sum((answer.usage for answer in answered), Usage())
    kind = _Stopped if isinstance(error, _Stopped) else BatchLost
    return kind(error.reason, field=error.field, mend=error.mend, usage=usage)


class VllmChatModel:
    """A ``ChatModel`` over vLLM in this process. Thread-safe: all callers share one batch.

    Loads at the first question, or at ``load``; loads anew after the engine died. One answer takes
    ``timeout_s`` at most once it is among the ``max_num_seqs`` that run at a time, so a batch of n
    ends within ``timeout_s`` x (what is before it + n) / ``max_num_seqs``, rounded up, and loading.

    ``chat`` raises ``EngineUnavailable``: not loaded, died, hung, aborted, paused or closed.
    ``load_backend``, ``breaker`` and ``monotonic`` are for tests.
    """

    def __init__(
        self,
        options: VllmOptions,
        *,
        timeout_s: float = 60.0,
        load_backend: Load = load,
        breaker: Breaker | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not options.model.strip():
            mend = "give a directory with the weights, or a model id"
            raise InvalidConfig("is empty", field=_MODEL, mend=mend)
        self._options = options
        self._timeout_s = timeout_s
        self._load_backend = load_backend
        self._breaker = breaker or Breaker(monotonic=monotonic)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._engine: Future[_Engine] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paused = self._closed = False

    def __repr__(self) -> str:
        return f"VllmChatModel(model={self._options.model!r})"

    @property
    def name(self) -> str:
        return self._options.model

    @property
    def in_flight(self) -> int:
        """Questions the engine works on or that wait for a place in it."""
        engine = self._loaded()
        return engine.in_flight if engine else 0

    def load(self) -> None:
        """Load now what the first question would load. Raises ``EngineUnavailable``."""
        with self._breaker.guard():
            self._ready()

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """One answer for each request, in order. Raises ``EngineUnavailable``, see the class.

        Questions with the same id are the same question: both get the one answer, each with the
        whole of its cost.
        """
        if not requests:
            return []
        self._check_open()
        with self._breaker.guard():
            answers = self._chat(requests)
        if isinstance(answers, _Stopped):
            raise answers
        return answers

    def abort(self, reason: str = "aborted") -> int:
        """Take everything in flight out of the engine; its callers get ``reason``.

        Returns how many questions that were. The engine stays loaded and takes new ones.
        """
        engine = self._loaded()
        if engine is None:
            return 0
        error = _Stopped(reason, field="engine", mend="ask again later")
        return self._run(_soon(lambda: engine.stop(error)), _GRACE_S)

    def pause(self) -> bool:
        """Abort, refuse questions, and give the engine's memory back without ending it.

        Returns False and does nothing where that cannot be: on a CPU, or with
        ``engine.vllm.sleep_level`` 0. Then ``abort`` and ``close`` are what there is.
        """
        engine = self._loaded()
        if engine is None or not engine.backend.can_sleep:
            log.warning(LogEvent.ENGINE_NO_SLEEP, model=self.name, loaded=engine is not None)
            return False
        self._paused = True
        self.abort("the engine is paused")
        self._run(engine.backend.sleep(), self._timeout_s)
        engine.asleep = True
        return True

    def resume(self) -> None:
        """Take the memory back and answer again. Does nothing when not paused."""
        engine = self._loaded()
        if engine is not None and engine.asleep:
            self._run(engine.backend.wake(), self._options.load_timeout_s)
            engine.asleep = False
        self._paused = False

    def close(self) -> None:
        """End the engine and its processes; callers get ``EngineUnavailable``. For good."""
        self._closed = True
        self.abort("the engine is closed")
        self._discard(self._loaded())
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    # -- one batch, in the caller's thread

    def _check_open(self) -> None:
        if self._closed or self._paused:
            state = "closed" if self._closed else "paused"
            raise _Stopped(f"the engine is {state}", field="engine", mend="ask again later")

    def _chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer] | _Stopped:
        engine = self._ready()
        if engine.gone:  # it died while nobody asked
            self._discard(engine)
            engine = self._ready()
        refused, batch = dict[int, ChatAnswer](), list[tuple[ChatRequest, list[int]]]()
        for place, request in enumerate(requests):
            try:
                batch.append((request, engine.backend.render(request)))
            except Refused as refusal:
                refused[place] = ChatAnswer(problem=str(refusal), usage=Usage(calls=1))
        try:
            answers = iter(self._asked(engine, batch))
        except _Stopped as stopped:
            return stopped
        except EngineUnavailable:
            if engine.gone:
                self._discard(engine)
            raise
        return [refused.get(place) or next(answers) for place in range(len(requests))]

    def _asked(
        self, engine: _Engine, batch: Sequence[tuple[ChatRequest, list[int]]]
    ) -> list[ChatAnswer]:
        if not batch:
            return []
        waves = math.ceil((engine.in_flight + len(batch)) / self._options.max_num_seqs)
        return self._run(engine.ask(batch), self._timeout_s * (waves + 1))

    # -- the engine and its loop

    def _loaded(self) -> _Engine | None:
        with self._lock:
            future = self._engine
        if future is None or not future.done() or future.exception() is not None:
            return None
        return future.result()

    def _ready(self) -> _Engine:
        """The engine; loads it, or waits for the thread that does."""
        with self._lock:
            mine = self._engine is None
            if self._engine is None:
                self._engine = Future()
            future = self._engine
        if mine:
            self._load(future)
        try:
            return future.result(self._options.load_timeout_s + 2 * _GRACE_S)
        except FutureTimeout:
            raise EngineUnavailable(
                "is still loading", field=_MODEL, mend="raise engine.vllm.load_timeout_s"
            ) from None

    def _load(self, future: Future[_Engine]) -> None:
        started = self._monotonic()
        try:
            backend = self._load_backend(self._options)
            engine = self._run(_soon(lambda: self._made(backend)), _GRACE_S)
        except BaseException as error:
            with self._lock:
                self._engine = None
            future.set_exception(error)
            if not isinstance(error, EngineUnavailable):
                raise
            return
        seconds = round(self._monotonic() - started, 2)
        log.info(LogEvent.ENGINE_LOADED, model=self.name, seconds=seconds)
        future.set_result(engine)
        if self._closed:  # while it was loading
            self._discard(engine)

    def _made(self, backend: Backend) -> _Engine:
        return _Engine(
            backend,
            timeout_s=self._timeout_s,
            slots=self._options.max_num_seqs,
            monotonic=self._monotonic,
        )

    def _discard(self, engine: _Engine | None) -> None:
        """End this engine, once; the next question loads another."""
        if engine is None:
            return
        with self._lock:
            current = self._engine
            if current is None or not current.done() or current.exception() is not None:
                return
            if current.result() is not engine:
                return
            self._engine = None
        error = EngineUnavailable("the engine was ended", field="engine", mend="ask again later")
        self._run(_soon(lambda: engine.stop(error)), _GRACE_S)
        engine.backend.shutdown()

    def _run(self, work: Coroutine[Any, Any, Result], limit_s: float) -> Result:
        """Run ``work`` in the event loop and wait for it, so long at most."""
        future = asyncio.run_coroutine_threadsafe(work, self._running_loop())
        try:
            return future.result(limit_s + _GRACE_S)
        except FutureTimeout:
            future.cancel()
            raise EngineUnavailable(
                f"no answer within {limit_s:g} s",
                field="engine.timeout_s",
                mend="raise engine.timeout_s, or see the engine's log",
            ) from None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_turn, args=(self._loop,), name="vllm-loop", daemon=True
                ).start()
            return self._loop


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_GRACE_S))
        loop.close()


async def _soon(work: Callable[[], Result]) -> Result:
    return work()


def _answer(said: Completion, request: ChatRequest, gpu_seconds: float) -> ChatAnswer:
    usage = Usage(
        calls=1,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cached_tokens=said.cached_tokens,
        gpu_seconds=gpu_seconds,
    )
    if said.cut_off:
        return ChatAnswer(problem=CUT_OFF, usage=usage)
    return checked(said.text, request, usage)
