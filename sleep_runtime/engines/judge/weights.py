"""Weights: what training left behind, read from the package's JSON and evaluated with numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.errors import EngineError

Floats = npt.NDArray[np.float64]
ROLES = 3
_STATE_NORM = 4.0


class Tagger:
    """A linear guess at what a word is in its statement: surrounding, answer or topic."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._bias = np.array(raw["bias"], dtype=np.float64)
        self._context = {k: np.array(v, dtype=np.float64) for k, v in raw["context"].items()}
        self._state = np.array(raw["state"], dtype=np.float64)

    @property
    def dim(self) -> int:
        return int(self._state.shape[1])

    def roles(self, contexts: Sequence[Mapping[str, float]], states: Sequence[Floats]) -> Floats:
        """Chances (n, 3) of n words, each from its own context and state."""
        rows = [self._one(c, s) for c, s in zip(contexts, states, strict=True)]
        return np.stack(rows) if rows else np.zeros((0, ROLES))

    def _one(self, context: Mapping[str, float], state: Floats) -> Floats:
        logits = self._bias + self._state @ scaled(state)
        for name in sorted(context.keys() & self._context.keys()):
            logits = logits + context[name] * self._context[name]
        return softmax(logits)


class Trees:
    """Boosted trees of a three-way choice, walked all at once."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._baseline = np.array(raw["baseline"], dtype=np.float64)
        self._of = np.array(raw["label"], dtype=np.int64)
        self._root = np.array(raw["root"], dtype=np.int64)
        self._feature = np.array(raw["feature"], dtype=np.int64)
        self._threshold = np.array(raw["threshold"], dtype=np.float64)
        self._left = np.array(raw["left"], dtype=np.int64)
        self._right = np.array(raw["right"], dtype=np.int64)
        self._value = np.array(raw["value"], dtype=np.float64)

    def chances(self, row: Floats) -> Floats:
        """Chances (3,) of one row of features."""
        at = self._root
        while True:
            feature = self._feature[at]
            inner = feature >= 0
            if not inner.any():
                break
            goes_left = row[feature] <= self._threshold[at]
            at = np.where(inner, np.where(goes_left, self._left[at], self._right[at]), at)
        scores = self._baseline + np.bincount(self._of, self._value[at], minlength=ROLES)
        return softmax(scores)


class Weights:
    """Everything the judge learned: the tagger, the trees, the mean state, the thresholds."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.version: str = raw["version"]
        self.features: tuple[str, ...] = tuple(raw["features"])
        self.tagger = Tagger(raw["tagger"])
        self.trees = Trees(raw["trees"])
        self.mean = np.array(raw["mean"], dtype=np.float64)
        self.same_from: float = raw["same_from"]
        self.excludes_from: float = raw["excludes_from"]


@cache
def shipped() -> Weights:
    """The weights in the package. Raises ``EngineError`` when they cannot be read."""
    file = resources.files("sleep_runtime.engines.judge").joinpath("weights.json")
    try:
        return Weights(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(
            f"the judge's weights cannot be read: {error}",
            field="engine.judge",
            mend="reinstall sleep-runtime",
        ) from error


def scaled(state: Floats) -> Floats:
    """A state at the length the tagger was trained on."""
    length = float(np.linalg.norm(state))
    return state * (_STATE_NORM / length) if length else state


def softmax(logits: Floats) -> Floats:
    """Chances that add up to 1."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
