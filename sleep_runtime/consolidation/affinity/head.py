"""Head: boosted trees over the features of a pair, evaluated in numpy.

Trained by ``scripts/train-affinity``; the numbers are data in ``head.json``. Gradient boosting
after J. Friedman, "Greedy function approximation: a gradient boosting machine", 2001.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sleep_runtime.consolidation.affinity.features import NAMES

Rows = npt.NDArray[np.float64]

RANKED = ("cosine", "jaccard_recurring", "jaccard_value")
"""Features whose rank among a claim's neighbours is a feature too: it needs no scale."""
COLUMNS = (*NAMES, *(f"{name}_rank_{end}" for name in RANKED for end in ("least", "most")))


class Odds(NamedTuple):
    """The probabilities that a pair says the same, and that it cannot hold together."""

    same: float
    excludes: float


_AT_ONCE = 512


class Head:
    """Probabilities of (unrelated, excludes, same) for rows of ``COLUMNS``."""

    def __init__(self, data: dict[str, Any]) -> None:
        if data["columns"] != list(COLUMNS):
            raise ValueError("head.json was trained on other features: run scripts/train-affinity")
        self.version = str(data["version"])
        self._base = np.array(data["base"], dtype=np.float64)
        self._depth = int(data["depth"])
        self.center = np.array(data["center"], dtype=np.float64)
        self.spread = np.array(data["spread"], dtype=np.float64)
        self._nodes, self._values = _stacked([tree for turn in data["trees"] for tree in turn])

    def odds(self, rows: Rows) -> list[Odds]:
        """One answer for each row, in order."""
        if not len(rows):
            return []
        scores = np.vstack(
            [self._scores(rows[i : i + _AT_ONCE]) for i in range(0, len(rows), _AT_ONCE)]
        )
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = scores / scores.sum(axis=1, keepdims=True)
        return [Odds(same=float(row[2]), excludes=float(row[1])) for row in shares]

    def _scores(self, rows: Rows) -> Rows:
        """All rows go down all trees at once; turn by turn the trees are one for each answer."""
        trees = np.arange(self._values.shape[0])
        node = np.zeros((len(rows), len(trees)), dtype=np.int64)
        for _ in range(self._depth):
            feature, threshold = self._nodes[0][trees, node], self._nodes[1][trees, node]
            left = np.take_along_axis(rows, feature.astype(np.int64), axis=1) <= threshold
            node = np.where(left, self._nodes[2][trees, node], self._nodes[3][trees, node])
            node = node.astype(np.int64)
        leaves = self._values[trees, node]
        per_answer = leaves.reshape(len(rows), -1, len(self._base)).sum(axis=1)
        return np.asarray(self._base + per_answer)


def _stacked(trees: list[list[list[float]]]) -> tuple[Rows, Rows]:
    """(feature, threshold, left, right) and the values of all trees, as one table."""
    most = max(len(nodes) for nodes in trees)
    table = np.zeros((5, len(trees), most))
    for place, nodes in enumerate(trees):
        table[:, place, : len(nodes)] = np.array(nodes, dtype=np.float64).T
    return table[:4], table[4]


@lru_cache(maxsize=1)
def load() -> Head:
    """The head that is shipped."""
    text = files(__package__).joinpath("head.json").read_text(encoding="utf-8")
    return Head(json.loads(text))
