"""Affine: the probabilities of every pair that came on the shortlist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sleep_runtime.consolidation.affinity import head, taught
from sleep_runtime.consolidation.affinity.features import NAMES, measure
from sleep_runtime.consolidation.affinity.head import COLUMNS, RANKED, Odds, Rows
from sleep_runtime.consolidation.affinity.store import Store
from sleep_runtime.consolidation.compare import names_of
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import ClaimPair, Verdict

_COMMON = NAMES.index("common_words")
_FRAMED, _OWN_LEAST = NAMES.index("framed"), NAMES.index("own_least")
_ONE_FRAME = 0.6
_IN_A_FRAME = Odds(same=0.25, excludes=0.65)


def odds(
    pairs: Sequence[ClaimPair],
    claims: Iterable[Claim],
    vectors: Mapping[str, bytes],
    verdicts: Sequence[tuple[ClaimPair, Verdict]] = (),
) -> dict[str, Odds]:
    """The odds of each pair about the same facets, by its key; others are left to the engine.

    ``claims`` are all that the store's statistics rest on; ``vectors`` unit vectors by statement;
    ``verdicts`` what people said of other pairs, oldest first: it moves the odds of these.
    """
    store = Store(claims)
    keys, rows = _measured(pairs, store, vectors)
    answers = head.load().odds(rows)
    if keys and len(verdicts) >= taught.LEAST:
        answers = _taught(verdicts[-taught.MOST :], store, vectors).corrected(rows, answers)
    return {key: _checked(found, row) for key, found, row in zip(keys, answers, rows, strict=True)}


def _taught(
    verdicts: Sequence[tuple[ClaimPair, Verdict]],
    store: Store,
    vectors: Mapping[str, bytes],
) -> taught.Taught:
    """What the verdicts teach, their pairs measured as tonight's are."""
    keys, rows = _measured([pair for pair, _ in verdicts], store, vectors)
    said = {pair.key: verdict for pair, verdict in verdicts}
    trees = head.load()
    lesson = taught.Taught(trees.center, trees.spread)
    return lesson.learn(rows, trees.odds(rows), [said[key] for key in keys])


def _checked(found: Odds, row: Rows) -> Odds:
    """What no statistics may overrule.

    Claims that share no word have no question in common, so they exclude nothing. Two answers in
    one frame exclude each other, however much the frame says is alike.
    """
    if row[_COMMON] == 0:
        return Odds(same=found.same, excludes=0.0)
    if row[_FRAMED] < _ONE_FRAME or row[_OWN_LEAST] <= 0:
        return found
    return Odds(
        same=min(found.same, _IN_A_FRAME.same), excludes=max(found.excludes, _IN_A_FRAME.excludes)
    )


def measured(
    pairs: Sequence[ClaimPair], claims: Iterable[Claim], vectors: Mapping[str, bytes]
) -> tuple[list[str], Rows]:
    """The keys of the pairs about the same facets, and a row of ``COLUMNS`` for each."""
    return _measured(pairs, Store(claims), vectors)


def _measured(
    pairs: Sequence[ClaimPair], store: Store, vectors: Mapping[str, bytes]
) -> tuple[list[str], Rows]:
    keys: list[str] = []
    rows: list[list[float]] = []
    for pair in pairs:
        left, right = store.reading(pair.left), store.reading(pair.right)
        if left.about == right.about:
            rows.append(measure(left, right, store, _cosine(pair, vectors)))
            keys.append(pair.key)
    return keys, table(rows, keys)


def table(rows: Sequence[Sequence[float]], keys: Sequence[str]) -> Rows:
    """Rows of ``COLUMNS``: the features, and their ranks among the neighbours of either claim."""
    if not rows:
        return np.zeros((0, len(COLUMNS)))
    plain = np.array(rows, dtype=np.float64)
    neighbours: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        for name in names_of(key):
            neighbours[name].append(index)
    extra = [_ranks(plain[:, NAMES.index(name)], keys, neighbours) for name in RANKED]
    return np.hstack([plain, *extra])


def _ranks(column: Rows, keys: Sequence[str], neighbours: Mapping[str, Sequence[int]]) -> Rows:
    """For each pair the lower and the higher of its two ranks, 0 the nearest."""
    place: dict[tuple[str, int], int] = {}
    for name, indices in neighbours.items():
        ordered = sorted(indices, key=lambda index: (-column[index], keys[index]))
        for rank, index in enumerate(ordered):
            place[name, index] = rank
    both = [sorted(place[name, index] for name in names_of(key)) for index, key in enumerate(keys)]
    return np.array(both, dtype=np.float64)


def _cosine(pair: ClaimPair, vectors: Mapping[str, bytes]) -> float:
    left, right = vectors.get(pair.left.statement), vectors.get(pair.right.statement)
    if left is None or right is None:
        return 0.0
    return float(np.frombuffer(left, dtype="<f4") @ np.frombuffer(right, dtype="<f4"))
