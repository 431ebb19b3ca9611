"""Groups of what says the same: whatever the order, and never across an objection."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from regrouping import ANA, BEN, likely, said

from sleep_runtime.consolidation.compare import comparable, identical, pair_of
from sleep_runtime.consolidation.group import group
from sleep_runtime.core.event import Trust
from sleep_runtime.core.observation import Claim, Durability, Observation
from sleep_runtime.core.proposal import Judgement, Verdict

TEXTS = ("tiles in celadon", "celadon tiles", "Tiles, in celadon!", "cobalt", "kiln two", "fire")


@st.composite
def evenings(draw: st.DrawFn) -> tuple[list[Observation], dict[str, Judgement]]:
    """What was said in one day, and what is known of some of the pairs."""
    spoken = draw(
        st.lists(
            st.tuples(
                st.sampled_from(TEXTS),
                st.integers(0, 3),
                st.sampled_from([ANA, BEN]),
                st.sampled_from([Durability.STANDING, Durability.UNCLEAR]),
                st.sampled_from([{"shop": "arlen"}, {"shop": "brixton"}, {}]),
            ),
            min_size=1,
            max_size=8,
            unique_by=lambda item: (item[0], item[1], item[2], tuple(item[4])),
        )
    )
    observations = [
        said(text, day, who, durability=durability, about=about)
        for text, day, who, durability, about in spoken
    ]
    claims = [item.claim for item in observations]
    answers: dict[str, Judgement] = {}
    for one, other in itertools.combinations(claims, 2):
        share = draw(st.sampled_from([None, 0.02, 0.5, 0.9, 0.99]))
        excludes = draw(st.sampled_from([0.0, 0.0, 0.0, 0.8]))
        if share is not None:
            answers[pair_of(one, other).key] = likely(0.01 if excludes else share, excludes)
    return observations, answers


def grouped(
    observations: Sequence[Observation], answers: dict[str, Judgement]
) -> set[tuple[frozenset[str], str]]:
    """Who is with whom, and in which words."""
    return {
        (frozenset(item.id for item in found.observations), found.claim.model_dump_json())
        for found in group(observations, answers)
    }


@given(evenings(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_listing_changes_no_group(
    evening: tuple[list[Observation], dict[str, Judgement]], chance: random.Random
) -> None:
    observations, answers = evening
    expected = grouped(observations, answers)
    chance.shuffle(observations)
    turned = dict(reversed(answers.items()))
    assert grouped(observations, turned) == expected


@given(evenings())
@settings(max_examples=60, deadline=None)
def test_everybody_is_in_one_group_and_nobody_with_what_excludes_them(
    evening: tuple[list[Observation], dict[str, Judgement]],
) -> None:
    observations, answers = evening
    found = group(observations, answers)
    members = [item.id for each in found for item in each.observations]
    assert sorted(members) == sorted({item.id for item in observations})
    for each in found:
        claims = [item.claim for item in each.observations]
        for one, other in itertools.combinations(claims, 2):
            assert comparable(one, other)
            answer = answers.get(pair_of(one, other).key, Judgement())
            assert identical(one, other) or answer.verdict is not Verdict.EXCLUDES


def words_of(*observations: Observation) -> str:
    claims: list[Claim] = [item.claim for item in observations]
    every = itertools.combinations(claims, 2)
    answers = {pair_of(one, other).key: likely(0.99) for one, other in every}
    (found,) = group(observations, answers)
    assert found.observations == sorted(found.observations, key=lambda item: (item.ts, item.id))
    return found.claim.statement


def test_the_words_of_a_group_hold_what_most_of_it_holds() -> None:
    others = said("celadon for my tiles", 1), said("tiles want celadon", 2)
    assert words_of(said("celadon as in the picture", 0), *others) != "celadon as in the picture"


def test_a_person_speaks_for_a_group_before_an_agent_does() -> None:
    agent = said("use celadon for the tiles", 0, trust=Trust.AGENT)
    assert words_of(agent, said("celadon tiles", 1)) == "celadon tiles"


def test_doubt_is_outweighed_by_all_pairs_together_or_the_groups_stay_apart() -> None:
    texts = ("tiles in celadon", "celadon tiles", "celadon there")
    one, other, third = (said(text, day) for day, text in enumerate(texts))
    known = {pair_of(one.claim, other.claim).key: likely(0.99)}

    def sizes(share: float) -> list[int]:
        linked = {pair_of(other.claim, third.claim).key: likely(share)}
        return sorted(len(x.observations) for x in group([one, other, third], known | linked))

    assert sizes(0.99) == [3]
    assert sizes(0.7) == [1, 2]


def test_what_is_about_nothing_joins_no_two_things() -> None:
    kiln = said("fire for half an hour", 0, ANA, about={"kiln": "two"})
    shop = said("close for half an hour", 1, ANA, about={"shop": "arlen"})
    bridge = said("half an hour, I said", 2, ANA, about={})
    claims = [kiln.claim, shop.claim, bridge.claim]
    answers = {pair_of(*two).key: likely(0.99) for two in itertools.combinations(claims, 2)}
    together = [found.observations for found in group([kiln, shop, bridge], answers)]
    assert all(kiln not in each or shop not in each for each in together)
    assert len(together) == 2
