"""The economy benchmark counts what it says it counts, for all three ways alike."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.economy.counting import BLOCK_TOKENS, Meter, PrefixCache
from benchmarks.economy.peers import NOTES, per_event, per_turn
from benchmarks.economy.right import Asking, RightModel
from sleep_runtime.core.observation import Claim, Draft, Durability, NoteKind
from sleep_runtime.core.proposal import ClaimPair, Verdict
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.llm import LlmEngine
from sleep_runtime.testing.contracts.engine import session, turn
from sleep_runtime.testing.embedder import HashEmbedder

RULE = "From now on the waterfall starts from adjusted EBITDA."


class Words:
    """A tokenizer: a number for each word, the same for the same word."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self.texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.texts.append(text)
        return [self._known.setdefault(word, len(self._known)) for word in text.split()]


# ---------------------------------------------------------------------------- the cache


def test_a_first_prompt_is_not_cached_and_the_same_again_is_but_for_its_last_block() -> None:
    cache, prompt = PrefixCache(), list(range(BLOCK_TOKENS * 3))
    assert cache.take(prompt) == 0
    assert cache.take(prompt) == BLOCK_TOKENS * 2  # the last token has to be computed
    assert cache.take([*prompt, 7]) == BLOCK_TOKENS * 3


def test_only_whole_blocks_with_the_same_blocks_before_them_are_cached() -> None:
    cache = PrefixCache()
    first, second = list(range(BLOCK_TOKENS)), list(range(100, 100 + BLOCK_TOKENS))
    cache.take([*first, *second, 1])
    assert cache.take([*first, *second[:-1], 5, 1]) == BLOCK_TOKENS
    assert cache.take([*second, *second, 1]) == 0
    assert cache.take([0, *first, *second, 1]) == 0


def test_a_call_is_counted_with_its_markers_its_prompt_and_its_answer() -> None:
    meter = Meter(Words())
    meter.call([("system", "be brief"), ("user", "a b c")], {"x": 1})
    # <start> system be brief <end> <start> user a b c <end> <start> assistant
    assert meter.used.input_tokens == 5 + 6 + 2
    assert meter.used.output_tokens == 2
    assert meter.used.calls == 1


# ---------------------------------------------------------------------------- right answers


def test_ours_is_told_what_the_built_in_engine_knows_and_learns_the_same() -> None:
    knows = ExtractiveEngine(HashEmbedder())
    asked = [session(turn(RULE, event_id="a")), session(turn("thanks!", event_id="b"))]
    model = RightModel(Meter(Words()))
    ours = Asking(LlmEngine(model, max_parts=4, max_pairs=24), model, knows)
    learned, nothing = ours.distil(asked)
    (truth,) = knows.distil(asked)[0].drafts
    assert [draft.claim.statement for draft in learned.drafts] == [truth.claim.statement]
    assert learned.drafts[0].evidence == ("a",)
    assert not nothing.drafts
    assert ours.usage == model.meter.used


@pytest.mark.parametrize("max_pairs", [1, 24])
def test_verdicts_are_those_of_the_built_in_engine(max_pairs: int) -> None:
    knows = ExtractiveEngine(HashEmbedder())
    words = ("use euros", "use euros please", "never use euros", "sort by date")
    claims = [Claim(statement=text, kind=NoteKind.CONVENTION) for text in words]
    pairs = [
        ClaimPair(key=f"{a}{b}", left=claims[a], right=claims[b])
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    model = RightModel(Meter(Words()))
    ours = Asking(LlmEngine(model, max_pairs=max_pairs), model, knows)
    truth = [answer.verdict for answer in knows.compare(pairs)]
    assert [answer.verdict for answer in ours.compare(pairs)] == truth
    assert len(set(truth)) > 1


# ---------------------------------------------------------------------------- peers


def event(number: int, text: str, *, role: str = "human", user: str = "ana") -> dict[str, Any]:
    scope = {"org": "acme", "team": "desk", "user": user}
    return {"id": f"e{number}", "role": role, "text": text, "scope": scope}


def draft(number: int, statement: str) -> Draft:
    claim = Claim(statement=statement, kind=NoteKind.CONVENTION)
    return Draft(claim=claim, durability=Durability.STANDING, evidence=(f"e{number}",))


def test_a_peer_calls_once_for_each_event_or_for_each_human_turn() -> None:
    events = [event(1, RULE), event(2, "Done.", role="agent"), event(3, "log", role="tool")]
    a, b = Meter(Words()), Meter(Words())
    embedder = HashEmbedder()
    per_event(events, {}, a)
    per_turn(events, {}, b, embedder, ExtractiveEngine(embedder))
    assert (a.used.calls, b.used.calls) == (3, 1)


def test_a_peer_is_shown_its_own_persons_ten_nearest_notes_once_each() -> None:
    embedder = HashEmbedder()
    texts = [f"rule {'abcdefghijklmnopqrst'[n]}{n} about thing {n}" for n in range(20)]
    events = [*(event(n, text) for n, text in enumerate(texts)), event(20, texts[3])]
    events.append(event(21, texts[3], user="ben"))
    lessons = {f"e{n}": [draft(n, text)] for n, text in enumerate(texts)}
    lessons["e20"] = [draft(20, texts[3])]
    words = Words()
    per_turn(events, lessons, Meter(words), embedder, ExtractiveEngine(embedder))
    asked = [text for text in words.texts if "\nH1: rule " in text]
    last, other = asked[-2:]
    assert last.count("\n") == NOTES + 4
    assert last.splitlines()[1] == f"1: {texts[3]}"
    assert "<notes>" not in other


def test_the_same_lesson_again_is_no_new_note() -> None:
    embedder = HashEmbedder()
    events = [event(n, RULE) for n in range(3)]
    lessons = {f"e{n}": [draft(n, RULE)] for n in range(3)}
    words = Words()
    per_turn(events, lessons, Meter(words), embedder, ExtractiveEngine(embedder))
    notes = [text for text in words.texts if text.startswith("<notes>")]
    assert [text.count(f": {RULE}") for text in notes] == [2, 2]  # the note and the line itself
    answers = [text for text in words.texts if '"related"' in text and text.startswith('{"reas')]
    assert sum(f'"{Verdict.SAME.value}"' in text for text in answers) == 2
