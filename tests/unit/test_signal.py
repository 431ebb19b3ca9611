"""How much speaks for a lesson, and when that is enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation.signal import asserted_at, bar, confidence, contested, support
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Evidence
from sleep_runtime.core.observation import NoteKind
from sleep_runtime.core.policy import Policy, SignalPolicy
from sleep_runtime.core.scope import Scope

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
ANA, BEN = Scope("acme/banking/ana"), Scope("acme/banking/ben")
DAN, TEAM, ORG = Scope("acme/retail/dan"), Scope("acme/banking"), Scope("acme")
POLICY, SIGNAL = Policy(), SignalPolicy()
RULE = NoteKind.CONVENTION


def seen(
    day: float,
    who: Scope = ANA,
    *,
    weight: float = 1.0,
    trust: Trust = Trust.HUMAN,
    session: str = "",
    n: int = 0,
) -> Evidence:
    session = session or f"s{day}"
    return Evidence(
        event_id=f"{who}-{day}-{trust}-{n}",
        observation_id="obs",
        scope=who,
        session=session,
        person=str(who) if trust is Trust.HUMAN else f"agent:{who}",
        ts=START + timedelta(days=day),
        trust=trust,
        weight=weight,
    )


def belief(*evidence: Evidence, day: float = 0, helpful: int = 0, harmful: int = 0) -> float:
    votes = [ballot(1, n) for n in range(helpful)] + [ballot(-1, n) for n in range(harmful)]
    return confidence(evidence, votes, SIGNAL, START + timedelta(days=day))


def ballot(vote: int, n: int = 0, day: float = 0, trust: Trust = Trust.HUMAN) -> Evidence:
    piece = seen(day, weight=0.0, session=f"v{vote}{n}", n=n, trust=trust)
    return piece.model_copy(update={"vote": vote})


def test_one_standing_word_of_a_person_starts_at_two_thirds() -> None:
    assert belief(seen(0)) == pytest.approx(2 / 3)


def test_belief_rises_with_sessions_and_falls_with_harm() -> None:
    one, two = belief(seen(0)), belief(seen(0), seen(0, session="other"))
    assert one < two < belief(seen(0), seen(0, BEN), seen(0, DAN))
    assert belief(seen(0), harmful=1) < one < belief(seen(0), helpful=1)
    assert belief(seen(0), seen(0, BEN, weight=-1.0)) < one


def test_repeating_it_in_one_breath_adds_little() -> None:
    breath = [seen(0, session="s", n=n) for n in range(50)]
    assert belief(*breath) <= belief(seen(0, session="a"), seen(0, session="b"))


def test_agents_weigh_less_and_tools_nothing() -> None:
    agent, tool = belief(seen(0, trust=Trust.AGENT)), belief(seen(0, trust=Trust.UNTRUSTED))
    assert tool == pytest.approx(0.5)
    assert tool < agent < belief(seen(0))


def test_silence_fades_slowly_and_ends_below_the_floor() -> None:
    after = [belief(seen(0), day=day) for day in range(0, 1000, 30)]
    assert after == sorted(after, reverse=True)
    assert belief(seen(0), day=365) > SIGNAL.retire_below
    assert belief(seen(0), day=700) < SIGNAL.retire_below


def test_an_event_of_the_future_is_not_worth_more_than_one_of_today() -> None:
    assert belief(seen(400)) == belief(seen(0))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 300), max_size=30), st.integers(0, 9), st.integers(0, 9))
def test_belief_stays_a_probability_and_ignores_order(
    days: list[int], helpful: int, harmful: int
) -> None:
    evidence = [seen(day, n=n) for n, day in enumerate(days)]
    forward = belief(*evidence, day=300, helpful=helpful, harmful=harmful)
    backward = belief(*reversed(evidence), day=300, helpful=helpful, harmful=harmful)
    assert 0 < forward < 1
    assert forward == backward


def test_support_counts_distinct_people_and_no_agents() -> None:
    counted = support([seen(0), seen(0, n=1), seen(1, BEN), seen(2, trust=Trust.AGENT)])
    assert (counted.events, counted.sessions, counted.people, counted.days) == (4, 3, 2, 3)


@pytest.mark.parametrize(
    ("scope", "evidence", "code"),
    [
        (ANA, [seen(0)], "standing"),
        (ANA, [seen(0, weight=0.5)], "not_recurring_yet"),
        (
            ANA,
            [seen(0, weight=0.5, session="s"), seen(1, weight=0.5, session="s")],
            "not_recurring_yet",
        ),
        (ANA, [seen(0, weight=0.5), seen(1, weight=0.5)], "recurring"),
        (ANA, [seen(day, weight=0.25) for day in range(9)], "in_doubt"),
        (ANA, [seen(0, weight=0.25), seen(1, weight=0.5)], "recurring"),
        (TEAM, [seen(0, weight=0.25), seen(1, BEN, weight=0.25)], "in_doubt"),
        (TEAM, [seen(0, weight=0.25), seen(1, BEN, weight=0.5)], "agreed"),
        (ANA, [seen(d, trust=Trust.AGENT) for d in range(9)], "agents_only"),
        (ANA, [seen(d, trust=Trust.UNTRUSTED) for d in range(9)], "untrusted"),
        (ANA, [], "untrusted"),
        (TEAM, [seen(d) for d in range(9)], "too_few_people"),
        (TEAM, [seen(0), seen(1, BEN)], "agreed"),
        (TEAM, [seen(0, TEAM)], "standing"),
        (TEAM, [seen(0), seen(1, BEN, trust=Trust.AGENT)], "too_few_people"),
        (ORG, [seen(0), seen(1, BEN)], "too_few_people"),
        (ORG, [seen(0), seen(1, BEN), seen(2, Scope("acme/banking/cleo"))], "too_few_teams"),
        (ORG, [seen(0), seen(1, BEN), seen(2, DAN)], "agreed"),
        (ORG, [seen(0), seen(1, BEN), seen(2, Scope("acme/retail/ana"))], "too_few_people"),
    ],
)
def test_the_bar(scope: Scope, evidence: list[Evidence], code: str) -> None:
    found = bar(evidence, scope, RULE, POLICY)
    assert found.code == code
    assert found.met == (code in {"standing", "recurring", "agreed"})


def test_agents_need_more_sessions_and_only_make_facts() -> None:
    noticed = [seen(day, trust=Trust.AGENT) for day in range(3)]
    assert bar(noticed, ANA, NoteKind.FACT, POLICY).code == "noticed"
    assert not bar(noticed[:2], ANA, NoteKind.FACT, POLICY).met


def test_the_bar_says_how_much_is_missing() -> None:
    assert bar([seen(0)], TEAM, RULE, POLICY).reason == "1 of 2 people"
    assert bar([seen(0, weight=0.5)], ANA, RULE, POLICY).reason == "1 of 2 sessions"


def test_a_lesson_was_last_said_when_enough_said_it_since() -> None:
    unclear = [seen(day, weight=0.5) for day in (0, 4, 9)]
    assert asserted_at(unclear, ANA, RULE, POLICY) == START + timedelta(days=4)
    assert asserted_at([seen(1), *unclear], ANA, RULE, POLICY) == START + timedelta(days=4)
    people = [seen(0), seen(3, BEN), seen(8), seen(9)]
    assert asserted_at(people, TEAM, RULE, POLICY) == START + timedelta(days=3)
    assert asserted_at([seen(0)], TEAM, RULE, POLICY) is None


def test_a_vote_supports_nothing() -> None:
    vote = seen(5, BEN, weight=0.0).model_copy(update={"vote": 1})
    assert belief(seen(0), vote, day=5) == belief(seen(0), day=5)
    assert support([seen(0), vote]) == support([seen(0)])
    assert bar([seen(0), vote], TEAM, RULE, POLICY).reason == "1 of 2 people"
    assert asserted_at([seen(0), vote], ANA, RULE, POLICY) == START


def test_a_note_is_contested_when_harm_outweighs_its_support() -> None:
    assert contested([seen(0)], 0, 2)
    assert not contested([seen(0)], 1, 2)
    assert not contested([seen(0), seen(1)], 0, 2)
