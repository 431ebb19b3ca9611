"""Features: what is measured of a pair of claims, from their words and from the store's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sleep_runtime.consolidation.affinity.store import Reading, Store
from sleep_runtime.consolidation.affinity.weights import RARE, weight

NAMES = (
    "cosine",
    "common",
    "common_value",
    "jaccard",
    "jaccard_recurring",
    "jaccard_value",
    "common_words",
    "contained",
    "own_least",
    "own_most",
    "recurring_least",
    "recurring_most",
    "recurring_words_least",
    "recurring_words_most",
    "best",
    "best_value",
    "exclusive",
    "numbers",
    "negation",
    "alternates",
    "crossed",
    "same_cause",
    "phrases",
    "phrases_value",
    "both_reject",
    "rejected",
    "changes",
    "shortest",
    "shared_by",
    "block",
    "frame_words",
    "without_cause",
    "misspelt",
    "framed",
)
_SMOOTH = 0.2
_BRIEF = 3
_FRAME_COHERENCE = 0.06


def measure(left: Reading, right: Reading, store: Store, cosine: float) -> list[float]:
    """The features of a pair in the order of ``NAMES``; the same whichever claim comes first."""
    common, ours, theirs, misspelt = _split(left, right)
    weights = _weights(left, right)
    causes = left.answered | right.answered
    about = left.about

    def told(roots: Iterable[str], said: Mapping[str, float]) -> float:
        return sum(said[root] * _telling(store.coherence(root)) for root in roots)

    value = [root for root in common if root not in causes]
    ours_again = [root for root in ours if store.here(about, root) > 1]
    theirs_again = [root for root in theirs if store.here(right.about, root) > 1]
    shared, shared_value = told(common, weights), told(value, weights)
    own = told(ours, left.said), told(theirs, right.said)
    again = told(ours_again, left.said), told(theirs_again, right.said)
    phrases, phrases_value = _phrases(left.phrases & right.phrases, weights, common, causes)
    return [
        cosine,
        shared,
        shared_value,
        shared / (shared + sum(own) + _SMOOTH),
        shared / (shared + sum(again) + _SMOOTH),
        shared_value / (shared_value + sum(again) + _SMOOTH),
        len(common),
        shared / (shared + min(own) + _SMOOTH),
        min(own),
        max(own),
        min(again),
        max(again),
        min(len(ours_again), len(theirs_again)),
        max(len(ours_again), len(theirs_again)),
        max((told([root], weights) for root in common), default=0.0),
        max((told([root], weights) for root in value), default=0.0),
        max((weights[r] / max(1, store.here(about, r) - 1) for r in common), default=0.0),
        _numbers(left, right),
        float(left.negated != right.negated),
        _alternates(store, ours_again, theirs_again),
        sum(left.said[root] for root in ours if root in right.answered)
        + sum(right.said[root] for root in theirs if root in left.answered),
        len(left.answered & right.answered),
        phrases,
        phrases_value,
        len(left.rejected & right.rejected),
        told([root for root in theirs if root in left.rejected], right.said)
        + told([root for root in ours if root in right.rejected], left.said),
        left.changes + right.changes,
        min(len(left.said), len(right.said)),
        store.holding(about, frozenset(common)) if common else 0.0,
        store.size(about),
        sum(1 for root in common if store.coherence(root) < _FRAME_COHERENCE),
        (not left.answered) + (not right.answered),
        misspelt,
        _framed(left.order, right.order),
    ]


def _framed(left: Sequence[str], right: Sequence[str]) -> float:
    """The share of the longer text that both begin and end with: one frame, another filling."""
    shortest = min(len(left), len(right))
    start = next((i for i in range(shortest) if left[i] != right[i]), shortest)
    most = shortest - start
    end = next((i for i in range(most) if left[-1 - i] != right[-1 - i]), most)
    return (start + end) / max(len(left), len(right), 1)


def _telling(coherence: float) -> float:
    """How much of its weight a word keeps: those that live with anything tell little."""
    return min(1.0, 0.35 + 2.5 * coherence)


def _split(left: Reading, right: Reading) -> tuple[list[str], list[str], list[str], int]:
    """Words of both, of the left only, of the right only; and how many agree but for a typo."""
    common = sorted(left.said.keys() & right.said.keys())
    ours = sorted(left.said.keys() - right.said.keys())
    theirs = sorted(right.said.keys() - left.said.keys())
    misspelt = 0
    for one in list(ours):
        twin = next((o for o in theirs if o[0] == one[0] and _alike(one, o)), None)
        if twin is not None:
            ours.remove(one)
            theirs.remove(twin)
            common.append(min(one, twin))
            misspelt += 1
    return common, ours, theirs, misspelt


def _alike(one: str, other: str) -> bool:
    """True for words that begin alike, one shortens, or that differ in one letter."""
    brief, full = sorted((one, other), key=len)
    if _BRIEF <= len(brief) < len(full) and full.startswith(brief) and weight(brief) >= RARE:
        return True
    if len(one) < 5 or len(other) < 5 or one[0] != other[0]:
        return False
    if one.startswith(other[:5]) or other.startswith(one[:5]):
        return True
    differ = sum(a != b for a, b in zip(one, other, strict=False))
    return differ + abs(len(one) - len(other)) <= 1


def _numbers(left: Reading, right: Reading) -> float:
    """1: each has a number of its own; 2: the same numbers; 0: none, or one has more."""
    if left.numbers == right.numbers:
        return 2.0 if left.numbers else 0.0
    return float(bool(left.numbers - right.numbers) and bool(right.numbers - left.numbers))


def _alternates(store: Store, ours: Iterable[str], theirs: Collection[str]) -> float:
    return max((store.alternates(one, other) for one in ours for other in theirs), default=0.0)


def _weights(left: Reading, right: Reading) -> dict[str, float]:
    """What each word weighs, in the rarer of the forms that the two say it in."""
    said = left.said.keys() | right.said.keys()
    return {root: max(left.said.get(root, 0.0), right.said.get(root, 0.0)) for root in said}


def _phrases(
    shared: Iterable[tuple[str, str]],
    weights: Mapping[str, float],
    common: Collection[str],
    causes: Collection[str],
) -> tuple[float, float]:
    """The weight of the two-word phrases both hold; of those that no cause held."""
    total = value = 0.0
    for one, other in sorted(shared):
        if one not in common and other not in common:
            continue
        worth = weights.get(one, 0.0) + weights.get(other, 0.0)
        total += worth
        fresh = (one in common and one not in causes) or (other in common and other not in causes)
        value += worth if fresh else 0.0
    return total, value
