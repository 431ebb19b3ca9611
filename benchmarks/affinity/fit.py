"""Fit: rows from worlds through the runtime's own shortlist and features, trees from the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.affinity.worlds import Said
from sleep_runtime.consolidation.affinity.affine import measured
from sleep_runtime.consolidation.affinity.features import NAMES
from sleep_runtime.consolidation.affinity.head import COLUMNS
from sleep_runtime.consolidation.compare import name_of, names_of
from sleep_runtime.consolidation.shortlist import pairs_of
from sleep_runtime.core.policy import ReflectPolicy
from sleep_runtime.core.ports import Embedder

DEPTH = 4
TURNS = 120
VERSION = 2
EXCLUDES_WEIGHT = 3.0
"""To merge what excludes each other costs more than to miss a repetition."""

Numbers = npt.NDArray[np.float64]


def rows_of(said: Sequence[Said], embedder: Embedder) -> tuple[Numbers, list[int]]:
    """Features of every pair on the shortlist of a world; 2 same, 1 excludes, 0 unrelated."""
    statements = sorted({item.claim.statement for item in said})
    vectors = dict(zip(statements, embedder.embed(statements), strict=True))
    claims = [item.claim for item in said]
    pairs = pairs_of(claims, vectors, ReflectPolicy())
    keys, rows = measured(pairs, claims, vectors)
    lessons = {name_of(item.claim): item.lesson for item in said}
    return rows, [_label(*(lessons[name] for name in names_of(key))) for key in keys]


def _label(left: Any, right: Any) -> int:
    if left is None or right is None or left[:2] != right[:2]:
        return 0
    return 2 if left == right else 1


def fit(rows: Numbers, labels: Iterable[int], *, seed: int = 0) -> HistGradientBoostingClassifier:
    """Boosted trees, one for each answer and turn."""
    model = HistGradientBoostingClassifier(
        max_iter=TURNS,
        max_depth=DEPTH,
        learning_rate=0.1,
        min_samples_leaf=30,
        l2_regularization=1.0,
        random_state=seed,
    )
    answers = np.array(list(labels))
    return model.fit(rows, answers, sample_weight=np.where(answers == 1, EXCLUDES_WEIGHT, 1.0))


def export(model: HistGradientBoostingClassifier, rows: Numbers) -> dict[str, Any]:
    """What ``affinity.head.Head`` reads; the scale of the features is that of ``rows``."""
    plain = rows[:, : len(NAMES)]
    return {
        "center": [round(float(x), 4) for x in plain.mean(axis=0)],
        "spread": [round(float(x), 4) for x in plain.std(axis=0) + 1e-3],
        "version": VERSION,
        "columns": list(COLUMNS),
        "depth": DEPTH,
        "base": [round(float(x), 6) for x in np.ravel(model._baseline_prediction)],  # noqa: SLF001
        "trees": [[_nodes(tree) for tree in turn] for turn in model._predictors],  # noqa: SLF001
    }


def _nodes(tree: Any) -> list[list[float]]:
    return [
        [int(n["feature_idx"]), 0.0, index, index, round(float(n["value"]), 5)]
        if n["is_leaf"]
        else [
            int(n["feature_idx"]),
            float(f"{n['num_threshold']:.6g}"),
            int(n["left"]),
            int(n["right"]),
            0.0,
        ]
        for index, n in enumerate(tree.nodes)
    ]


def dumped(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":")) + "\n"
