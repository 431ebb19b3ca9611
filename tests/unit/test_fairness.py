"""Whose turn it is: nobody starves, shares follow weights, no slot stays empty."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation.fairness import pick

ORGS = "abcde"
_DUE = st.dictionaries(st.sampled_from(ORGS), st.integers(0, 30), max_size=5)
_WEIGHTS = st.dictionaries(st.sampled_from(ORGS), st.integers(1, 9), max_size=5)
_TURNS = st.dictionaries(st.sampled_from(ORGS), st.integers(-50, 50), max_size=5)


def items(due: dict[str, int]) -> dict[str, list[str]]:
    return {org: [f"{org}{n}" for n in range(number)] for org, number in due.items()}


def by_org(chosen: list[str]) -> Counter[str]:
    return Counter(item[0] for item in chosen)


def test_equal_organisations_alternate() -> None:
    chosen, _ = pick(items({"b": 9, "a": 9}), {}, {}, 4)
    assert chosen == ["a0", "b0", "a1", "b1"]


def test_a_weight_is_so_many_turns_spread_evenly() -> None:
    chosen, _ = pick(items({"a": 9, "b": 9, "c": 9}), {}, {"a": 3}, 10)
    assert "".join(item[0] for item in chosen) == "abacaabaca"


def test_one_slot_at_a_time_goes_round_by_the_turns_handed_on() -> None:
    turns: dict[str, int] = {}
    seen = ""
    for _ in range(6):
        (chosen,), turns = pick(items({"a": 1000, "b": 1}), turns, {}, 1)
        seen += chosen[0]
    assert seen == "ababab"


def test_nobody_saves_up_turns_while_there_is_nothing_to_do() -> None:
    turns: dict[str, int] = {}
    for _ in range(50):
        _, turns = pick(items({"a": 5}), turns, {}, 1)
    chosen, _ = pick(items({"a": 9, "b": 9}), turns, {}, 6)
    assert by_org(chosen) == {"a": 3, "b": 3}


@settings(deadline=None)  # the machine may be busy
@given(due=_DUE, turns=_TURNS, weights=_WEIGHTS, slots=st.integers(0, 60))
def test_no_slot_stays_empty_while_anything_waits(
    due: dict[str, int], turns: dict[str, int], weights: dict[str, int], slots: int
) -> None:
    chosen, _ = pick(items(due), turns, weights, slots)
    assert len(chosen) == len(set(chosen)) == min(slots, sum(due.values()))


@settings(deadline=None)  # the machine may be busy
@given(due=_DUE, turns=_TURNS, weights=_WEIGHTS, slots=st.integers(0, 60))
def test_the_order_within_an_organisation_is_kept(
    due: dict[str, int], turns: dict[str, int], weights: dict[str, int], slots: int
) -> None:
    waiting = items(due)
    chosen, _ = pick(waiting, turns, weights, slots)
    for org, mine in waiting.items():
        taken = [item for item in chosen if item[0] == org]
        assert taken == mine[: len(taken)]


@settings(deadline=None)  # the machine may be busy
@given(due=_DUE, turns=_TURNS, weights=_WEIGHTS, slots=st.integers(0, 60))
def test_the_same_question_has_the_same_answer_in_any_order(
    due: dict[str, int], turns: dict[str, int], weights: dict[str, int], slots: int
) -> None:
    other_way = dict(reversed(items(due).items()))
    assert pick(items(due), turns, weights, slots) == pick(other_way, turns, weights, slots)


@settings(deadline=None)  # the machine may be busy
@given(orgs=st.sets(st.sampled_from(ORGS), min_size=1), weights=_WEIGHTS, rounds=st.integers(1, 5))
def test_shares_follow_weights_exactly_over_whole_rounds(
    orgs: set[str], weights: dict[str, int], rounds: int
) -> None:
    """However the slots come: all at once, or one by one."""
    own = {org: weights.get(org, 1) for org in orgs}
    slots = rounds * sum(own.values())
    plenty = dict.fromkeys(orgs, slots)
    at_once, _ = pick(items(plenty), {}, weights, slots)
    turns: dict[str, int] = {}
    one_by_one: list[str] = []
    for _ in range(slots):
        chosen, turns = pick(items(plenty), turns, weights, 1)
        one_by_one += chosen
    expected = {org: rounds * weight for org, weight in own.items()}
    assert by_org(at_once) == by_org(one_by_one) == expected


@settings(deadline=None)  # the machine may be busy
@given(orgs=st.sets(st.sampled_from(ORGS), min_size=2), weights=_WEIGHTS, data=st.data())
def test_nobody_starves_whoever_else_comes_and_goes(
    orgs: set[str], weights: dict[str, int], data: st.DataObject
) -> None:
    """One that always waits gets its turn within a bound, whatever the others do."""
    patient, *others = sorted(orgs)
    total = sum(weights.get(org, 1) for org in orgs)
    bound = 2 * -(-total // weights.get(patient, 1)) + len(orgs)
    turns: dict[str, int] = {}
    waited = 0
    for _ in range(5 * bound):
        there = data.draw(st.sets(st.sampled_from(others)))
        (chosen,), turns = pick(items(dict.fromkeys([patient, *there], 9)), turns, weights, 1)
        waited = 0 if chosen[0] == patient else waited + 1
        assert waited <= bound
