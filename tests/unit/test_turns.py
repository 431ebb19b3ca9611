"""What a person means by a turn: how long it holds, in which words, and on which evidence."""

from __future__ import annotations

import pytest
from turn_cases import (
    CHANGE,
    LISTS,
    NOT_SAID_TO_LAST,
    NOTHING,
    ONE_OFF,
    PASTED,
    SPREAD,
    STANDING,
    WITHDRAWN,
)

from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.observation import Durability
from sleep_runtime.engines.text.statement import MAX_WORDS
from sleep_runtime.engines.text.turns import Said, said_in
from sleep_runtime.testing.contracts.engine import turn

Cases = tuple[tuple[bool, str], ...]

CORRECTION, MESSAGE = EventKind.CORRECTION, EventKind.MESSAGE
LASTING = "From now on lab values go in SI units."


def said(*texts: str, kind: EventKind = CORRECTION) -> list[Said]:
    """What is taken from these turns of one person, e0 the first."""
    return said_in([turn(text, event_id=f"e{n}", kind=kind) for n, text in enumerate(texts)])


def statements(found: list[Said]) -> tuple[str, ...]:
    return tuple(item.lesson.claim.statement for item in found)


def durabilities(found: list[Said]) -> list[Durability]:
    return [item.lesson.durability for item in found]


# ---------------------------------------------------------------------------- one turn


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (STANDING, [Durability.STANDING]),
        (CHANGE, [Durability.STANDING]),
        (NOT_SAID_TO_LAST, [Durability.UNCLEAR]),
        (ONE_OFF, [Durability.ONE_OFF]),
        (WITHDRAWN, [Durability.WITHDRAWN]),
        (NOTHING, []),
    ],
    ids=["standing", "change", "not said to last", "one-off", "withdrawn", "nothing"],
)
def test_a_turn_is_taken_for_what_it_means(cases: Cases, expected: list[Durability]) -> None:
    for correction, text in cases:
        found = said(text, kind=CORRECTION if correction else MESSAGE)
        assert durabilities(found) == expected, (text, statements(found))


def test_a_lesson_keeps_the_persons_own_words() -> None:
    for _, text in (*STANDING, *CHANGE, *NOT_SAID_TO_LAST):
        for item in said(text):
            assert set(item.lesson.claim.statement.strip(".").split()) <= set(
                text.strip(".").split()
            )
            assert item.lesson.why


@pytest.mark.parametrize(("text", "own"), PASTED)
def test_what_is_pasted_beside_a_sentence_is_nobodys_word(text: str, own: str) -> None:
    found = said(text, kind=MESSAGE)
    assert statements(found) == (own,)
    assert durabilities(found) == [Durability.STANDING]


@pytest.mark.parametrize(("text", "rules"), LISTS)
def test_several_rules_in_one_turn_are_several_lessons(text: str, rules: tuple[str, ...]) -> None:
    found = said(text, kind=MESSAGE)
    assert statements(found) == rules
    assert {item.evidence for item in found} == {("e0",)}


def test_a_reason_beside_a_rule_makes_no_second_lesson() -> None:
    reason = "Use the landscape template for the floor plans. The printer cuts the others off."
    assert len(said(reason)) == 1
    assert len(said("Totals go in the footer, and that is all I ask for today, thanks")) <= 1


def test_facets_go_into_the_words_that_must_stand_alone() -> None:
    (item,) = said_in([turn("lab values in SI units", about={"clinic": "harbour"})])
    assert item.lesson.claim.statement == "harbour: lab values in SI units"
    assert item.lesson.claim.about == {"clinic": "harbour"}


# ---------------------------------------------------------------------------- long turns

STORY = "The meeting ran on for most of the afternoon and I took the minutes by hand. "


def test_a_rule_is_found_in_a_long_turn() -> None:
    found = said(f"{STORY * 3}\nFrom now on the minutes list the decisions first.\n{STORY * 3}")
    lasting = [item for item in found if item.lesson.durability is Durability.STANDING]
    assert [text.strip(".") for text in statements(lasting)] == [
        "From now on the minutes list the decisions first"
    ]
    assert all(len(item.lesson.claim.statement.split()) <= MAX_WORDS for item in found)


def test_a_pasted_document_teaches_nothing() -> None:
    assert said(STORY * 60) == []
    assert said(LASTING + "\n\n" + STORY * 60, kind=MESSAGE) == []


# ---------------------------------------------------------------------------- two turns


@pytest.mark.parametrize(("rejection", "answer"), SPREAD)
def test_a_correction_over_two_turns_is_one_lesson_on_both(rejection: str, answer: str) -> None:
    (item,) = said(rejection, answer)
    assert item.evidence == ("e0", "e1")
    assert answer.strip(".") in item.lesson.claim.statement


