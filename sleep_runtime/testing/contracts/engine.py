"""What every ``Engine`` promises. Subclass in a test and give it an ``engine`` fixture."""

from __future__ import annotations

from datetime import UTC, datetime

from sleep_runtime.core.event import EventKind, Role, derive_trust
from sleep_runtime.core.observation import Claim, NoteKind, SessionInput, Turn
from sleep_runtime.core.ports import Engine
from sleep_runtime.core.proposal import ClaimPair
from sleep_runtime.core.scope import Scope

LESSON = "from now on use adjusted EBITDA"
OTHER_LESSON = "from now on write dates as ISO 8601"


def turn(
    text: str,
    *,
    event_id: str = "e1",
    role: Role = Role.HUMAN,
    kind: EventKind = EventKind.CORRECTION,
    about: dict[str, str] | None = None,
) -> Turn:
    """One turn at a fixed time; trust follows from the role."""
    return Turn(
        event_id=event_id,
        ts=datetime(2026, 1, 5, 9, tzinfo=UTC),
        role=role,
        kind=kind,
        trust=derive_trust(role),
        text=text,
        about=about or {},
    )


def session(*turns: Turn, name: str = "s1", context: tuple[Turn, ...] = ()) -> SessionInput:
    """A session of one person."""
    return SessionInput(scope=Scope("acme/desk/ana"), session=name, turns=turns, context=context)


def pair(left: str, right: str) -> ClaimPair:
    """Two bare statements as a pair."""
    return ClaimPair(key=f"{left}|{right}", left=_claim(left), right=_claim(right))


def _claim(statement: str) -> Claim:
    return Claim(statement=statement, kind=NoteKind.CONVENTION)


class EngineContract:
    """Run by pytest in a subclass named ``Test...`` whose ``engine`` knows ``LESSON``."""

    def test_nothing_asked_nothing_answered(self, engine: Engine) -> None:
        assert engine.distil([]) == []
        assert engine.compare([]) == []

    def test_one_answer_for_each_session_in_order(self, engine: Engine) -> None:
        asked = [
            session(turn("thanks!", event_id="a"), name="a"),
            session(turn(LESSON, event_id="b"), name="b"),
        ]
        answers = engine.distil(asked)
        assert len(answers) == len(asked)
        assert not answers[0].drafts
        assert [draft.evidence for draft in answers[1].drafts] == [("b",)]

    def test_evidence_is_a_turn_of_the_session_itself(self, engine: Engine) -> None:
        known = (turn(LESSON, event_id="old"),)
        asked = session(turn(LESSON, event_id="new"), context=known)
        cited = {e for draft in engine.distil([asked])[0].drafts for e in draft.evidence}
        assert cited == {"new"}

    def test_asking_again_gives_the_same(self, engine: Engine) -> None:
        asked = [session(turn(LESSON)), session(turn("thanks!"))]
        assert engine.distil(asked) == engine.distil(asked)

    def test_one_judgement_for_each_pair(self, engine: Engine) -> None:
        asked = [pair(LESSON, LESSON), pair(LESSON, OTHER_LESSON), pair(OTHER_LESSON, LESSON)]
        answers = engine.compare(asked)
        assert len(answers) == len(asked)
        assert all(0 <= answer.score <= 1 for answer in answers)

    def test_odd_text_is_no_exception(self, engine: Engine) -> None:
        odd = ["", " ", "?" * 500, "\x00\ud800", "(" * 2000, "a " * 5000, "“" * 100, "— — —"]
        answers = engine.distil([session(turn(text)) for text in odd])
        assert len(answers) == len(odd)

    def test_it_has_a_name_and_an_account(self, engine: Engine) -> None:
        assert engine.name
        assert engine.usage.calls >= 0
