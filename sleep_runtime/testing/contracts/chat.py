"""What every ``ChatModel`` promises. Subclass in a test and give it a ``make`` fixture."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.ports import ChatModel, ChatRequest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string", "maxLength": 40},
        "verdict": {"type": "string", "enum": ["yes", "no"]},
        "items": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "integer", "minimum": 0},
        },
    },
    "required": ["reasoning", "verdict", "items"],
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {"reasoning": "because", "verdict": "yes", "items": [1]}
BAD: tuple[dict[str, Any], ...] = (
    {},
    {**GOOD, "extra": 1},
    {**GOOD, "reasoning": "x" * 41},
    {**GOOD, "reasoning": None},
    {**GOOD, "reasoning": "lone \ud800 surrogate"},
    {**GOOD, "verdict": "maybe"},
    {**GOOD, "items": [1, 2, 3]},
    {**GOOD, "items": [-1]},
    {**GOOD, "items": [True]},
    {**GOOD, "items": {"0": 1}},
)

Script: TypeAlias = Callable[[ChatRequest], dict[str, Any]]
"""What the model says to a question; raises ``ConnectionError`` when it cannot be reached."""
Make: TypeAlias = Callable[[Script], ChatModel]
"""Builds the model under test, so that it answers by a script."""


def question(name: str) -> ChatRequest:
    """A question in ``SCHEMA`` that a script knows by its name."""
    return ChatRequest(
        id=name, messages=(("user", name),), json_schema=SCHEMA, max_output_tokens=100
    )


def asked(request: ChatRequest) -> str:
    """The name that ``question`` gave this request, however the model wrapped it."""
    return request.messages[-1][1]


class ChatModelContract:
    """Run by pytest in a subclass named ``Test...`` that has a ``make`` fixture."""

    def test_answers_come_in_the_order_of_the_questions(self, make: Make) -> None:
        model = make(lambda request: {**GOOD, "reasoning": asked(request)})
        names = [f"question {number}" for number in range(25)]
        answers = model.chat([question(name) for name in names])
        assert [answer.object and answer.object["reasoning"] for answer in answers] == names

    def test_no_questions_give_no_answers(self, make: Make) -> None:
        assert make(_unreachable).chat([]) == []

    def test_an_object_outside_the_schema_is_a_problem_in_its_place(self, make: Make) -> None:
        said = [GOOD, *BAD, GOOD]
        model = make(lambda request: said[int(asked(request))])
        answers = model.chat([question(str(number)) for number in range(len(said))])
        assert [answer.object is None for answer in answers] == [False, *(True for _ in BAD), False]
        for answer in answers:
            assert (answer.object is None) == bool(answer.problem)

    def test_every_answer_costs_a_call_the_bad_ones_too(self, make: Make) -> None:
        answers = make(lambda _: {"bad": True}).chat([question("a"), question("b")])
        assert all(answer.usage.calls >= 1 for answer in answers)

    def test_a_model_out_of_reach_says_what_why_and_the_mend(self, make: Make) -> None:
        model = make(_unreachable)
        error = _refusal(model)
        assert error is not None
        assert error.field.startswith("engine.")
        assert error.reason
        assert error.mend

    def test_batches_of_many_threads_do_not_mix(self, make: Make) -> None:
        model = make(lambda request: {**GOOD, "reasoning": asked(request)})

        def ask(thread: int) -> bool:
            names = [f"{thread}/{number}" for number in range(5)]
            answers = model.chat([question(name) for name in names])
            return [answer.object and answer.object["reasoning"] for answer in answers] == names

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(8)))

    def test_the_model_has_a_stable_name(self, make: Make) -> None:
        model = make(lambda _: GOOD)
        before = model.name
        model.chat([question("a")])
        assert before
        assert model.name == before


def _unreachable(_: ChatRequest) -> dict[str, Any]:
    raise ConnectionError("scripted: out of reach")


def _refusal(model: ChatModel) -> EngineUnavailable | None:
    try:
        model.chat([question("a")])
    except EngineUnavailable as error:
        return error
    return None
