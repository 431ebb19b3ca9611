"""Confusion, macro-F1, the operating point and the operating curve of a pairwise judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.judge.pairs import LABELS
from sleep_runtime.core.proposal import Verdict

CURVE = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of contradictions merged at which the curve reads the recall of *same*."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer: its verdict, and how strongly it would call the pair *same*."""

    verdict: Verdict
    sameness: float


@dataclass
class Score:
    """What a judge did on labelled pairs. Scores of several sets add up (micro)."""

    counts: Counter[tuple[Verdict, Verdict]] = field(default_factory=Counter)
    sameness: dict[Verdict, list[float]] = field(default_factory=dict)

    def add(self, label: Verdict, answer: Answer) -> None:
        self.counts[label, answer.verdict] += 1
        self.sameness.setdefault(label, []).append(answer.sameness)

    def __add__(self, other: Score) -> Score:
        merged = Score(Counter(self.counts), {k: list(v) for k, v in self.sameness.items()})
        merged.counts.update(other.counts)
        for label, values in other.sameness.items():
            merged.sameness.setdefault(label, []).extend(values)
        return merged

    @property
    def labels(self) -> list[Verdict]:
        """The labels that occur, in fixed order: F1 of one that does not occur means nothing."""
        return [label for label in LABELS if self._labelled(label)]

    def recall(self, label: Verdict) -> float:
        return _share(self.counts[label, label], self._labelled(label))

    def precision(self, label: Verdict) -> float:
        return _share(self.counts[label, label], sum(self.counts[each, label] for each in LABELS))

    def f1(self, label: Verdict) -> float:
        precision, recall = self.precision(label), self.recall(label)
        return _share(2 * precision * recall, precision + recall)

    @property
    def macro_f1(self) -> float:
        return _share(sum(self.f1(label) for label in self.labels), len(self.labels))

    @property
    def same_recall(self) -> float:
        return self.recall(Verdict.SAME)

    @property
    def contradictions(self) -> int:
        return self._labelled(Verdict.EXCLUDES)

    @property
    def contradictions_merged(self) -> float:
        """Pairs that exclude each other and were judged *same*, of all that exclude each other."""
        return _share(self.counts[Verdict.EXCLUDES, Verdict.SAME], self.contradictions)

    @property
    def unrelated_merged(self) -> float:
        counts = self.counts[Verdict.UNRELATED, Verdict.SAME]
        return _share(counts, self._labelled(Verdict.UNRELATED))

    def curve(self) -> list[tuple[float, float]]:
        """Recall of *same* by the share of contradictions that a threshold may merge."""
        return [(share, self.recall_at(share)) for share in CURVE]

    def recall_at(self, merged: float) -> float:
        """Recall of *same* at the threshold that merges this share of the contradictions."""
        same = self.sameness.get(Verdict.SAME, [])
        apart = sorted(self.sameness.get(Verdict.EXCLUDES, []), reverse=True)
        return _recall_at(same, apart, merged)

    def _labelled(self, label: Verdict) -> int:
        return sum(self.counts[label, each] for each in LABELS)


def scored(labels: Sequence[Verdict], answers: Sequence[Answer]) -> Score:
    """The score of answers beside the labels."""
    score = Score()
    for label, answer in zip(labels, answers, strict=True):
        score.add(label, answer)
    return score


def _recall_at(same: Sequence[float], apart: Sequence[float], share: float) -> float:
    """Recall above the lowest threshold that lets at most ``share`` of ``apart`` through."""
    allowed = int(share * len(apart))
    bar = apart[allowed] if allowed < len(apart) else -1.0
    return _share(sum(value > bar for value in same), len(same))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
