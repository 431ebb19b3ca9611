"""BM25 over segments: the textbook's scores, however the texts are divided."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from sleep_runtime.present.bm25 import K1, USUAL_WORDS, B, Postings, idf, keys, stem, words

TERMS = ("ebitda", "waterfall", "dates", "deck", "quarter", "year", "margin", "branch", "deploy")


def _corpus(count: int, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(TERMS, k=rng.randint(1, 12))) for _ in range(count)]


def _scores(parts: list[list[str]], query: str, usual: float = USUAL_WORDS) -> list[float]:
    """The scores of all texts, each part indexed apart."""
    asked = np.array(sorted(set(keys(query))), dtype=np.int64)
    postings = [Postings(part, usual=usual) for part in parts]
    found = [one.find(asked) for one in postings]
    having = [one.frequencies(at, None) for one, at in zip(postings, found, strict=True)]
    texts = sum(len(part) for part in parts)
    weights = [idf(texts, sum(each)) for each in zip(*having, strict=True)]
    made: list[float] = []
    for part, one, at in zip(parts, postings, found, strict=True):
        into = np.zeros(len(part), dtype=np.float32)
        one.add(at, weights, into)
        made += into.tolist()
    return made


def _textbook(texts: list[str], query: str, usual: float) -> list[float]:
    split = [words(text) for text in texts]
    made = []
    for text in split:
        counts = Counter(text)
        score = 0.0
        for word in set(words(query)):
            having = sum(word in other for other in split)
            weight = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            norm = counts[word] + K1 * (1 - B + B * len(text) / usual)
            score += weight * counts[word] * (K1 + 1) / norm
        made.append(score)
    return made


@pytest.mark.parametrize("query", ["waterfall by quarter", "deck", "unheard of", "year year deck"])
def test_scores_are_those_of_the_textbook(query: str) -> None:
    texts = _corpus(60)
    assert _scores([texts], query) == pytest.approx(_textbook(texts, query, USUAL_WORDS), rel=1e-5)


def test_texts_indexed_apart_score_as_if_they_were_indexed_together() -> None:
    texts = _corpus(60)
    apart = [texts[:7], texts[7:8], [], texts[8:]]
    for query in ("waterfall quarter", "ebitda deck review"):
        assert _scores(apart, query) == pytest.approx(_scores([texts], query), rel=1e-6)


def test_scores_are_those_of_bm25s_over_the_same_texts() -> None:
    """A kept library as the reference. It averages lengths, so its average is given here."""
    import bm25s

    texts = _corpus(80, seed=11)
    split = [words(text) for text in texts]
    usual = sum(map(len, split)) / len(split)
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index(split, show_progress=False)
    for query in ("waterfall quarter", "ebitda deck review"):
        # Lucene leaves out the factor k1 + 1, which changes no order.
        ours = np.array(_scores([texts], query, usual)) / (K1 + 1)
        assert ours == pytest.approx(index.get_scores(words(query)), rel=1e-4)


def test_a_word_of_hidden_texts_counts_in_none() -> None:
    postings = Postings(["deck deck", "deck year", "year"])
    asked = np.array(sorted(keys("deck")), dtype=np.int64)
    found = postings.find(asked)
    assert postings.frequencies(found, None) == [2]
    assert postings.frequencies(found, np.array([False, True, True])) == [1]


def test_nothing_indexed_and_nothing_found() -> None:
    for texts in ([], ["", "the of"]):
        postings = Postings(texts)
        found = postings.find(np.array(keys("deck"), dtype=np.int64))
        assert postings.frequencies(found, None) == [0]
        into = np.zeros(len(texts), dtype=np.float32)
        postings.add(found, [1.0], into)
        assert not into.any()


def test_weights_are_never_negative() -> None:
    assert idf(10, 10) > 0
    assert idf(10, 1) > idf(10, 9)


def test_forms_of_a_word_are_one_word() -> None:
    for forms in (
        ("date", "dates", "dated", "dating"),
        ("test", "tests", "tested", "testing"),
        ("policy", "policies"),
        ("plan", "plans", "planned", "planning"),
    ):
        assert len({stem(form) for form in forms}) == 1, forms
    for word in ("bus", "class", "red", "ring", "x", ""):
        assert stem(word) in (word, word[:-1])


def test_question_words_are_not_looked_up() -> None:
    assert keys("how should we use the") == []
    assert len(keys("how do we date a deck")) == 2
