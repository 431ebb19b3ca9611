"""Weights: how much a word tells, before anything is known about a store.

The words of ``common_words.txt`` are those of the vocabulary of ``bert-base-uncased`` (Apache-2.0),
which is ordered by frequency: the rank of a word is a free estimate of how common it is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.resources import files

from sleep_runtime.consolidation.words import is_frame, stem, words

NUMBER = 1.6
RARE = 1.3
_LEAST = 0.1
_SCALE = 1.5 / math.log(15)
_FIRST_RANK = 1996.0
_STEP = 1.18


@lru_cache(maxsize=1)
def _ranks() -> dict[str, int]:
    text = files(__package__).joinpath("common_words.txt").read_text(encoding="utf-8")
    return {word: index for index, word in enumerate(text.split())}


@lru_cache(maxsize=65_536)
def weight(word: str) -> float:
    """0.1 for the commonest words to 1.3 for rare ones; 1.6 for what holds a digit."""
    if any(sign.isdigit() for sign in word):
        return NUMBER
    index = _ranks().get(word)
    if index is None:
        return RARE
    return max(_LEAST, math.log((_FIRST_RANK + _STEP * index) / _FIRST_RANK) * _SCALE)


def weighted(text: str) -> dict[str, float]:
    """The stems of the words that carry a text, each with the weight of its rarest form."""
    found: dict[str, float] = {}
    for word in words(text):
        if not is_frame(word):
            root = stem(word)
            found[root] = max(found.get(root, 0.0), weight(word))
    return found
