"""What a turn of a person is: a lesson, a lasting rule, a change, a one-off, a retraction, none.

A multinomial logistic head over masked word n-grams (``features``). Its weights are whole
numbers in ``head.json``, learned by ``scripts/train-intent``. Pure Python, no model to load.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from sleep_runtime.engines.intent import features

Kind = Literal["lesson", "standing", "change", "one_off", "retract", "nothing"]
KINDS: tuple[Kind, ...] = ("lesson", "standing", "change", "one_off", "retract", "nothing")
"""In the order of the weights."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Probabilities by kind, together 1.

    ``lesson`` teaches how something is to be without saying for how long; ``standing`` says that
    it lasts; ``change`` that it is otherwise from now on; ``one_off`` holds this time only;
    ``retract`` takes an earlier rule back; ``nothing`` asks, mentions, tells, thanks or orders.
    """

    scores: Mapping[Kind, float]

    @property
    def lasting(self) -> float:
        """The probability that it is said to last: ``standing`` or ``change``."""
        return self.scores["standing"] + self.scores["change"]

    @property
    def teaches(self) -> float:
        """The probability that it says how something is to be, for longer than this time."""
        return self.scores["lesson"] + self.lasting

    @property
    def kind(self) -> Kind:
        """The kind to act on: what is dear to get wrong has to clear a bar of its own.

        A turn below the bar for lasting waits as a lesson, and one below the bar for a retraction
        takes nothing back.
        """
        bars = _head().bars
        best = max(KINDS, key=lambda kind: self.scores[kind])
        if best == "retract":
            return best if self.scores[best] >= bars["retract"] else self._rest()
        if self.lasting >= bars["lasting"]:
            return "standing" if self.scores["standing"] >= self.scores["change"] else "change"
        return self._rest()

    def _rest(self) -> Kind:
        bars = _head().bars
        one_off, nothing = self.scores["one_off"], self.scores["nothing"]
        if self.teaches >= max(bars["one_off"] * one_off, bars["nothing"] * nothing):
            return "lesson"
        return "one_off" if one_off >= nothing else "nothing"


def read(text: str, *, correction: bool) -> Intent:
    """The intent of a turn, or of one paragraph of it. ``correction``: it was filed as one.

    Deterministic; time linear in the text up to ``features.MAX_CHARS`` and constant beyond.
    """
    head = _head()
    sums = list(head.bias)
    known = [
        weights
        for gram in features.grams(features.tokens(text, head.kept))
        if (weights := head.weights.get(gram)) is not None
    ]
    share = head.scale / math.sqrt(len(known)) if known else 0.0
    for place in range(len(KINDS)):
        sums[place] += share * sum(weights[place] for weights in known)
    for flag in features.flags(text, correction=correction):
        for place, weight in enumerate(head.weights.get(flag, ())):
            sums[place] += weight
    return Intent(dict(zip(KINDS, _shares(sums, head.unit), strict=True)))


def _shares(sums: list[float], unit: float) -> list[float]:
    top = max(sums)
    raised = [math.exp((each - top) * unit) for each in sums]
    total = math.fsum(raised)
    return [each / total for each in raised]


@dataclass(frozen=True, slots=True)
class _Head:
    kept: frozenset[str]
    weights: dict[str, list[int]]
    bias: list[float]
    scale: float
    unit: float
    bars: dict[str, float]


@lru_cache(maxsize=1)
def _head() -> _Head:
    raw: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath("head.json").read_text(encoding="utf-8")
    )
    return _Head(
        kept=frozenset(raw["kept"].split()) | features.CLOSED,
        weights=raw["weights"],
        bias=raw["bias"],
        scale=raw["scale"],
        unit=raw["unit"],
        bars=raw["bars"],
    )
