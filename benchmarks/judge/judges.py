"""The judges that are measured: the engine's, and the references it has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from benchmarks.judge.pairs import LABELS, Pair
from benchmarks.judge.scoring import Answer, Score, scored
from sleep_runtime.core.ports import Embedder
from sleep_runtime.core.proposal import Judgement, Verdict
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.text.align import judge as rules

REFERENCE_COSINE = 0.9
_STEPS = 50


class Judge(Protocol):
    """Answers pairs, each by itself."""

    @property
    def name(self) -> str: ...

    def answers(self, pairs: Sequence[Pair]) -> list[Answer]: ...


class OfEngine:
    """The runtime's engine, as the roles ask it."""

    name = "engine"

    def __init__(self, engine: ExtractiveEngine) -> None:
        self._engine = engine

    def answers(self, pairs: Sequence[Pair]) -> list[Answer]:
        asked = [pair.asked(str(i)) for i, pair in enumerate(pairs)]
        return [answer(judgement) for judgement in self._engine.compare(asked)]


class OfRules:
    """The rules alone, without the trained head."""

    name = "rules"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def answers(self, pairs: Sequence[Pair]) -> list[Answer]:
        return [
            answer(rules(pair.left, pair.right, lambda pair=pair: cosine(self._embedder, pair)))  # type: ignore[misc]
            for pair in pairs
        ]


class OfCosine:
    """*Same* from a threshold on, *excludes* from a lower one on, else *unrelated*."""

    def __init__(self, name: str, embedder: Embedder, same: float, excludes: float) -> None:
        self.name = name
        self._embedder, self._same, self._excludes = embedder, same, excludes

    def answers(self, pairs: Sequence[Pair]) -> list[Answer]:
        found = [cosine(self._embedder, pair) for pair in pairs]
        return [Answer(self._verdict(value), value) for value in found]

    def _verdict(self, value: float) -> Verdict:
        if value >= self._same:
            return Verdict.SAME
        return Verdict.EXCLUDES if value >= self._excludes else Verdict.UNRELATED


def best_cosine(embedder: Embedder, pairs: Sequence[Pair]) -> OfCosine:
    """The pair of thresholds with the best macro-F1 on these very pairs: cosine at its best."""
    labels = [pair.label for pair in pairs]
    values = np.array([cosine(embedder, pair) for pair in pairs])
    steps = np.quantile(values, np.linspace(0, 1, _STEPS)) if len(values) else np.zeros(1)
    best = max(
        (
            (_f1(labels, values, high, low), high, low)
            for high in steps
            for low in steps
            if low <= high
        ),
        default=(0.0, 1.0, 1.0),
    )
    return OfCosine("cosine_best", embedder, float(best[1]), float(best[2]))


def _f1(labels: Sequence[Verdict], values: np.ndarray, high: float, low: float) -> float:
    found = np.where(values >= high, 0, np.where(values >= low, 1, 2))
    wanted = np.array([LABELS.index(label) for label in labels])
    parts = []
    for index in sorted(set(wanted)):
        hit = np.sum((found == index) & (wanted == index))
        parts.append(2 * hit / max(1, np.sum(found == index) + np.sum(wanted == index)))
    return float(np.mean(parts))


def cosine(embedder: Embedder, pair: Pair) -> float:
    one, other = embedder.embed([pair.left.statement, pair.right.statement])
    return float(np.frombuffer(one, dtype="<f4") @ np.frombuffer(other, dtype="<f4"))


def answer(judgement: Judgement) -> Answer:
    """A judgement as an answer: how sure it is of *same*, 0 where it says otherwise."""
    verdict = Verdict.UNRELATED if judgement.problem else judgement.verdict
    return Answer(verdict, judgement.score if verdict is Verdict.SAME else 0.0)


def measure(judge: Judge, pairs: Sequence[Pair]) -> Score:
    return scored([pair.label for pair in pairs], judge.answers(pairs))
