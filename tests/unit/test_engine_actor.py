"""An engine's actor as a plain object: who is charged what, who waits, and what "away" means."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sleep_runtime.actors import engine as engine_module
from sleep_runtime.actors.engine import EngineActor
from sleep_runtime.actors.whereabouts import Whereabouts
from sleep_runtime.core.errors import EngineUnavailable, PoolAway
from sleep_runtime.core.observation import Claim, NoteKind, Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest
from sleep_runtime.core.proposal import ClaimPair
from sleep_runtime.engines.llm import LlmEngine
from sleep_runtime.testing.embedder import HashEmbedder

VERDICT = {"reasoning": "both speak of the same", "verdict": "same"}


class Chat:
    """A model that answers together, once ``wanted`` callers are in it; it can be stopped."""

    name = "together"

    def __init__(self, wanted: int = 1) -> None:
        self.barrier = threading.Barrier(wanted)
        self.stopped = ""
        self.paused = self.loaded = False

    def load(self) -> None:
        self.loaded = True

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        if self.stopped:
            raise EngineUnavailable(self.stopped)
        self.barrier.wait(timeout=10)
        used = Usage(calls=1, input_tokens=10, output_tokens=2)
        return [ChatAnswer(object=VERDICT, usage=used) for _ in requests]

    def abort(self, reason: str) -> None:
        self.stopped = reason

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.stopped, self.paused = "", False


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """This process keeps its priority; the bounds the actor asked for are noted."""
    bounds: list[int | None] = []

    def lowered(most: int | None) -> str:
        bounds.append(most)
        return "SCHED_IDLE"

    monkeypatch.setattr(engine_module, "go_idle", lowered)
    monkeypatch.setattr(engine_module, "here", lambda: Whereabouts("n", "h", 1, "SCHED_IDLE"))
    return bounds


def pairs(count: int) -> list[ClaimPair]:
    def claim(number: int) -> Claim:
        return Claim(statement=f"rule {number}", kind=NoteKind.FACT)

    return [
        ClaimPair(key=f"pair-{number}", left=claim(number), right=claim(number + 1))
        for number in range(count)
    ]


def actor(chat: Any) -> Any:
    """Untyped, for Ray's marks on methods hide from types that they are plain ones."""
    return EngineActor(lambda: (LlmEngine(chat), HashEmbedder()), max_memory_bytes=7)


def test_it_is_lowered_and_bounded_first_and_loads_before_it_is_ready(
    here: list[int | None],
) -> None:
    chat = Chat()
    made = actor(chat)
    assert here == [7]
    assert chat.loaded
    assert made.ready().policy == "SCHED_IDLE"


def test_nights_side_by_side_are_each_charged_their_own() -> None:
    made = actor(Chat(wanted=3))
    used: dict[int, Usage] = {}

    def night(size: int) -> None:
        used[size] = made.compare(pairs(size))[1]

    nights = [threading.Thread(target=night, args=(size,)) for size in (1, 2, 3)]
    for one in nights:
        one.start()
    for one in nights:
        one.join(timeout=20)
    assert {size: cost.calls for size, cost in used.items()} == {1: 1, 2: 2, 3: 3}
    assert used[3].input_tokens == 30


def test_an_engine_that_was_told_to_stop_is_away_and_comes_back() -> None:
    chat = Chat()
    made = actor(chat)
    made.abort("live work waits for GPU 1")
    assert chat.paused
    with pytest.raises(PoolAway, match="live work waits for GPU 1"):
        made.compare(pairs(1))
    made.resume()
    assert made.compare(pairs(1))[1].calls == 1


def test_an_engine_that_breaks_by_itself_is_broken() -> None:
    chat = Chat()
    made = actor(chat)
    chat.stopped = "its process died"
    with pytest.raises(EngineUnavailable) as broken:
        made.compare(pairs(1))
    assert not isinstance(broken.value, PoolAway)


def test_an_engine_that_cannot_be_loaded_is_never_ready_and_says_why() -> None:
    class Missing(Chat):
        def load(self) -> None:
            raise EngineUnavailable("no such directory", field="engine.model", mend="check it")

    made = actor(Missing())  # of what a constructor raises Ray keeps the text of its traceback only
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=r"engine\.model: no such directory"):
            made.ready()
