"""The intent head: every kind in plain templates, the same answer each time, bounded time."""

from __future__ import annotations

import math
import time

import pytest

from sleep_runtime.engines.intent import features
from sleep_runtime.engines.intent.intent import KINDS, read

TEMPLATES = {
    "lesson": (
        "use {v} for the {t}",
        "Use {v} for {t}, please.",
        "client pushed back: {v}, not {old}",
        "The {t} should be {v}.",
        "No, the {t} has to be {v}.",
        "they prefer {v} for the {t}",
    ),
    "standing": (
        "from now on use {v} for the {t}",
        "always use {v} for {t}",
        "Going forward, {t} is {v}.",
        "Every {t} gets {v}, no exceptions.",
        "remember: {v} for every {t}",
    ),
    "change": (
        "we switched to {v}",
        "We switched from {old} to {v} for the {t}.",
        "the {t} is now {v}, no longer {old}",
        "We no longer use {old}, it's {v} now.",
    ),
    "one_off": (
        "just for this draft use {v}",
        "use {v} just this once",
        "For today's {t} only, {v}.",
        "This time use {v}, then back to {old}.",
        "for this one meeting, {v} please",
    ),
    "retract": (
        "forget the {t} rule, no longer needed",
        "Forget what I said about the {t}.",
        "You don't need to use {v} any more.",
        "the {t} rule no longer applies",
    ),
    "nothing": (
        "should we use {v}?",
        "someone mentioned {v}",
        "I wonder whether {v} would be better than {old}.",
        "a colleague said they use {v} for the {t}",
        "thanks, looks good",
        "what's the status of the {t}?",
    ),
}
THINGS = (
    ("chart", "bars", "lines"),
    ("plaster", "lime", "gypsum"),
    ("invoice", "net 30", "net 60"),
    ("dosage", "two drops", "a teaspoon"),
)


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_templates_are_read_as_what_they_say(kind: str, *, correction: bool) -> None:
    for template in TEMPLATES[kind]:
        for thing, value, old in THINGS:
            text = template.format(t=thing, v=value, old=old)
            scores = read(text, correction=correction).scores
            likeliest = max(scores, key=scores.__getitem__)
            accepted = {kind} | ({"lesson"} if kind in {"standing", "change"} else set())
            assert likeliest in accepted, (text, scores)


def test_what_lasts_is_not_taken_from_a_question_or_an_occasion() -> None:
    for kind in ("one_off", "nothing", "retract"):
        for template in TEMPLATES[kind]:
            for thing, value, old in THINGS:
                text = template.format(t=thing, v=value, old=old)
                assert read(text, correction=True).kind not in {"standing", "change"}, text


def test_a_rule_said_plainly_to_last_is_taken_at_once() -> None:
    taken = ("standing", "change")
    for text in (
        "from now on always use bars for every chart",
        "We switched from gypsum to lime for the plaster, it's lime now.",
    ):
        assert read(text, correction=False).kind in taken, text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Make lime plaster the norm for every wall we do.", "lasting"),
        ("Treat net 30 as settled for all of their invoices.", "lasting"),
        ("Lime took over from gypsum for the plaster.", "lasting"),
        ("They dropped gypsum, it's lime now.", "lasting"),
        ("The choice of plaster is free again.", "retract"),
        ("Do as you like with the plaster, that rule is off.", "retract"),
        ("You needn't bother with lime any longer.", "retract"),
        ("For Thursday's viewing use gypsum, then back to lime.", "one_off"),
        ("The guest version of the invoice leaves out the prices, just this one.", "one_off"),
        ("From now on it's downhill.", "nothing"),
        ("No rush with the invoice, whenever you have time.", "nothing"),
    ],
)
def test_what_lasts_or_ends_is_heard_without_its_usual_words(text: str, kind: str) -> None:
    found = read(text, correction=False)
    shares: dict[str, float] = {str(name): score for name, score in found.scores.items()}
    shares["lasting"] = found.lasting
    likeliest = max(("lesson", "lasting", "one_off", "retract", "nothing"), key=shares.__getitem__)
    assert likeliest == kind, found


def test_pasted_output_is_not_taken_to_last() -> None:
    for text in (
        "[api:dev] 11:20:07 restarting because the sources have changed",
        "[jobs] worker exited with code 1",
        "WARN option --quick is deprecated",
    ):
        assert read(text, correction=False).lasting < 0.75, text


def test_a_trade_the_head_never_saw_is_masked() -> None:
    kept = features.CLOSED
    one = features.tokens("From now on glaze the stoneware with celadon.", kept)
    other = features.tokens("From now on file the gearbox with callipers.", kept)
    assert one == other


def test_scores_are_probabilities_and_do_not_depend_on_what_was_read_before() -> None:
    text = "For the regulator's form one decimal place, nowhere else."
    first = read(text, correction=False)
    read("from now on two decimals", correction=True)
    assert read(text, correction=False) == first
    assert set(first.scores) == set(KINDS)
    assert math.isclose(sum(first.scores.values()), 1.0, abs_tol=1e-9)
    assert math.isclose(first.teaches - first.scores["lesson"], first.lasting, abs_tol=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\n", "?", "…", "🙂🙂", "\u202e\u0000\ufeff", "使用制表符", "ÄÖÜ ßtraße", "'" * 50],
)
def test_any_text_has_an_intent(text: str) -> None:
    found = read(text, correction=False)
    assert found.kind in KINDS
    assert all(0 <= score <= 1 for score in found.scores.values())


@pytest.mark.parametrize(
    "piece",
    ["a", "a ", "from now on ", "- ", "?!", "\n", "for this ", "'a-", "1.", "\u2019", "é", "(" * 9],
)
def test_hostile_length_costs_bounded_time(piece: str) -> None:
    read("warm", correction=False)
    start = time.perf_counter()
    read(piece * (200_000 // len(piece)), correction=True)
    assert time.perf_counter() - start < 1.0
