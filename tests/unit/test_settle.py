"""Who decides about a pair: people, then the store's statistics, then the engine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sleep_runtime.consolidation.affinity.head import Odds
from sleep_runtime.consolidation.compare import Tie, pair_of, tie
from sleep_runtime.consolidation.settle import measured, open_pairs, settled
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.policy import ReflectPolicy
from sleep_runtime.core.proposal import Judgement, Verdict
from sleep_runtime.core.scope import Scope

ANA = Scope("acme/banking/ana")
AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
POLICY = ReflectPolicy(sure=0.8)
SAME, EXCLUDES, UNRELATED = Verdict.SAME, Verdict.EXCLUDES, Verdict.UNRELATED


def claim(statement: str, **more: object) -> Claim:
    return Claim.model_validate({"statement": statement, "kind": NoteKind.FACT, **more})


PAIR = pair_of(claim("glaze the tiles twice"), claim("two coats on the tiles"))
WORDY = pair_of(
    claim("glaze the tiles twice with celadon before the second firing of the morning shift"),
    claim("two coats on the tiles"),
)


def answer(verdict: Verdict, score: float = 1.0, problem: str = "") -> dict[str, Judgement]:
    return {PAIR.key: Judgement(verdict=verdict, score=score, reason="so I say", problem=problem)}


def joined(odds: Odds, answers: dict[str, Judgement] | None = None) -> Judgement:
    return settled([PAIR], {PAIR.key: odds}, answers or {}, {})[PAIR.key]


# ---------------------------------------------------------------------------- who is asked


@pytest.mark.parametrize(
    ("odds", "asked"),
    [
        (Odds(0.05, 0.05), False),
        (Odds(0.19, 0.1), False),
        (Odds(0.3, 0.1), True),
        (Odds(0.05, 0.6), True),
        (Odds(0.79, 0.1), True),
        (Odds(0.05, 0.95), True),
    ],
)
def test_the_engine_is_asked_what_the_statistics_leave_open(odds: Odds, asked: bool) -> None:
    for pair in (PAIR, WORDY):
        assert bool(open_pairs([pair], {pair.key: odds}, POLICY)) is asked


def test_a_sure_sameness_is_asked_about_only_where_words_can_be_set_against_words() -> None:
    sure = {PAIR.key: Odds(0.95, 0.02), WORDY.key: Odds(0.95, 0.02)}
    assert open_pairs([PAIR, WORDY], sure, POLICY) == [PAIR]


def test_what_no_statistics_know_is_asked() -> None:
    assert open_pairs([PAIR, WORDY], {}, POLICY) == [PAIR, WORDY]


def test_statistics_rest_on_tonights_claims_and_every_wording_of_the_notes() -> None:
    fresh = Observation(
        id="o1",
        scope=ANA,
        session="s1",
        person=str(ANA),
        ts=AT,
        claim=PAIR.left,
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        evidence=("e1",),
    )
    vote = fresh.model_copy(update={"id": "o2", "feedback_on": "n1", "helpful": True})
    note = Note(
        id="n1",
        scope=ANA,
        claim=PAIR.right,
        status=NoteStatus.ACTIVE,
        confidence=0.5,
        valid_from=AT,
        recorded_at=AT,
    )
    known = Dossier(note=note, wordings=(claim("tiles twice glazed"), claim("twice the tiles")))
    found = measured([PAIR], [fresh], [known], {})
    assert set(found) == {PAIR.key}
    assert found == measured([PAIR], [fresh, vote], [known], {})
    assert found != measured([PAIR], [fresh], [Dossier(note=note)], {})


# ---------------------------------------------------------------------------- what comes of it


def test_a_persons_verdict_stands_above_statistics_and_engine() -> None:
    said = {verdict: answer(verdict, 0.1) for verdict in Verdict}
    for verdict, verdicts in said.items():
        for odds in ({PAIR.key: Odds(0.99, 0.0)}, {PAIR.key: Odds(0.0, 0.99)}, {}):
            found = settled([PAIR], odds, answer(SAME), verdicts)[PAIR.key]
            assert found.verdict is verdict
            assert (found.same, found.excludes) == (
                float(verdict is SAME),
                float(verdict is EXCLUDES),
            )


def test_without_an_answer_the_likelier_of_the_two_holds_if_it_is_likely() -> None:
    assert joined(Odds(0.9, 0.05)).verdict is SAME
    assert joined(Odds(0.05, 0.9)).verdict is EXCLUDES
    assert joined(Odds(0.49, 0.49)).verdict is UNRELATED
    assert joined(Odds(0.0, 0.0)).score == 1.0
    assert joined(Odds(0.9, 0.05)).same == 0.9


def test_an_exclusion_is_believed_when_engine_and_statistics_speak_for_it_together() -> None:
    found = joined(Odds(0.55, 0.4), answer(EXCLUDES, 0.9))
    assert found.verdict is EXCLUDES
    assert found.same is not None
    assert found.same <= 0.1 + 1e-9
    assert joined(Odds(0.55, 0.1), answer(EXCLUDES, 0.9)).verdict is UNRELATED
    assert joined(Odds(0.99, 0.0), answer(EXCLUDES, 0.9)).verdict is SAME
    broken = answer(EXCLUDES, 0.9, problem="cut off")
    assert joined(Odds(0.55, 0.4), broken).verdict is SAME


def test_an_engines_answer_moves_the_statistics_its_way_and_the_surer_the_more() -> None:
    odds = Odds(0.5, 0.2)
    plain = joined(odds)
    assert plain.same is not None
    for verdict, sign in ((SAME, 1), (EXCLUDES, -1), (UNRELATED, -1)):
        shares = [joined(odds, answer(verdict, score)).same or 0.0 for score in (0.2, 0.6)]
        assert (shares[0] - plain.same) * sign > 0
        assert (shares[1] - shares[0]) * sign > 0


def test_an_unusable_answer_moves_nothing() -> None:
    broken = answer(SAME, problem="cut off")
    found = joined(Odds(0.3, 0.1), broken)
    assert (found.verdict, found.same, found.problem) == (UNRELATED, 0.3, "")
    assert settled([PAIR], {}, broken, {}) == broken
    assert tie(PAIR.left, PAIR.right, broken) is Tie.APART


def test_a_pair_of_which_nothing_is_known_has_no_judgement() -> None:
    assert settled([PAIR], {}, {}, {}) == {}


def test_a_judgement_says_why_and_stays_short() -> None:
    told = {PAIR.key: Judgement(verdict=SAME, score=0.5, reason="x" * 900)}
    reason = joined(Odds(0.5, 0.1), told).reason
    assert reason.startswith("same 0.")
    assert "xxx" in reason
    assert len(reason) <= 400
