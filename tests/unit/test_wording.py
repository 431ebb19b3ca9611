"""In which of its wordings a lesson is put, and which word it is led by."""

from __future__ import annotations

import itertools

import pytest

from sleep_runtime.consolidation.wording import Wordings, complete, directive, rank
from sleep_runtime.core.observation import Claim, NoteKind


def claim(statement: str, corrects: str = "", **more: object) -> Claim:
    fields = {"statement": statement, "kind": NoteKind.FACT, "corrects": corrects, **more}
    return Claim.model_validate(fields)


def best(*claims: Claim) -> str:
    wordings = Wordings(claims)
    return max(claims, key=wordings.score).statement


GLAZE = "I glazed the tiles with cobalt."
BARE = claim("celadon, not that", GLAZE)
CHATTY = claim("celadon it is, my aunt has the same in her kitchen since the flood", GLAZE)
WHOLE = claim("glaze the tiles with celadon", GLAZE)


def test_the_words_that_hold_what_the_others_hold_say_it_best() -> None:
    for order in itertools.permutations((BARE, CHATTY, WHOLE)):
        assert best(*order) == WHOLE.statement


def test_words_nobody_else_says_earn_nothing_and_length_costs() -> None:
    plain = claim("celadon for the tiles")
    long = claim(
        "celadon for the tiles because the buyer came by on a rainy morning and saw the others "
        "drying in the yard by the old shed"
    )
    wordings = Wordings([plain, claim("the tiles in celadon"), long])
    assert wordings.score(plain) > wordings.score(long)


def test_of_wordings_with_one_value_the_one_that_names_the_subject_wins() -> None:
    value, both = claim("celadon please", GLAZE), claim("tiles in celadon please", GLAZE)
    third = claim("celadon again", GLAZE)
    assert best(value, both, third) == both.statement


def test_a_facet_is_no_part_of_the_lesson() -> None:
    about = {"shop": "arlen"}
    with_name, without = claim("arlen celadon", about=about), claim("celadon", about=about)
    wordings = Wordings([with_name, without, claim("arlen again", about=about)])
    assert wordings.score(with_name) == wordings.score(without)


def test_the_order_of_the_wordings_changes_no_score() -> None:
    claims = [BARE, CHATTY, WHOLE]
    for order in itertools.permutations(claims):
        wordings = Wordings(order)
        found = [wordings.score(item) for item in claims]
        assert found == pytest.approx([Wordings(claims).score(item) for item in claims])


# ---------------------------------------------------------------------------- label

ONLY_VALUE = claim("celadon please", "I glazed the tiles.")
NAMES_IT = claim("tiles in celadon", "I glazed the tiles again.")


def test_a_wording_without_subject_is_led_by_the_word_another_one_names() -> None:
    wordings = Wordings([ONLY_VALUE, NAMES_IT])
    assert wordings.label(ONLY_VALUE) == "tiles"
    led = wordings.complete(ONLY_VALUE)
    assert (led.statement, led.subject) == ("tiles: celadon please", "tiles")
    assert wordings.complete(led) == led


def test_a_wording_that_names_its_subject_is_left_as_it_is() -> None:
    wordings = Wordings([ONLY_VALUE, NAMES_IT])
    assert wordings.label(NAMES_IT) == ""
    assert wordings.complete(NAMES_IT) is NAMES_IT


def test_the_thing_a_lesson_is_about_never_leads_it_twice() -> None:
    about = {"kiln": "ember"}
    plain = claim("ember: celadon please", "I glazed ember.", about=about)
    other = claim("celadon on ember", "I glazed ember.")
    wordings = Wordings([plain, other])
    assert wordings.complete(plain) is plain


def test_without_causes_or_with_too_long_words_nothing_is_led() -> None:
    bare = [claim("celadon please"), claim("tiles in celadon")]
    assert Wordings(bare).complete(bare[0]) is bare[0]
    long = claim("celadon " + "and so on " * 13, "I glazed the tiles.")
    wordings = Wordings([long, NAMES_IT])
    assert wordings.label(long)
    assert wordings.complete(long) is long


def test_a_subject_that_is_given_is_kept() -> None:
    named = claim("celadon please", "I glazed the tiles.", subject="finish")
    assert Wordings([named, NAMES_IT]).complete(named).subject == "finish"


# ---------------------------------------------------------------------------- rank


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("use celadon", True),
        ("please always use celadon", True),
        ("tiles are celadon", True),
        ("for the tiles, never use cobalt", True),
        ("we glaze with celadon", True),
        ("celadon", False),
        ("celadon on the use of tiles", False),
        ("", False),
    ],
)
def test_what_tells_to_do_something_has_a_verb(statement: str, *, expected: bool) -> None:
    assert directive(statement) is expected


def test_clear_words_rank_before_fragments_and_unsure_ones_last() -> None:
    whole = claim("use celadon for tiles", subject="tiles", value="celadon")
    half = claim("use celadon", subject="tiles", value="celadon")
    piece = claim("celadon", subject="tiles", value="celadon")
    assert complete(whole)
    assert not complete(half)
    ranked = [rank(item, standing=True) for item in (whole, half, piece)]
    assert ranked == sorted(ranked)
    assert len(set(ranked)) == 3
    assert max(ranked) < rank(whole, standing=False)
