"""How two lessons in many words stand to each other, from how their wordings do."""

from __future__ import annotations

import itertools
import math

import pytest

from sleep_runtime.consolidation.compare import Tie, pair_of
from sleep_runtime.consolidation.linkage import (
    CERTAIN,
    FAR,
    JOIN,
    UNKNOWN,
    Link,
    joint,
    link,
    odds_of,
)
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import Judgement, Verdict

SAME, NOT, APART = Tie.SAME, Tie.EXCLUDES, Tie.APART
SURE, LIKELY, DOUBTFUL, AGAINST = 5.0, 1.0, -0.5, -4.0


def claim(statement: str, **more: object) -> Claim:
    return Claim.model_validate({"statement": statement, "kind": NoteKind.FACT, **more})


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([], APART),
        ([Link(SAME, LIKELY)], SAME),
        ([Link(SAME, SURE), Link(APART, AGAINST)], SAME),
        ([Link(SAME, SURE), Link(APART, 2 * AGAINST)], APART),
        ([Link(SAME, CERTAIN), Link(APART, FAR), Link(APART, FAR)], SAME),
        ([Link(SAME, LIKELY), UNKNOWN], APART),
        ([Link(SAME, JOIN)], SAME),
        ([Link(SAME, JOIN - 0.01)], APART),
        ([Link(NOT, AGAINST)], NOT),
        ([Link(NOT, AGAINST), Link(APART, FAR)], NOT),
        ([Link(NOT, AGAINST), Link(SAME, SURE)], Tie.UNSURE),
        ([Link(NOT, AGAINST), Link(NOT, AGAINST), Link(SAME, SURE)], NOT),
        ([Link(NOT, DOUBTFUL), Link(SAME, SURE), Link(SAME, SURE)], SAME),
        ([Link(NOT, AGAINST), Link(SAME, DOUBTFUL), Link(SAME, DOUBTFUL)], APART),
        ([Link(Tie.SCOPED, AGAINST), Link(APART, FAR)], Tie.SCOPED),
        ([Link(Tie.UNSURE, FAR), Link(APART, FAR)], Tie.UNSURE),
        ([Link(Tie.SCOPED, AGAINST), Link(Tie.UNSURE, FAR)], Tie.SCOPED),
        ([Link(APART, FAR), Link(APART, SURE)], APART),
    ],
)
def test_all_wordings_together_decide(links: list[Link], expected: Tie) -> None:
    for order in itertools.permutations(links):
        assert joint(order).tie is expected


def test_many_doubtful_pairs_carry_nothing_and_the_odds_are_their_mean() -> None:
    assert joint([Link(SAME, DOUBTFUL)] * 9).tie is APART
    assert joint([Link(SAME, 1.0), Link(SAME, 3.0)]) == Link(SAME, 2.0)


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        (Judgement(verdict=Verdict.SAME, score=1, problem="cut off"), FAR),
        (Judgement(verdict=Verdict.SAME, score=1, same=0.5), 0.0),
        (Judgement(verdict=Verdict.SAME, score=1, same=0.9), math.log(9)),
    ],
)
def test_odds_are_those_of_being_one_lesson(judgement: Judgement, expected: float) -> None:
    assert odds_of(judgement) == pytest.approx(expected)


def test_odds_are_finite_and_ordered() -> None:
    shares = [odds_of(Judgement(same=share)) for share in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert shares == sorted(shares)
    assert all(map(math.isfinite, shares))
    verdicts = [Verdict.EXCLUDES, Verdict.UNRELATED, Verdict.SAME]
    bare = [odds_of(Judgement(verdict=verdict, score=1)) for verdict in verdicts]
    assert bare == sorted(bare)
    assert bare[0] < bare[1] < 0 < bare[2] < CERTAIN


def test_what_is_known_by_words_and_facets_needs_no_judgement() -> None:
    one = claim("glaze the tiles twice")
    assert link(one, claim("Glaze the tiles, twice!"), {}) == Link(SAME, CERTAIN)
    assert link(one, claim("fire the kiln slowly"), {}) is None
    here, there = (claim("glaze the tiles twice", about={"shop": name}) for name in ("a1", "b2"))
    assert link(here, there, {}) == UNKNOWN


def test_two_answers_to_one_question_are_open_until_somebody_judges() -> None:
    one, other = (
        claim(f"glaze {value}", subject="glaze", aspect="coats", value=value)
        for value in ("twice", "thrice")
    )
    found = link(one, other, {})
    assert found is not None
    assert found.tie is Tie.UNSURE
    judged = {pair_of(one, other).key: Judgement(verdict=Verdict.EXCLUDES, score=1, same=0.0)}
    found = link(one, other, judged)
    assert found is not None
    assert found.tie is NOT
    assert found.odds < FAR
