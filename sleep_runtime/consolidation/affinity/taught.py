"""Taught: what people's verdicts on some pairs say about all the others.

The trees were trained on other people's work. A correction that is linear in a pair's features is
learned from the verdicts of one organisation, by multinomial logistic regression with the trees'
own log-odds as offset (a prior in the sense of A. Gelman and J. Hill, 2007, ch. 5): where verdicts
are few, or say nothing of a feature, the trees' answer stands. Equal verdicts give equal odds, in
whatever order they were given, so that a night can be run again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleep_runtime.consolidation.affinity.head import Odds, Rows
from sleep_runtime.core.proposal import Verdict

LEAST = 8
"""Verdicts below which nothing is learned: a person's word still holds for its own pair."""
MOST = 400
"""Verdicts that are learned from, the newest: what they cost a night is bounded."""

_PLACE = {Verdict.UNRELATED: 0, Verdict.EXCLUDES: 1, Verdict.SAME: 2}
_STEPS = 300
_RIDGE = 1.0
_FARTHEST = 4.0
_OFFSET_SHARE = 0.25
_LEAST_CHANCE = 1e-3


class Taught:
    """The correction learned from verdicts; ``center`` and ``spread`` are those of the features."""

    def __init__(self, center: Rows, spread: Rows) -> None:
        self._center, self._spread = center, spread
        self._weights: Rows | None = None

    def learn(self, rows: Rows, odds: Sequence[Odds], verdicts: Sequence[Verdict]) -> Taught:
        """Learn from pairs: rows (n, features), the trees' odds and the verdicts, in one order."""
        if len(verdicts) < LEAST:
            return self
        wanted = np.array([_PLACE[verdict] for verdict in verdicts])
        ordered = np.lexsort((*rows.T, wanted))
        offsets = _logs(odds)[ordered]
        seen = self._seen(rows[ordered], offsets)
        self._weights = _fitted(seen, offsets, np.eye(3)[wanted[ordered]])
        return self

    def corrected(self, rows: Rows, odds: Sequence[Odds]) -> list[Odds]:
        """The odds of other pairs in the light of the verdicts."""
        if self._weights is None or not len(rows):
            return list(odds)
        offsets = _logs(odds)
        shares = _softmax(offsets + self._seen(rows, offsets) @ self._weights)
        return [Odds(same=float(row[2]), excludes=float(row[1])) for row in shares]

    def _seen(self, rows: Rows, offsets: Rows) -> Rows:
        """The features on one scale, what the trees said, and a constant."""
        plain = (rows[:, : len(self._center)] - self._center) / self._spread
        plain = np.clip(plain, -_FARTHEST, _FARTHEST) / np.sqrt(len(self._center))
        return np.hstack([plain, _OFFSET_SHARE * offsets, np.ones((len(rows), 1))])


def _logs(odds: Sequence[Odds]) -> Rows:
    """Log-probabilities of (unrelated, excludes, same)."""
    shares = np.array([[1 - o.same - o.excludes, o.excludes, o.same] for o in odds])
    return np.asarray(np.log(np.clip(shares, _LEAST_CHANCE, 1.0)))


def _softmax(scores: Rows) -> Rows:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _fitted(seen: Rows, offsets: Rows, wanted: Rows) -> Rows:
    """Gradient descent on a convex loss, with a step below its curvature's inverse."""
    weights = np.zeros((seen.shape[1], 3))
    step = 1.0 / (0.5 * float(np.linalg.norm(seen, 2)) ** 2 + _RIDGE)
    for _ in range(_STEPS):
        error = _softmax(offsets + seen @ weights) - wanted
        weights -= step * (seen.T @ error + _RIDGE * weights)
    return weights
