"""Decide: rules where rules are sure, else the trained head at a strict threshold, else apart.

The head sees what rules cannot name: which words are the answer, and which only surround it. What
it must not be trusted with stays with the rules: facets, conditions, numbers, negation, direction.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.judge import guards
from sleep_runtime.engines.judge.features import features
from sleep_runtime.engines.judge.reading import Floats, Reading, TokenEmbedder, read
from sleep_runtime.engines.judge.weights import Weights, shipped
from sleep_runtime.engines.text import align

_KNOWN_READINGS = 8192
_KNOWN_ANSWERS = 16_384
_DOUBTED = 0.2
"""Below this chance of *same* the head stops a merge by rule."""
_EXCLUDES_WITHOUT_FACET = 0.97
"""Where no facet says that both are about one thing, *excludes* needs this chance."""

_Question = tuple[str, str]


class PairJudge:
    """Judges pairs of claims. The same pair gives the same judgement, alone or in a batch.

    Readings of the last 8,192 claims are remembered (about 40 KB each at most, 10 KB usually), and
    the last 16,384 answers (about 1 KB each): what one person said is compared again in the nights
    of the team and of the organisation.
    Safe to call from several threads. Raises ``EngineError`` when the weights or the embedder are
    unusable.
    """

    def __init__(self, tokens: TokenEmbedder, weights: Weights | None = None) -> None:
        self._tokens = tokens
        self._weights = weights or shipped()
        self._readings: OrderedDict[tuple[str, tuple[str, ...]], Reading] = OrderedDict()
        self._answers: OrderedDict[_Question, Judgement] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        return self._weights.version

    def judge(self, pair: ClaimPair) -> Judgement:
        """The judgement of one pair."""
        question = _question(pair)
        with self._lock:
            known = self._answers.get(question)
        if known is not None:
            return known
        found = self._judged(pair)
        with self._lock:
            self._answers[question] = found
            while len(self._answers) > _KNOWN_ANSWERS:
                self._answers.popitem(last=False)
        return found

    def _judged(self, pair: ClaimPair) -> Judgement:
        ruled = align.judge(pair.left, pair.right, lambda: self._cosine(pair))
        if guards.barred(pair.left, pair.right) or ruled.verdict is Verdict.EXCLUDES:
            return ruled
        if ruled.verdict is Verdict.UNRELATED and not _open(pair):
            return ruled
        return self._weighed(pair, ruled, self.chances(pair))

    def chances(self, pair: ClaimPair) -> Floats:
        """The head's chances (3,) of same, excludes and unrelated, rules apart."""
        left, right = sorted((pair.left, pair.right), key=lambda each: each.statement)
        slots = align.read(left), align.read(right)
        row = features(self._read(left), self._read(right), slots, self._weights.mean)
        return self._weights.trees.chances(
            np.array([row[name] for name in self._weights.features], dtype=np.float64)
        )

    def _weighed(self, pair: ClaimPair, ruled: Judgement, chances: Floats) -> Judgement:
        same, excludes = float(chances[0]), float(chances[1])
        if ruled.verdict is Verdict.SAME:
            stop = guards.figures_differ(pair.left, pair.right)
            if not stop and same < _DOUBTED:
                stop = "near in words, but not in their answer"
            return _apart(stop) if stop else ruled
        if same >= self._weights.same_from:
            stop = guards.at_odds(pair.left, pair.right)
            return _apart(stop) if stop else _answer(Verdict.SAME, "one topic, one answer", same)
        if excludes >= self._excludes_from(pair):
            return _answer(Verdict.EXCLUDES, "one topic, two answers", excludes)
        return ruled

    def _excludes_from(self, pair: ClaimPair) -> float:
        if not guards.one_facet(pair.left, pair.right):
            return float("inf")
        strict = self._weights.excludes_from
        return (
            strict if pair.left.about or pair.right.about else max(strict, _EXCLUDES_WITHOUT_FACET)
        )

    def _cosine(self, pair: ClaimPair) -> float:
        return float(self._read(pair.left).vector @ self._read(pair.right).vector)

    def _read(self, claim: Claim) -> Reading:
        key = (claim.statement, tuple(sorted(claim.about.values())))
        with self._lock:
            known = self._readings.get(key)
            if known is not None:
                self._readings.move_to_end(key)
                return known
        found = read(claim, self._tokens, self._weights.tagger)
        with self._lock:
            self._readings[key] = found
            while len(self._readings) > _KNOWN_READINGS:
                self._readings.popitem(last=False)
        return found


def _open(pair: ClaimPair) -> bool:
    """True where the head may say more than the rules: in free wordings with words in common.

    In one frame, with one place filled differently, rules know better which place it is.
    """
    return guards.touch(pair.left, pair.right) and guards.freely_worded(pair.left, pair.right)


def _question(pair: ClaimPair) -> _Question:
    """All that an answer depends on: the key of a pair is the asker's own."""
    return pair.left.model_dump_json(), pair.right.model_dump_json()


def _apart(reason: str) -> Judgement:
    return Judgement(verdict=Verdict.UNRELATED, reason=reason, score=0.5)


def _answer(verdict: Verdict, reason: str, chance: float) -> Judgement:
    return Judgement(verdict=verdict, reason=f"{reason} ({chance:.2f})", score=round(chance, 3))
