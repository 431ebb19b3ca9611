"""Both compilers keep the contract; each besides does what it is for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import sleep_runtime
from sleep_runtime.core.errors import InvalidConfig
from sleep_runtime.core.fence import strip_fenced
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Compiler, ScoredNote
from sleep_runtime.core.text import one_line
from sleep_runtime.present.budget import BudgetCompiler
from sleep_runtime.present.lines import plain
from sleep_runtime.present.markdown import MarkdownCompiler
from sleep_runtime.present.tokens import EstimatedTokens, make_counter
from sleep_runtime.testing.contracts.compiler import HOSTILE, CompilerContract, sample
from sleep_runtime.testing.notebook import make_note


class TestMarkdown(CompilerContract):
    @pytest.fixture
    def compiler(self) -> Compiler:
        return MarkdownCompiler()


class TestBudget(CompilerContract):
    @pytest.fixture
    def compiler(self) -> Compiler:
        return BudgetCompiler()


TOKENIZER = Path(sleep_runtime.__file__).parent / "engines" / "tokenizer" / "tokenizer.json"


@pytest.mark.parametrize("counted", ["o200k_base", str(TOKENIZER)], ids=["o200k", "file"])
class TestCounted(CompilerContract):
    """Both compilers with the tokenizer of a model."""

    @pytest.fixture(params=[BudgetCompiler, MarkdownCompiler])
    def compiler(self, request: pytest.FixtureRequest, counted: str) -> Compiler:
        self.counter = make_counter(counted)
        made: Compiler = request.param(self.counter)
        return made


@pytest.mark.parametrize("make", [BudgetCompiler, MarkdownCompiler])
@pytest.mark.parametrize("counted", ["estimate", "cl100k_base", "o200k_base", str(TOKENIZER)])
@given(st.lists(st.text(max_size=60) | st.sampled_from(HOSTILE), max_size=12), st.integers(16, 200))
@settings(max_examples=25, deadline=None)
def test_a_budget_is_kept_by_the_count_that_was_chosen(
    make: type[BudgetCompiler], counted: str, texts: list[str], budget: int
) -> None:
    counter = make_counter(counted)
    notes = [_scored(f"n{at}", text or "x") for at, text in enumerate(texts)]
    made = make(counter).compile(notes, query="", budget_tokens=budget)
    assert made.tokens == counter.count(made.text) <= budget


def test_special_tokens_and_lone_surrogates_are_text_like_any_other() -> None:
    for counted in ("o200k_base", str(TOKENIZER)):
        assert make_counter(counted).count("<|endoftext|> [SEP] \ud800") > 3


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_a_file_that_is_no_tokenizer_is_refused_with_a_mend(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidConfig, match=r"^compiler\.tokenizer: .*use estimate"):
        make_counter(str(path))


def test_a_vocabulary_whose_package_is_missing_is_refused_with_a_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    with pytest.raises(InvalidConfig, match="bpe-openai"):
        make_counter("o200k_base")


def _scored(note_id: str, text: str, score: float = 0.5, **more: object) -> ScoredNote:
    return ScoredNote(note=make_note(note_id, text, **more), score=score)  # type: ignore[arg-type]


def _shown(*notes: ScoredNote, budget: int = 5000) -> tuple[str, ...]:
    return BudgetCompiler().compile(notes, query="", budget_tokens=budget).notes


# ---------------------------------------------------------------------------- markdown


def test_markdown_groups_by_nearest_scope_and_subject_with_provenance() -> None:
    made = MarkdownCompiler().compile(sample(), query="", budget_tokens=5000)
    assert made.text.splitlines()[1:-1] == [
        "## acme/banking/ana",
        "- Keep slides under ten. (1 person, 1 session, 0.90)",
        "- Put the summary first. (2 people, 2 sessions, 0.80)",
        "## acme/banking",
        "- Use adjusted EBITDA in every earnings deck for Northwind. (1 person, 1 session, 0.90)",
        "- Run the waterfall by quarter, not by year. (2 people, 2 sessions, 0.80)",
        "### charts",
        "- Round figures in charts to one decimal. (3 people, 3 sessions, 0.70)",
        "## acme",
        "- Write dates the ISO way. (1 person, 1 session, 0.90)",
        "### charts",
        "- Name the source under every chart. (2 people, 2 sessions, 0.80)",
    ]


def test_markdown_keeps_the_best_answers_when_room_is_short() -> None:
    notes = [_scored("best", "Short.", 0.9), _scored("long", "word " * 60, 0.8), *sample()[:1]]
    made = MarkdownCompiler().compile(notes, query="", budget_tokens=100)
    assert set(made.notes) == {"best", sample()[0].note.id}


def test_a_superseded_note_says_so() -> None:
    old = _scored("old", "Use GAAP.", status=NoteStatus.SUPERSEDED)
    for compiler in (MarkdownCompiler(), BudgetCompiler()):
        text = compiler.compile([old], query="", budget_tokens=500).text
        assert "[superseded] Use GAAP." in text


# ---------------------------------------------------------------------------- budget


def test_budget_prefers_value_per_token() -> None:
    long = _scored("long", "Whatever the deck is about, " * 10 + "use GAAP.", 0.9)
    short = _scored("short", "Use GAAP.", 0.8)
    assert _shown(long, short, budget=40) == ("short",)


def test_budget_doubts_what_has_little_confidence() -> None:
    sure = _scored("sure", "Use one decimal.", 0.5, confidence=0.9)
    unsure = _scored("unsure", "Use two decimals.", 0.6, confidence=0.2)
    room = EstimatedTokens().count("<sleep-context>\n- Use two decimals.\n</sleep-context>")
    assert _shown(unsure, sure, budget=room) == ("sure",)


def test_budget_shows_one_of_two_that_say_the_same() -> None:
    assert _shown(
        _scored("a", "Use adjusted EBITDA for the earnings decks.", 0.9),
        _scored("b", "Please use adjusted EBITDA in earnings decks", 0.8),
    ) == ("a",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Use adjusted EBITDA in decks.", "Do not use adjusted EBITDA in decks."),
        ("Run the linter before the tests.", "Run the linter after the tests."),
        ("Run the linter before the tests.", "Run the tests before the linter."),
        ("Show the waterfall by quarter.", "Show the waterfall by year."),
        ("Send big files to the whole team.", "Send only big files to the whole team."),
        ("Round to 1 decimal.", "Round to 2 decimals."),
    ],
)
def test_budget_never_folds_what_may_differ_in_meaning(one: str, other: str) -> None:
    assert len(_shown(_scored("a", one), _scored("b", other))) == 2


def test_budget_does_not_fold_across_conditions() -> None:
    always = _scored("a", "Use adjusted EBITDA.")
    drafts = _scored("b", "Use adjusted EBITDA.", applies_when="in drafts")
    assert len(_shown(always, drafts)) == 2


# ---------------------------------------------------------------------------- text and tokens


@given(st.text(max_size=200) | st.sampled_from(HOSTILE))
@settings(max_examples=300, deadline=None)
def test_one_line_is_one_line_and_stays_so(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line
    line.encode()


@given(
    st.lists(st.sampled_from(["<", "/", ">", "sleep-context", "SLEEP-context", " ", "\u200b", "x"]))
)
@settings(max_examples=500, deadline=None)
def test_no_fence_mark_survives_however_it_is_assembled(parts: list[str]) -> None:
    compiled = BudgetCompiler().compile(
        [_scored("a", "".join(parts) or "x")], query="", budget_tokens=5000
    )
    assert strip_fenced(compiled.text) == ""
    assert "<sleep-context>" not in compiled.text[1:].lower()


@pytest.mark.parametrize(
    "text", ["# a", "- a", "12. a", "3) a", "```", "> a", "| a", "*a", "[x]: y"]
)
def test_markdown_structure_at_the_start_is_escaped(text: str) -> None:
    assert "\\" in plain(text)
    assert plain(text).replace("\\", "") == text


PROSE = (
    "Use adjusted EBITDA in every earnings deck for Northwind, and run the waterfall by quarter.",
    "## acme/banking/ana\n- Keep slides under ten. (2 people, 5 sessions, 0.93)",
    "Call get_user_name() with retries=3 and log `HTTP 503` errors to /var/log/app-2026.log.",
    "Prefer pytest -x -q --tb=short; never run the whole suite before lint passes.",
    "Déjà vu: la réunion est à 14 h, merci de préparer les chiffres.",
    "请使用调整后的数字。",
)


@pytest.mark.parametrize("text", PROSE)
def test_the_estimate_stays_above_a_real_vocabulary(text: str) -> None:
    packaged = Path(sleep_runtime.__file__).parent / "engines" / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(packaged))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    real = len(tokenizer.encode(text, add_special_tokens=False).ids)
    assert real <= EstimatedTokens().count(text) <= 4 * real


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_text_beyond_ascii_never_counts_less_than_its_bytes(text: str) -> None:
    beyond = "".join(c for c in text if ord(c) > 127)
    assert EstimatedTokens().count(text) >= len(beyond.encode("utf-8", "surrogatepass"))


@given(st.lists(st.text(max_size=40), max_size=8))
@settings(max_examples=300, deadline=None)
def test_counting_lines_apart_never_counts_less(lines: list[str]) -> None:
    counter = EstimatedTokens()
    apart = sum(counter.count(f"{line}\n") for line in lines)
    assert counter.count("\n".join(lines)) <= apart
