"""Words, sentences, shortening: the small parts the extractive engine stands on."""

from __future__ import annotations

import pytest

from sleep_runtime.engines.text import cues
from sleep_runtime.engines.text.prose import prose
from sleep_runtime.engines.text.sentences import clauses, sentences
from sleep_runtime.engines.text.slots import parse
from sleep_runtime.engines.text.statement import fit, shorten, with_facets
from sleep_runtime.engines.text.words import content, decisive_terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("quarter over quarter", "QoQ"),
        ("year-over-year", "YoY"),
        ("two decimals", "2 decimal"),
        ("$1,000", "1000 USD"),
        ("colours", "color"),
        ("PRs", "PR"),
        ("thirty days", "30 day"),
        ("reports", "reporting"),
        ("quarter by quarter", "quarter on quarter"),
        ("on the wall", "at the wall"),
    ],
)
def test_spellings_of_one_thing_have_one_form(one: str, other: str) -> None:
    assert sorted(content(one)) == sorted(content(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("adjusted", "reported"), ("1.5", "15"), ("npm", "pnpm"), ("gross", "net"), ("on", "off")],
)
def test_different_things_stay_different(one: str, other: str) -> None:
    assert content(one) != content(other)


def test_names_codes_and_numbers_are_decisive() -> None:
    assert {"contoso", "2", "session.go"} <= decisive_terms("for Contoso 2 lines in session.go")
    assert not decisive_terms("Keep replies short")


def test_pasted_matter_is_not_the_speakers_prose() -> None:
    text = "look:\n```\nalways use tabs\n```\n> never do this\n| a | b |\n<x>always</x>\nuse spaces"
    assert prose(text).split("\n")[-1] == "use spaces"
    assert "tabs" not in prose(text)
    assert "never" not in prose(text)
    assert not prose("# Rules\ntext\n## More\nalways use tabs")
    assert not prose("word " * 2000)


def test_long_quotations_are_left_out_and_short_ones_kept() -> None:
    assert "always" not in prose('the mail says "you must always use the reported figures" ok')
    assert '"Revenue"' in prose('call the axis "Revenue"')


def test_sentences_keep_abbreviations_and_versions_whole() -> None:
    assert sentences("use e.g. pnpm 9.1 here. then test.") == [
        "use e.g. pnpm 9.1 here.",
        "then test.",
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("use adj. EBITDA, not reported", 1),
        ("fees are approx. EUR 5m", 1),
        ("the fees are approx. Use exact ones.", 2),
        ("see no. 5 for that", 1),
        ("no. use the template", 2),
        ("we ship on Tues. and Thurs. only", 1),
        ("put it in fig. 3, e.g. on top", 1),
        ("prices incl. VAT vs. prices without", 1),
        ("add totals, taxes etc. Then stop.", 2),
    ],
)
def test_a_period_that_shortens_a_word_ends_no_sentence(text: str, count: int) -> None:
    assert len(sentences(text)) == count


def test_what_is_handed_over_is_somebody_elses() -> None:
    assert "must" not in prose("Please fix these findings:\n\nThe cache must never be shared.")
    assert "must" in prose("Our rules for these errors:\n\nThe cache must never be shared.")
    assert "must" not in prose("all ok\n- " + "the cache must never be shared " * 6)
    assert "command" not in prose("zsh: command not found: foo\nuse teal")


@pytest.mark.parametrize(
    ("sentence", "count"),
    [
        ("Adjusted EBITDA, and the waterfall always quarter over quarter", 2),
        ("I prefer teal in my charts, this is grey", 2),
        ("use adjusted EBITDA, and run the waterfall quarter over quarter", 2),
        ("adjusted EBITDA, not reported", 1),
        ("just for this draft, leave out the appendix", 1),
        ("when exporting, use CSV and name the file by date", 1),
        ("don't commit secrets and push to main", 1),
        ("don't use npm, use pnpm", 2),
        ("keep titles and labels short", 1),
    ],
)
def test_clauses_part_only_where_both_sides_stand_alone(sentence: str, count: int) -> None:
    assert len(clauses(sentence)) == count


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("no, use pnpm please", "use pnpm"),
        ("No reported figures", "No reported figures"),
        ("could you please always sort by date?", "always sort by date"),
        ("hey team, thanks, use teal", "use teal"),
        ("stop using npm", "stop using npm"),
        ("never, ever push to main", "never, ever push to main"),
        ("not reported EBITDA", "not reported EBITDA"),
    ],
)
def test_shortening_keeps_the_meaning(said: str, kept: str) -> None:
    assert shorten(said) == kept


def test_a_statement_is_never_cut_in_the_middle() -> None:
    long = "use " + "very " * 50 + "long words"
    assert fit(long) == ""
    assert fit(f"use teal because {'so ' * 50}") == "use teal"


def test_facets_are_named_once() -> None:
    about = {"account": "north-wind"}
    assert with_facets("use teal", about) == "north-wind: use teal"
    assert with_facets("for North Wind use teal", about) == "for North Wind use teal"


def test_the_rejected_part_is_no_negation() -> None:
    parsed = parse("use adjusted EBITDA, not reported")
    assert (parsed.rejected, parsed.negated) == ("reported", False)
    assert parse("don't use reported EBITDA").negated
    assert parse("leave out the appendix").negated
    assert not parse("don't leave out the appendix").negated


@pytest.mark.parametrize("text", ["thanks!", "ok great, thank you so much", "lgtm", "yes"])
def test_thanks_are_acknowledgements(text: str) -> None:
    assert cues.is_acknowledgement(text)


def test_not_just_this_time_is_no_one_off() -> None:
    read = cues.read("not just for this deck, use teal")
    assert read.standing
    assert not read.one_off


@pytest.mark.parametrize(
    "pasted",
    [
        "Agenda\n1. Minutes of last week\n2. Heating",
        "rail     18,220\nair      33,900\ntotal    52,120",
        "entity;period;amount\n01;07;19.95\n02;07;4.10",
        "[x] pressure\n[x] leak tray dry\n[ ] log book signed",
        "state: up\nerrors: 14\nlast flap: 3h ago",
        "anna: is it back?\nmilo: not yet\nanna: ok",
        "Dear all,\nwe must always close the gate.\nYours, the caretaker",
        "-------- Forwarded --------\nNever leave bikes in the hall.\nThe house",
    ],
)
def test_a_block_pasted_beside_a_turn_is_left_out(pasted: str) -> None:
    own = "Legends go below the map."
    assert prose(f"{own}\n\n{pasted}") == own
    assert prose(f"{pasted}\n\n{own}").split("\n")[-1] == own


def test_a_list_that_somebody_types_is_kept() -> None:
    typed = "Two rules for the map:\n- legends below\n- roads in grey"
    assert "roads in grey" in prose(f"Thanks for the draft.\n\n{typed}")
    assert "roads in grey" in prose("legends below\nroads in grey\nno borders")
    assert "roads in grey" in prose("Please remember:\n\n- legends below\n- roads in grey")


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("legends below\nfor access: password=[secret]", "legends below"),
        ("legends below (the login is [secret])", "legends below"),
        (
            "Use the test map, the key is [secret], not the old one.",
            "Use the test map, not the old one.",
        ),
        ("here is the key: [secret]", ""),
    ],
)
def test_who_hands_over_a_secret_states_no_rule_by_it(text: str, own: str) -> None:
    assert prose(text) == own
