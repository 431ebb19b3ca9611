"""How well notes answer a query: by meaning, by words, and by whom they are about.

Three orders of what a reader is shown, fused by rank: cosine of the embeddings, BM25 of the words,
and, where the query names whole a value that a note is about, those notes before others. Ties go
to confidence, then to what became true last, then to the nearer scope, then to the id. Pure and
exact over the cosines that are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sleep_runtime.present.bm25 import Scores, keys, words
from sleep_runtime.present.fusion import WINDOW, Fused, Ranks, fuse, ranks
from sleep_runtime.present.segments import UNKNOWN, Floats, View

# Cosines closer than this are a tie: two builds of one model already differ by more.
TIE = 3

Places = npt.NDArray[np.intp]
Ranked = Iterator[tuple[int, float]]
"""Places of a view with their scores, best first."""


class Asked(NamedTuple):
    """A query made ready once: its words as keys, and as a set for facets."""

    keys: list[int]
    words: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Asked:
        return cls(keys(text), frozenset(words(text)))


def window(k: int) -> int:
    """How far down each order ranks are told apart, to find the best ``k``."""
    return max(WINDOW, k)


def by_relevance(view: View, asked: Asked, cosines: Floats | None, *, k: int) -> Ranked:
    """Places of the view with their scores, best first; the first ``k`` are found fastest.

    ``cosines`` is None when no query vector could be made: words and facets decide alone. A note
    whose cosine is ``UNKNOWN`` is a candidate only by its words or facets.
    """
    if not view.size:
        return iter(())
    lexical = view.lexical(asked.keys)
    facets = view.facets(asked.words)
    places = _candidates(view, cosines, lexical, facets)
    orders = _orders(places, cosines, lexical, facets, window(k))
    return _best(view, places, fuse(orders, window(k)), k)


def by_confidence(view: View, *, k: int) -> Ranked:
    """The same when nothing was asked; the confidence is the score."""
    if not view.size:
        return iter(())
    hidden = view.hidden()
    places = np.arange(view.size) if hidden is None else np.flatnonzero(~hidden)
    return _best(view, places, view.confidences(places), k)


def _candidates(
    view: View, cosines: Floats | None, lexical: Scores, facets: Scores | None
) -> Places:
    """The places that are shown and that something speaks for."""
    hidden = view.hidden()
    if cosines is None or cosines.min() > UNKNOWN:
        return np.arange(view.size) if hidden is None else np.flatnonzero(~hidden)
    spoken = (cosines > UNKNOWN) | (lexical > 0)
    if facets is not None:
        spoken |= facets > 0
    return np.flatnonzero(spoken if hidden is None else spoken & ~hidden)


def _orders(
    places: Places,
    cosines: Floats | None,
    lexical: Scores,
    facets: Scores | None,
    window: int,
) -> list[Ranks]:
    orders = [ranks(lexical[places], window)]
    if cosines is not None:
        orders.append(ranks(np.round(cosines[places], TIE), window))
    if facets is not None:
        orders.append(ranks(facets[places], window))
    return orders


def _best(view: View, places: Places, scores: Fused, k: int) -> Ranked:
    """In one order for equal input. The best come first, the rest is ordered when it is needed."""
    wanted = 2 * k  # a few more, for those that fold
    if len(places) <= wanted:
        yield from _ordered(view, places, scores)
        return
    floor = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
    inside = scores >= floor
    yield from _ordered(view, places[inside], scores[inside])
    yield from _ordered(view, places[~inside], scores[~inside])


def _ordered(view: View, places: Places, scores: Fused) -> Ranked:
    # Stable: what is equal by then stays in the order of the view, nearest scope first, then id.
    order = np.lexsort(
        (view.order(places), -view.since(places), -view.confidences(places), -scores)
    )
    return zip(places[order].tolist(), scores[order].tolist(), strict=True)
