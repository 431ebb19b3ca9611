"""VllmChatModel over a double of the engine: what the real one cannot be made to show at will.

Nothing here sleeps to hit a moment: the double waits until the test lets it go on.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sleep_runtime.config import VllmSettings
from sleep_runtime.core.errors import EngineUnavailable, InvalidConfig
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.engines.answers import BatchLost
from sleep_runtime.engines.async_llm import (
    Completion,
    EngineGone,
    Refused,
    VllmOptions,
    folded,
    load,
    plain,
)
from sleep_runtime.engines.breaker import Backoff, Breaker
from sleep_runtime.engines.vllm import GpuMeter, VllmChatModel
from sleep_runtime.testing.contracts.chat import GOOD, question

WAIT_S = 10.0
TEXT = json.dumps(GOOD)


class Double:
    """An engine in this process: answers what ``say`` gives, when ``go`` is set."""

    def __init__(self, say: Callable[[ChatRequest], str | Exception] = lambda _: TEXT) -> None:
        self.say = say
        self.gpus, self.can_sleep = 0, False
        self.go = threading.Event()
        self.go.set()
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.begun = threading.Semaphore(0)
        self.shut = 0
        self.slept: list[str] = []
        self.die: Callable[[], object] = lambda: None

    def watch(self, died: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.die = lambda: loop.call_soon_threadsafe(died)

    def render(self, request: ChatRequest) -> list[int]:
        if not request.messages[0][1]:
            raise Refused("an empty question")
        return [len(content) for _, content in request.messages]

    async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
        self.asked.append(key)
        self.begun.release()
        try:
            while not self.go.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        said = self.say(request)
        if isinstance(said, Exception):
            raise said
        return Completion(said, "cut" in key, len(prompt), len(said), 0)

    def wait_for(self, questions: int) -> None:
        for _ in range(questions):
            assert self.begun.acquire(timeout=WAIT_S)

    async def sleep(self) -> None:
        self.slept.append("sleep")

    async def wake(self) -> None:
        self.slept.append("wake")

    def shutdown(self) -> None:
        self.shut += 1


class Models:
    """Makes models over doubles and closes them. ``loads`` counts how often one was loaded."""

    def __init__(self) -> None:
        self.made: list[VllmChatModel] = []
        self.pool = ThreadPoolExecutor(16)
        self.loads = 0

    def __call__(self, *doubles: Double, timeout_s: float = 60.0, **options: Any) -> VllmChatModel:
        left = list(doubles)

        def next_one(_: VllmOptions) -> Double:
            self.loads += 1
            return left.pop(0) if len(left) > 1 else left[0]

        model = VllmChatModel(
            VllmOptions("tiny", **options),
            timeout_s=timeout_s,
            load_backend=next_one,
            breaker=Breaker(threshold=100),
        )
        self.made.append(model)
        return model

    def ask(self, model: VllmChatModel, *requests: ChatRequest) -> Future[list[ChatAnswer]]:
        return self.pool.submit(model.chat, requests)


@pytest.fixture
def models() -> Iterator[Models]:
    found = Models()
    yield found
    for model in found.made:
        model.close()
    found.pool.shutdown()


def failure(asked: Future[list[ChatAnswer]]) -> EngineUnavailable:
    with pytest.raises(EngineUnavailable) as caught:
        asked.result(WAIT_S)
    return caught.value


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_a_question_in_flight_is_joined_not_asked_again(models: Models) -> None:
    double = Double()
    double.go.clear()
    model = models(double)
    first = models.ask(model, question("a"), question("b"))
    double.wait_for(2)
    second = models.ask(model, question("b"), question("c"))
    double.wait_for(1)
    double.go.set()
    assert first.result(WAIT_S)[1] == second.result(WAIT_S)[0]
    assert sorted(double.asked) == ["a", "b", "c"]


def test_another_question_under_the_same_id_is_another_question(models: Models) -> None:
    double = Double(lambda request: json.dumps({**GOOD, "reasoning": request.messages[0][1]}))
    double.go.clear()
    model = models(double)
    other = question("b").model_copy(update={"id": "a"})
    first, second = models.ask(model, question("a")), models.ask(model, other)
    double.wait_for(2)
    double.go.set()
    said = [each.result(WAIT_S)[0].object for each in (first, second)]
    assert [found and found["reasoning"] for found in said] == ["a", "b"]
    assert len(set(double.asked)) == 2


def test_the_same_question_after_its_answer_is_asked_anew(models: Models) -> None:
    double = Double()
    model = models(double)
    model.chat([question("a")])
    model.chat([question("a")])
    assert double.asked == ["a", "a"]
    assert models.loads == 1


def test_batches_of_many_threads_are_in_the_engine_together(models: Models) -> None:
    double = Double()
    double.go.clear()
    model = models(double)
    asked = [models.ask(model, question(f"{n}")) for n in range(8)]
    double.wait_for(8)
    assert model.in_flight == 8
    double.go.set()
    assert all(each.result(WAIT_S)[0].object == GOOD for each in asked)


def test_no_more_than_max_num_seqs_are_in_the_engine(models: Models) -> None:
    double = Double()
    double.go.clear()
    model = models(double, max_num_seqs=3)
    asked = models.ask(model, *(question(f"{n}") for n in range(10)))
    double.wait_for(3)
    assert (len(double.asked), model.in_flight) == (3, 10)
    double.go.set()
    assert len(asked.result(WAIT_S)) == 10


def test_what_was_cut_off_or_refused_is_a_problem_in_its_place(models: Models) -> None:
    def say(request: ChatRequest) -> str | Exception:
        return Refused("too long") if request.id == "long" else TEXT

    answers = models(Double(say)).chat(
        [question("good"), question("cut"), question("long"), question(""), question("fine")]
    )
    assert [answer.problem for answer in answers] == [
        "", "cut off at the output limit", "too long", "an empty question", "",
    ]  # fmt: skip
    assert all(answer.usage.calls == 1 for answer in answers)


def test_abort_takes_everything_out_and_tells_every_caller_why(models: Models) -> None:
    double = Double()
    double.go.clear()
    model = models(double, max_num_seqs=2)
    asked = [models.ask(model, question("a"), question("b")), models.ask(model, question("c"))]
    double.wait_for(2)
    until(lambda: model.in_flight == 3)
    assert model.abort("live inference wants the GPU") == 3
    for each in asked:
        assert failure(each).reason == "live inference wants the GPU"
    until(lambda: model.in_flight == 0)
    assert sorted(double.cancelled) == sorted(double.asked)
    double.go.set()
    assert model.chat([question("a")])[0].object == GOOD
    assert models.loads == 1


def test_being_aborted_does_not_open_the_breaker() -> None:
    double, breaker = Double(), Breaker(threshold=1)
    double.go.clear()
    model = VllmChatModel(VllmOptions("tiny"), load_backend=lambda _: double, breaker=breaker)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(model.chat, [question("a")])
        double.wait_for(1)
        model.abort()
        failure(asked)
    assert breaker.state.failures == 0
    model.close()


def test_an_engine_that_dies_is_ended_and_loaded_anew(models: Models) -> None:
    dead, fresh = Double(lambda _: EngineGone("its process has died")), Double()
    model = models(dead, fresh)
    error = failure(models.ask(model, question("a"), question("b")))
    assert "its process has died" in error.reason
    assert error.field == "engine.model"
    assert dead.shut == 1
    assert model.chat([question("a")])[0].object == GOOD
    assert models.loads == 2


def test_a_process_that_dies_fails_those_who_wait_at_once(models: Models) -> None:
    dying, fresh = Double(), Double()
    dying.go.clear()
    model = models(dying, fresh)
    asked = models.ask(model, question("a"))
    dying.wait_for(1)
    dying.die()
    assert "its process has died" in failure(asked).reason
    assert dying.shut == 1
    assert model.chat([question("a")])[0].object == GOOD


def test_an_engine_that_died_while_nobody_asked_is_loaded_anew(models: Models) -> None:
    dying, fresh = Double(), Double()
    model = models(dying, fresh)
    model.load()
    dying.die()
    assert model.abort() == 0  # goes through the loop, after the news
    assert model.chat([question("a")])[0].object == GOOD
    assert (dying.shut, fresh.asked) == (1, ["a"])


def test_an_engine_that_hangs_is_ended_and_loaded_anew(models: Models) -> None:
    hung, fresh = Double(), Double()
    hung.go.clear()
    model = models(hung, fresh, timeout_s=0.05)
    error = failure(models.ask(model, question("a")))
    assert error.field == "engine.timeout_s"
    assert "hangs" in error.reason
    assert (hung.cancelled, hung.shut) == (["a"], 1)
    assert model.chat([question("a")])[0].object == GOOD


def test_a_question_that_is_slow_among_others_leaves_the_engine_standing(models: Models) -> None:
    class Slow(Double):
        async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
            if key == "slow":
                self.begun.release()
                await asyncio.Event().wait()
            return await super().generate(request, prompt, key)

    slow = Slow()
    model = models(slow, timeout_s=0.5)
    asked = models.ask(model, question("slow"))
    slow.wait_for(1)
    model.chat([question("quick")])
    error = failure(asked)
    assert "while others were answered" in error.reason
    assert slow.shut == 0
    assert model.chat([question("quick")])[0].object == GOOD
    assert models.loads == 1


def test_what_a_lost_batch_had_cost_is_told(models: Models) -> None:
    def say(request: ChatRequest) -> str | Exception:
        return EngineGone("died") if request.id == "bad" else TEXT

    model = models(Double(say), max_num_seqs=1)
    error = failure(models.ask(model, question("a"), question("b"), question("bad")))
    assert isinstance(error, BatchLost)
    assert error.usage.calls == 2


def test_a_lost_batch_takes_its_other_questions_out_but_not_those_others_wait_for(
    models: Models,
) -> None:
    class Mixed(Double):
        async def generate(self, request: ChatRequest, prompt: list[int], key: str) -> Completion:
            if key == "late":
                self.begun.release()
                await asyncio.Event().wait()
            return await super().generate(request, prompt, key)

    double = Mixed()
    double.go.clear()
    model = models(double, timeout_s=1.0)
    lost = models.ask(model, question("late"))
    double.wait_for(1)
    mine = models.ask(model, question("late"), question("mine"), question("shared"))
    double.wait_for(2)
    other = models.ask(model, question("shared"), question("quick"))
    double.wait_for(1)
    double.go.set()
    assert [answer.object for answer in other.result(WAIT_S)] == [GOOD, GOOD]
    assert "engine.timeout_s" in {failure(lost).field, failure(mine).field}


def test_loading_that_fails_fails_all_who_wait_and_is_tried_again() -> None:
    loading, let_go, tries = threading.Event(), threading.Event(), list[int]()

    def fail_once(_: VllmOptions) -> Double:
        tries.append(1)
        if len(tries) > 1:
            return Double()
        loading.set()
        assert let_go.wait(WAIT_S)
        raise EngineUnavailable("no such thing", field="engine.model", mend="give another")

    model = VllmChatModel(VllmOptions("tiny"), load_backend=fail_once, breaker=Breaker(threshold=9))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(model.chat, [question("a")])
        assert loading.wait(WAIT_S)
        assert model.in_flight == 0
        let_go.set()
        assert failure(first).field == "engine.model"
        assert model.chat([question("a")])[0].object == GOOD
    assert len(tries) == 2
    model.close()


def test_an_engine_that_never_loads_is_not_tried_without_end() -> None:
    tries: list[int] = []

    def fail(_: VllmOptions) -> Double:
        tries.append(1)
        raise EngineUnavailable("no such thing", field="engine.model", mend="give another")

    breaker = Breaker(threshold=3, backoff=Backoff(first_s=60))
    model = VllmChatModel(VllmOptions("tiny"), load_backend=fail, breaker=breaker)
    for _ in range(20):
        with pytest.raises(EngineUnavailable, match="no such thing"):
            model.chat([question("a")])
    assert len(tries) == 3
    model.close()


def test_pause_frees_the_memory_refuses_questions_and_resume_takes_them_again(
    models: Models,
) -> None:
    double = Double()
    double.can_sleep = True
    model = models(double)
    model.load()
    double.go.clear()
    asked = models.ask(model, question("a"))
    double.wait_for(1)
    assert model.pause()
    assert "paused" in failure(asked).reason
    with pytest.raises(EngineUnavailable, match="paused"):
        model.chat([question("a")])
    double.go.set()
    model.resume()
    assert model.chat([question("a")])[0].object == GOOD
    assert double.slept == ["sleep", "wake"]


def test_an_engine_that_cannot_sleep_says_so_and_goes_on(models: Models) -> None:
    model = models(Double())
    assert model.pause() is False
    model.load()
    assert model.pause() is False
    assert model.chat([question("a")])[0].object == GOOD


def test_close_ends_the_engine_and_its_callers_for_good(models: Models) -> None:
    double = Double()
    double.go.clear()
    model = models(double)
    asked = models.ask(model, question("a"))
    double.wait_for(1)
    model.close()
    model.close()
    assert "closed" in failure(asked).reason
    assert double.shut == 1
    with pytest.raises(EngineUnavailable, match="closed"):
        model.chat([question("a")])


def test_gpu_seconds_are_shared_among_those_who_wait() -> None:
    meter = GpuMeter(gpus=2)
    first = meter.enter(10.0)
    second = meter.enter(11.0)
    assert meter.leave(first, 13.0) == pytest.approx(2 + 2)
    assert meter.leave(second, 14.0) == pytest.approx(2 + 2)
    third = meter.enter(20.0)  # nobody pays for the time in between
    assert meter.leave(third, 21.0) == pytest.approx(2)


def test_a_model_has_to_be_named() -> None:
    with pytest.raises(InvalidConfig, match=r"engine\.model"):
        VllmChatModel(VllmOptions(" "))


def test_the_settings_are_the_options() -> None:
    settings = VllmSettings()
    assert VllmOptions("tiny", **settings.model_dump()) == VllmOptions("tiny")


# ---------------------------------------------------------------------------- loading, rendering


def test_without_vllm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable) as caught:
        load(VllmOptions("tiny"))
    assert caught.value.field == "engine.kind"
    assert "sleep-runtime[gpu]" in caught.value.mend


@pytest.mark.parametrize(
    ("model", "reason"), [("/nowhere/model", "no directory"), ("{tmp}", "no config.json")]
)
def test_a_path_without_a_model_is_refused_before_anything_is_loaded(
    model: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(EngineUnavailable, match=reason) as caught:
        load(VllmOptions(model.format(tmp=tmp_path)))
    assert caught.value.field == "engine.model"
    assert caught.value.mend


def test_a_model_without_a_chat_template_reads_headings() -> None:
    said = plain((("system", "Be brief."), ("user", "Hello?")))
    assert said == "### system\nBe brief.\n\n### user\nHello?\n\n### assistant\n"


def test_a_template_without_a_system_role_gets_the_text_in_the_first_turn() -> None:
    found = folded([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    assert found == [{"role": "user", "content": "S\n\nU"}]
    assert folded([{"role": "system", "content": "S"}]) == [{"role": "user", "content": "S"}]
