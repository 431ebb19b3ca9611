"""The pairwise judge: its features, its guards, and the benchmark that measures it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.judge.banks import Bank, pairs_of
from benchmarks.judge.public import public
from benchmarks.judge.scoring import Answer, scored
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.judge.decide import PairJudge
from sleep_runtime.engines.judge.features import features, slipped
from sleep_runtime.engines.judge.reading import read
from sleep_runtime.engines.judge.weights import Trees, shipped
from sleep_runtime.engines.text import align
from sleep_runtime.testing.embedder import HashEmbedder

EMBEDDER = MiniLmEmbedder()
JUDGE = PairJudge(EMBEDDER)
DESK = {"customer": "ombria"}


def said(statement: str, about: dict[str, str] | None = None) -> Claim:
    return Claim(
        statement=statement, kind=NoteKind.CONVENTION, about=DESK if about is None else about
    )


def judged(left: str, right: str) -> Judgement:
    pair = ClaimPair(key="k", left=said(left), right=said(right))
    return JUDGE.judge(pair)


FREE = (
    (
        "crates for the harbour tour leave through the north gate",
        "their harbour tour crates? north gate, always",
    ),
    (
        "the harbour tour wants its crates at the north gate",
        "Sorry to nag: north gate is where crates for the harbour tour belong.",
    ),
)


@pytest.mark.parametrize(("left", "right"), FREE)
def test_free_wordings_of_one_answer_are_the_same(left: str, right: str) -> None:
    assert judged(left, right).verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (
            "tickets of theirs are answered within 4 hours",
            "please answer their tickets within 8 hours, they checked",
        ),
        ("we never ship their crates by air", "their crates are to be shipped by air"),
        (
            "their lamps are switched on before the tour",
            "please, lamps switched on after the tour at their place",
        ),
    ],
)
def test_numbers_negation_and_opposites_are_never_merged(left: str, right: str) -> None:
    assert judged(left, right).verdict is not Verdict.SAME


def test_another_facet_bars_every_likeness() -> None:
    left, right = said(FREE[0][0]), said(FREE[0][1], {"customer": "pellwick"})
    assert JUDGE.judge(ClaimPair(key="k", left=left, right=right)).verdict is Verdict.UNRELATED


def test_the_judgement_has_no_direction_and_no_neighbours() -> None:
    texts = [text for pair in FREE for text in pair]
    pairs = [ClaimPair(key="k", left=said(a), right=said(b)) for a in texts for b in texts]
    engine = ExtractiveEngine(EMBEDDER)
    together = engine.compare(pairs)
    assert together == [ExtractiveEngine(EMBEDDER).compare([pair])[0] for pair in pairs]
    turned = [pair.model_copy(update={"left": pair.right, "right": pair.left}) for pair in pairs]
    assert [each.verdict for each in engine.compare(turned)] == [each.verdict for each in together]


def test_the_shipped_head_is_of_these_features() -> None:
    left, right = said(FREE[0][0]), said(FREE[0][1])
    one, other = (read(each, EMBEDDER, shipped().tagger) for each in (left, right))
    found = features(one, other, (align.read(left), align.read(right)), shipped().mean)
    assert tuple(found) == shipped().features


def test_without_a_word_in_common_nothing_is_weighed() -> None:
    found = judged("crates leave through the cedar gate", "invoices are sent on paper by Monday")
    assert found.verdict is Verdict.UNRELATED
    assert "topic" not in found.reason


def test_slips_of_the_pen_are_seen() -> None:
    assert slipped("shoudl", "should")
    assert slipped("recieve", "receive")
    assert not slipped("north", "south")


def test_without_token_states_the_rules_judge_alone() -> None:
    engine = ExtractiveEngine(HashEmbedder())
    assert "rules" in engine.name
    pair = ClaimPair(key="k", left=said("use UTC"), right=said("always use UTC"))
    assert engine.compare([pair])[0].verdict is Verdict.SAME


def test_the_name_tells_the_version_of_the_weights() -> None:
    assert f"judge-{shipped().version}" in ExtractiveEngine(EMBEDDER).name


def test_trees_walk_to_their_leaves() -> None:
    trees = Trees(
        {
            "baseline": [0.0, 0.0, 0.0],
            "label": [0],
            "root": [0],
            "feature": [0, -1, -1],
            "threshold": [0.5, 0, 0],
            "left": [1, 0, 0],
            "right": [2, 0, 0],
            "value": [0, -2.0, 2.0],
        }
    )
    assert trees.chances(np.array([0.4]))[0] < trees.chances(np.array([0.6]))[0]


def test_states_are_kept_within_their_budget() -> None:
    embedder = MiniLmEmbedder()
    embedder.keep_states(20)
    embedder.embed([f"a text of its own, number {i}" for i in range(9)])
    assert sum(len(each.ids) for each in embedder._states.values()) <= 20


BANK = {
    "domain": "harbour",
    "facet": "pier",
    "facets": ["one", "two", "three"],
    "topics": [
        {
            "id": topic,
            "values": [{"id": v, "say": [v, f"{v} ones"]} for v in values],
            "ways": [
                f"{topic} means {{v}}",
                f"for {{f}}, {topic} goes with {{v}}",
                f"{{v}} at {topic}",
            ],
        }
        for topic, values in (("mooring", ["ropes", "chains"]), ("lamps", ["amber", "white"]))
    ],
}


def test_generated_pairs_are_labelled_by_what_was_drawn() -> None:
    bank = Bank(BANK)
    pairs = list(pairs_of(bank, seed=1, each=12))
    assert pairs == list(pairs_of(Bank(BANK), seed=1, each=12))
    assert [pair.label for pair in pairs].count(Verdict.EXCLUDES) == 12
    rng = random.Random(3)
    for one, other in (bank.excluding(rng) for _ in range(20)):
        assert (one.facet, one.topic) == (other.facet, other.topic)
        assert one.value != other.value


def test_a_missing_set_is_skipped_and_named(tmp_path: Path) -> None:
    row = {
        "sentence1": "a red boat",
        "sentence2": "a blue boat",
        "gold_label": "contradiction",
        "category": "colors",
    }
    (tmp_path / "breaking_nli.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    by_name = {each.name: each for each in public(tmp_path, seed=1, most=10)}
    assert [pair.label for pair in by_name["breaking_nli"].pairs] == [Verdict.EXCLUDES]
    assert "skipped" in by_name["fact_updates"].note


def test_scores_count_what_was_merged() -> None:
    labels = [Verdict.SAME, Verdict.SAME, Verdict.EXCLUDES, Verdict.EXCLUDES, Verdict.UNRELATED]
    answers = [
        Answer(Verdict.SAME, 0.9),
        Answer(Verdict.UNRELATED, 0.2),
        Answer(Verdict.SAME, 0.5),
        Answer(Verdict.EXCLUDES, 0.0),
        Answer(Verdict.UNRELATED, 0.0),
    ]
    score = scored(labels, answers)
    assert (score.same_recall, score.contradictions_merged, score.contradictions) == (0.5, 0.5, 2)
    assert score.precision(Verdict.EXCLUDES) == 1.0
    assert dict(score.curve())[0.0] == 0.5
