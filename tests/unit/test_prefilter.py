"""The prefilter: what may be left out, what may not, and that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sleep_runtime.compose.cold import make_engine
from sleep_runtime.config import load
from sleep_runtime.core.event import EventKind, Role
from sleep_runtime.core.observation import Claim, Distillation, NoteKind, SessionInput, Turn, Usage
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.prefilter import LONG_CHARS, Prefiltered, may_teach, thinned
from sleep_runtime.testing.contracts.engine import session, turn
from sleep_runtime.testing.embedder import HashEmbedder

LESSON = "From now on use adjusted EBITDA in the waterfall."


class Recording:
    """An engine that answers *same* to everything and remembers its questions."""

    def __init__(self, problem: str = "") -> None:
        self.sessions: list[SessionInput] = []
        self.pairs: list[ClaimPair] = []
        self.problem = problem

    name = "recording"
    usage = Usage()

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        self.sessions += sessions
        return [Distillation(problem=found.session) for found in sessions]

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        self.pairs += pairs
        return [Judgement(verdict=Verdict.SAME, score=1, problem=self.problem) for _ in pairs]


def said(text: str, *, event: str = "e", role: Role = Role.HUMAN) -> Turn:
    return turn(text, event_id=event, role=role, kind=EventKind.MESSAGE)


def pair(left: Claim, right: Claim, key: str = "k") -> ClaimPair:
    return ClaimPair(key=key, left=left, right=right)


def claim(statement: str, **about: str) -> Claim:
    return Claim(statement=statement, kind=NoteKind.CONVENTION, about=about)


# ---------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("text", ["thanks, that looks great!", "ok", "   ", "Good morning!"])
def test_small_talk_teaches_nothing(text: str) -> None:
    assert not may_teach(said(text))
    assert thinned(session(said(text))) is None


@pytest.mark.parametrize(
    "text",
    [
        LESSON,
        "The dates in the report should be written day first",
        "No, that is not right.",
        "thanks! and please always sort the table by date",
        "Forget the rule about rounding, we no longer round.",
        "x " * 500 + "\n\nFrom now on the invoices go out on Mondays.",
    ],
)
def test_whatever_may_teach_is_read(text: str) -> None:
    assert may_teach(said(text))


def test_what_was_filed_as_a_correction_is_read_whatever_it_says() -> None:
    assert may_teach(turn("could you open the chart again?", kind=EventKind.CORRECTION))


def test_a_session_that_teaches_nothing_costs_no_question() -> None:
    engine = Recording()
    asked = [session(said("thanks!"), name="a"), session(said(LESSON), name="b")]
    answers = Prefiltered(engine, HashEmbedder()).distil(asked)
    assert [found.session for found in engine.sessions] == ["b"]
    assert [answer.problem for answer in answers] == ["", "b"]


def test_kept_are_the_teaching_turn_the_persons_turn_before_and_what_led_to_them() -> None:
    trail = session(
        said("I drew another chart.", event="a0", role=Role.AGENT),
        said("can you open it again?", event="h0"),
        said("Here it is.", event="a1", role=Role.AGENT),
        turn("a very long listing", event_id="t1", role=Role.TOOL, kind=EventKind.TOOL_RESULT),
        said("hm, what did you change there?", event="h1"),
        said("I used reported EBITDA.", event="a2", role=Role.AGENT),
        said("And rounded it.", event="a3", role=Role.AGENT),
        said(LESSON, event="h2"),
        said("Done.", event="a4", role=Role.AGENT),
        said("thanks!", event="h3"),
    )
    kept = thinned(trail)
    assert kept is not None
    assert [found.event_id for found in kept.turns] == ["a1", "h1", "a3", "h2"]


def test_what_was_said_before_the_part_is_read_along_only_where_it_leads_in() -> None:
    before = (said("old words", event="h", role=Role.HUMAN), said("I did x", role=Role.AGENT))
    alone = thinned(session(said(LESSON), context=before))
    led = thinned(session(said("y", role=Role.AGENT), said(LESSON), context=before))
    assert alone is not None
    assert led is not None
    assert [found.text for found in alone.context] == ["I did x"]
    assert led.context == ()


def test_a_long_turn_loses_what_was_pasted_into_it_and_keeps_its_words() -> None:
    pasted = "```\n" + "total = 1\n" * 200 + "```"
    kept = thinned(session(said(f"{LESSON}\n\n{pasted}")))
    assert kept is not None
    assert kept.turns[0].text == LESSON
    assert kept.turns[0].event_id == "e"
    short = f"{LESSON}\n```\ntotal\n```"
    assert len(short) < LONG_CHARS
    assert thinned(session(said(short))) == session(said(short))


# ---------------------------------------------------------------------------- pairs


def test_claims_about_one_thing_are_always_compared() -> None:
    engine = Recording()
    near = pair(claim("use euros", account="alder"), claim("round it", account="alder"))
    bare = pair(claim("use euros"), claim("sort by date"))
    Prefiltered(engine, HashEmbedder()).compare([near, bare])
    assert engine.pairs == [near, bare]


def test_claims_about_different_things_with_nothing_in_common_are_not() -> None:
    engine = Recording()
    far = pair(claim("use euros", account="alder"), claim("sort the list by date", chart="c1"))
    (got,) = Prefiltered(engine, HashEmbedder()).compare([far])
    assert engine.pairs == []
    assert got.verdict is Verdict.UNRELATED
    assert got.reason
    assert not got.problem


def test_a_claim_that_names_what_the_other_is_about_needs_less_in_common() -> None:
    engine = Recording()
    embedder = HashEmbedder()
    words = "report rounding goes to two places, see page nine of manual"
    named = pair(claim(f"alder: {words}"), claim("alder report rounding", account="alder"))
    other = pair(claim(f"birch: {words}"), claim("alder report rounding", account="alder"))
    Prefiltered(engine, embedder).compare([named, other])
    assert engine.pairs == [named]


def test_a_pair_is_asked_once_in_whichever_scope_and_answered_everywhere() -> None:
    engine = Recording()
    filtered = Prefiltered(engine, HashEmbedder())
    one, again = (pair(claim("use euros"), claim("euros only"), key) for key in ("k1", "k2"))
    first = filtered.compare([one, again])
    second = filtered.compare([again])
    assert len(engine.pairs) == 1
    assert {found.verdict for found in (*first, *second)} == {Verdict.SAME}


def test_a_useless_answer_is_asked_again() -> None:
    engine = Recording(problem="cut off")
    filtered = Prefiltered(engine, HashEmbedder())
    asked = pair(claim("use euros"), claim("euros only"))
    filtered.compare([asked])
    filtered.compare([asked])
    assert engine.pairs == [asked, asked]


# ---------------------------------------------------------------------------- settings


@pytest.mark.parametrize("wanted", [True, False])
def test_the_setting_puts_the_filter_before_a_writing_model(wanted: bool) -> None:
    chosen = {"engine.kind": "openai", "engine.model": "m", "engine.prefilter": wanted}
    settings = load(overrides=chosen).settings
    assert isinstance(make_engine(settings, HashEmbedder()), Prefiltered) is wanted


def test_the_built_in_engine_needs_no_filter() -> None:
    assert isinstance(make_engine(load().settings, HashEmbedder()), ExtractiveEngine)
