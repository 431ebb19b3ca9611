"""Reciprocal rank fusion: several orders of the same notes become one.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods" (SIGIR 2009): a note gets ``1 / (C + rank)`` from each order. Scores of different
kinds are thus never added up, and no weight has to be found between a cosine and a BM25 score.

They chose C = 60 for runs over a million documents. A scope has tens of notes: at 60 the first and
the twentieth are the same to a reader of scores, and what is first by meaning loses to what is
middling in every order. 2 was best on the development banks (decision 0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

C = 2
WINDOW = 100

Values = npt.NDArray[np.float32]
Ranks = npt.NDArray[np.intp]
Fused = npt.NDArray[np.float64]


def ranks(values: Values, window: int) -> Ranks:
    """How many values are higher, at most ``window``: 0 for the best; equal ones share a rank.

    All beyond the window share a rank too: whoever knows the best of an order knows enough of it,
    so that an index that names some hundred neighbours gives what a scan of everything gives.
    """
    count = len(values)
    top = np.sort(values if count <= window else np.partition(values, count - window)[-window:])
    if count <= 4 * window:
        return len(top) - np.searchsorted(top, values, side="right")
    among = np.full(count, window, dtype=np.intp)
    inside = np.flatnonzero(values >= top[0])
    among[inside] = len(top) - np.searchsorted(top, values[inside], side="right")
    return among


def fuse(orders: Sequence[Ranks], window: int) -> Fused:
    """One score a note, 1.0 for what is first in every order."""
    shares = _shares(window)
    total = shares[orders[0]]
    for order in orders[1:]:
        total = total + shares[order]
    return np.asarray(total / len(orders), dtype=np.float64)


@lru_cache(maxsize=16)
def _shares(window: int) -> Fused:
    """What each rank gives, as a share of what the first gives."""
    made = (C + 1) / (C + 1 + np.arange(window + 1, dtype=np.float64))
    made.flags.writeable = False
    return made
