"""Clauses cut from labelled turns, and how the engine compares what they say, in five trades.

What a whole turn means is tested in ``test_turns``.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest
from extractive_cases import CLAUSES, PAIRS, SHORTHAND

from sleep_runtime.core.event import EventKind, Role
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.text.drafts import Lesson, lessons
from sleep_runtime.testing.contracts.engine import session, turn
from sleep_runtime.testing.embedder import HashEmbedder

ENGINE = ExtractiveEngine(MiniLmEmbedder())
NORTHWIND = {"account": "northwind"}


def cut(text: str, *, correction: bool = True, about: dict[str, str] | None = None) -> list[Lesson]:
    return lessons(text, correction=correction, about=about or {})


def claim(text: str, about: dict[str, str] | None = None) -> Claim:
    return cut(text, about=about)[0].claim


def compare(left: Claim, right: Claim) -> Judgement:
    return ENGINE.compare([ClaimPair(key="k", left=left, right=right)])[0]


def confusion() -> Counter[tuple[str, str]]:
    return Counter(
        (label, compare(claim(left), claim(right)).verdict.value) for label, left, right in PAIRS
    )


def test_no_contradiction_is_merged_and_most_paraphrases_are_found() -> None:
    counts = confusion()
    assert len(PAIRS) >= 80
    assert counts["excludes", "same"] == 0
    assert counts["unrelated", "same"] == 0
    same = sum(n for (label, _), n in counts.items() if label == "same")
    assert counts["same", "same"] / same >= 0.6
    assert counts["same", "excludes"] == 0
    assert counts["unrelated", "excludes"] <= 1


@pytest.mark.parametrize(("label", "left", "right"), SHORTHAND)
def test_shorthand_is_read_as_what_it_stands_for(label: str, left: str, right: str) -> None:
    assert compare(claim(left), claim(right)).verdict.value == label


@pytest.mark.parametrize(("correction", "text", "expected"), CLAUSES)
def test_clauses_are_cut_with_restraint(
    correction: bool, text: str, expected: tuple[str, ...]
) -> None:
    found = tuple(lesson.durability.value for lesson in cut(text, correction=correction))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "statement", "slots"),
    [
        (
            "no — adjusted EBITDA please, not reported",
            "northwind: adjusted EBITDA, not reported",
            ("EBITDA", "basis", "adjusted"),
        ),
        (
            "for Northwind we always show adjusted EBITDA",
            "for Northwind we always show adjusted EBITDA",
            ("EBITDA", "basis", "adjusted"),
        ),
        (
            "Hey, run the waterfall quarter over quarter, thanks",
            "northwind: run the waterfall quarter over quarter",
            ("waterfall", "period", "quarter over quarter"),
        ),
        (
            "I prefer charts in dark blue",
            "northwind: I prefer charts in dark blue",
            ("charts", "colour", "dark blue"),
        ),
    ],
)
def test_claims_keep_the_persons_words(
    text: str, statement: str, slots: tuple[str, str, str]
) -> None:
    found = claim(text, NORTHWIND)
    assert found.statement == statement
    assert (found.subject, found.aspect, found.value) == slots


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        (
            "figures go on adj. EBITDA, not reported",
            ["northwind: figures go on adj. EBITDA, not reported"],
        ),
        (
            "Adjusted EBITDA please, and the waterfall always quarter over quarter.",
            ["northwind: Adjusted EBITDA", "northwind: the waterfall always quarter over quarter"],
        ),
        ("I prefer teal in my charts, this is grey.", ["northwind: I prefer teal in my charts"]),
        (
            "Quote net debt throughout; the gross line has the leases in it.",
            ["northwind: Quote net debt throughout"],
        ),
        (
            "bridge is yoy again. always run it quarter over quarter",
            ["northwind: always run bridge quarter over quarter"],
        ),
        ("net debt. we don't show the gross one", ["northwind: net debt"]),
        (
            "our decks always show net debt, so this page should as well",
            ["northwind: our decks always show net debt"],
        ),
    ],
)
def test_a_lesson_stands_alone_without_remarks_and_echoes(text: str, statements: list[str]) -> None:
    assert [lesson.claim.statement for lesson in cut(text, about=NORTHWIND)] == statements


def test_a_leading_negation_rejects_and_is_no_answer() -> None:
    turned = claim("not year on year, the waterfall goes quarter over quarter")
    assert (turned.subject, turned.value) == ("waterfall", "quarter over quarter")
    assert compare(turned, claim("run the waterfall quarter over quarter")).verdict is Verdict.SAME
    assert compare(turned, claim("run the waterfall year on year")).verdict is Verdict.EXCLUDES


def test_a_shortened_value_has_the_aspect_of_its_word() -> None:
    assert claim("figures go on adj. EBITDA, not reported").aspect == "basis"


def test_not_just_adds_and_rejects_nothing() -> None:
    added = claim("always cite the version number of a preprint, not just the title")
    assert added.kind is NoteKind.CONVENTION
    assert compare(added, claim("cite the title of a preprint")).verdict is not Verdict.EXCLUDES


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I prefer charts in dark blue", NoteKind.PREFERENCE),
        ("use pnpm, not npm", NoteKind.CORRECTION),
        ("we use pnpm here", NoteKind.CONVENTION),
        ("never touch the legacy schema, it breaks billing", NoteKind.PITFALL),
        ("before you deploy, run the smoke tests", NoteKind.PROCEDURE),
        ("the fiscal year is the calendar year", NoteKind.FACT),
    ],
)
def test_kinds(text: str, kind: NoteKind) -> None:
    assert claim(text).kind is kind


def test_slots_and_statement_are_grounded_in_the_turn() -> None:
    for correction, text, expected in CLAUSES:
        if expected:
            for lesson in cut(text, correction=correction):
                assert lesson.claim.subject.lower() in text.lower()
                assert lesson.claim.value.lower() in text.lower()
                assert _said(lesson.claim.statement, text)


def _said(statement: str, text: str) -> bool:
    """In the order of the turn; a name in the place of an *it* stands earlier in it."""
    words = {word.strip(",;:.") for word in text.split()}
    return _in_order(statement.split(), text) or set(statement.split()) <= words


def _in_order(parts: list[str], text: str) -> bool:
    position = 0
    for bare in (part.strip(",;:.") for part in parts):
        found = text.find(bare, position)
        if found < 0:
            return False
        position = found + len(bare)
    return True


def test_only_people_are_listened_to() -> None:
    order = "always use adjusted EBITDA"
    roles = (Role.AGENT, Role.TOOL, Role.SYSTEM)
    turns = [turn(order, event_id=role.value, role=role) for role in roles]
    turns.append(turn(order, event_id="read", kind=EventKind.TOOL_RESULT))
    assert not ENGINE.distil([session(*turns)])[0].drafts


def test_another_account_is_another_lesson() -> None:
    judged = compare(
        claim("use adjusted EBITDA", NORTHWIND), claim("use adjusted EBITDA", {"account": "acme"})
    )
    assert judged.verdict is Verdict.UNRELATED


def test_an_exception_for_one_account_does_not_exclude_the_rule() -> None:
    judged = compare(claim("use adjusted EBITDA"), claim("use reported EBITDA", NORTHWIND))
    assert judged.verdict is Verdict.UNRELATED


def test_another_condition_is_another_lesson() -> None:
    judged = compare(
        claim("when exporting to the board, use PDF"), claim("when sending to banks, use CSV")
    )
    assert judged.verdict is Verdict.UNRELATED


@pytest.mark.parametrize(("label", "left", "right"), PAIRS)
def test_comparing_has_no_direction(label: str, left: str, right: str) -> None:
    one, other = claim(left), claim(right)
    assert compare(one, other).verdict is compare(other, one).verdict


def test_a_claim_is_the_same_as_itself() -> None:
    for _, left, _ in PAIRS:
        assert compare(claim(left), claim(left)).verdict is Verdict.SAME


def test_a_condition_and_a_negation_are_never_cut_off() -> None:
    found = cut("if the client asks, use reported EBITDA and show the bridge")
    assert found
    assert all("if the client asks" in lesson.claim.statement for lesson in found)
    for lesson in cut("don't commit secrets and push to main"):
        assert lesson.claim.statement.startswith("don't")


def test_a_one_off_is_returned_so_that_the_run_can_say_why_it_left_it() -> None:
    asked = session(turn("just for this draft, leave out the appendix", kind=EventKind.MESSAGE))
    (draft,) = ENGINE.distil([asked])[0].drafts
    assert draft.durability is Durability.ONE_OFF
    assert draft.why


def test_the_name_tells_version_and_model() -> None:
    embedder = HashEmbedder()
    assert ExtractiveEngine(embedder).name.startswith("extractive-")
    assert embedder.model in ExtractiveEngine(embedder).name


def test_reading_takes_time_linear_in_the_text() -> None:
    texts = [unit * 600 for unit in ("a, ", "not ", "use x and ", "always, ", "(", "ok ", "for ")]
    started = time.perf_counter()
    for text in texts:
        ENGINE.distil([session(turn(text[:4000], about=NORTHWIND))])
    assert time.perf_counter() - started < 5.0