def test_thanks_between_the_two_turns_do_not_part_them() -> None:
    (item,) = said("no, not that one", "thanks!", "the floor plans in landscape")
    assert item.evidence == ("e0", "e2")


def test_an_agents_words_between_the_two_turns_do_not_part_them() -> None:
    turns = [
        turn("no, not that one", event_id="e0"),
        turn("always use portrait", event_id="e1", role=Role.AGENT),
        turn("the floor plans in landscape", event_id="e2"),
    ]
    (item,) = said_in(turns)
    assert item.evidence == ("e0", "e2")
    assert "portrait" not in item.lesson.claim.statement


def test_what_stands_by_itself_is_not_joined_to_the_turn_before() -> None:
    apart = said("from now on round the fees", "lab values in SI units")
    assert [item.evidence for item in apart] == [("e0",), ("e1",)]
    long_answer = "the floor plans go in landscape with the scale bar and the north arrow top left"
    assert ("e0", "e1") not in {item.evidence for item in said("not that one", long_answer)}


def test_a_message_does_not_answer_a_correction() -> None:
    turns = [turn("no, not that one"), turn("open the third sheet", event_id="e2", kind=MESSAGE)]
    assert all(len(item.evidence) == 1 for item in said_in(turns))


# ---------------------------------------------------------------------------- whose words


@pytest.mark.parametrize("role", [Role.AGENT, Role.TOOL, Role.SYSTEM])
def test_only_people_teach(role: Role) -> None:
    assert len(said_in([turn(LASTING)])) == 1
    assert said_in([turn(LASTING, role=role)]) == []


def test_a_tools_result_in_a_persons_name_teaches_nothing() -> None:
    assert said_in([turn(LASTING, kind=EventKind.TOOL_RESULT)]) == []


def test_words_in_a_persons_name_that_nobody_vouches_for_teach_nothing() -> None:
    spoofed = turn(LASTING).model_copy(update={"trust": Trust.UNTRUSTED})
    assert said_in([spoofed]) == []


def test_turns_are_read_in_order_and_alike_each_time() -> None:
    texts = [text for _, text in (*STANDING, *ONE_OFF, *WITHDRAWN)]
    found = said(*texts)
    assert found == said(*texts)
    assert [item.evidence[0] for item in found] == sorted(
        (item.evidence[0] for item in found), key=lambda name: int(name[1:])
    )


# ---------------------------------------------------------------------------- restraint


def test_what_somebody_filed_as_a_correction_waits_rather_than_being_dropped() -> None:
    text = "might I nudge you towards landscape pages when somebody asks for the floor plan"
    assert durabilities(said(text)) == [Durability.DOUBTFUL]
    assert said(text, kind=MESSAGE) == []
    assert said("That's not it.") == []


@pytest.mark.parametrize(
    "text",
    [
        "I always get hungry around noon.",
        "Every time the lift stops I lose an hour.",
        "Never trust a weather app, says my aunt.",
        "From now on it can only get better.",
    ],
)
def test_always_and_never_in_small_talk_are_no_rule(text: str) -> None:
    assert Durability.STANDING not in durabilities(said(text, kind=MESSAGE))


def test_what_reads_only_half_like_a_lesson_is_doubtful_in_passing() -> None:
    text = "We use the landscape template for the floor plans, mostly."
    assert durabilities(said(text)) == [Durability.UNCLEAR]
    assert durabilities(said(text, kind=MESSAGE)) == [Durability.DOUBTFUL]
    rule = "The parking map should be in the appendix."
    assert durabilities(said(rule, kind=MESSAGE)) == [Durability.UNCLEAR]


@pytest.mark.parametrize(
    "text",
    [
        "These captions are not how we do it.",
        "no, the order of the pages is wrong",
        "those file names won't match anything in our archive",
    ],
)
def test_what_only_finds_fault_never_lasts_and_is_joined_to_its_answer(text: str) -> None:
    assert set(durabilities(said(text))) <= {Durability.DOUBTFUL}
    assert len(said(text, "It should be the Dutch spelling.")) == 1


def test_a_rejection_with_its_answer_is_a_lesson() -> None:
    for text in ("the totals belong in the footer, not in the header", "We don't work weekends"):
        assert Durability.DOUBTFUL not in durabilities(said(text))


def test_a_whole_turn_is_kept_where_one_clause_leaves_out_the_answer() -> None:
    found = said(
        "Visitors kept asking about the entrance we use. Sadly it is the one by the river."
    )
    assert "river" in statements(found)[0]
