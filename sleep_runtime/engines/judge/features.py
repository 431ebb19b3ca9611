"""Features of a pair: what the two share and what they do not, by role and weight.

Each feature is one number from both readings, the same whichever comes first: where a measure has
a side, its lesser and its greater value stand beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from sleep_runtime.engines.judge.reading import Floats, Reading, Word
from sleep_runtime.engines.text import align
from sleep_runtime.engines.text.words import initials_match

ANSWER, TOPIC = 1, 2
SHARED_FROM = 0.7
_REACH = 3
"""Words and signs between two words that may still belong together."""
_TINY = 1e-6
Features = dict[str, float]


def features(
    one: Reading,
    other: Reading,
    rules: tuple[align.Reading, align.Reading],
    mean: Floats,
) -> Features:
    """The features of two readings."""
    pair = _Pair(one, other, mean)
    found: Features = {"cosine": float(one.vector @ other.vector)}
    found |= dict(_counts(pair))
    for name, role in (("answer", ANSWER), ("topic", TOPIC)):
        found |= dict(_by_role(pair, name, role))
    found |= dict(_unweighted(pair))
    found |= dict(_contact(pair))
    found |= dict(_spans(pair))
    found |= dict(_marks(one, other))
    found |= dict(_slots(*rules))
    return found


class _Pair:
    """Two readings aligned: how alike each word is to each, in letters and in state."""

    def __init__(self, one: Reading, other: Reading, mean: Floats) -> None:
        self.sides = (one, other)
        self.letters = letters(one.words, other.words)
        a, b = _centred(one.states, mean), _centred(other.states, mean)
        soft = np.maximum(self.letters, a @ b.T)
        self.shared = (_best(self.letters, 1), _best(self.letters, 0))
        self.near = (_best(soft, 1), _best(soft, 0))
        self.weights = tuple(side.rarity for side in self.sides)
        self.mean = mean

    def role(self, side: int, role: int) -> Floats:
        return np.asarray(self.sides[side].roles[:, role])

    def joint(self, left: Floats, right: Floats) -> Floats:
        """Alike words weighed on both sides."""
        return np.asarray(self.letters * np.sqrt(np.outer(left, right)))


def letters(one: tuple[Word, ...], other: tuple[Word, ...]) -> Floats:
    """How alike words are as they are written (n, m): 1 the same, 0 nothing in common."""
    found = np.array(
        [[alike(a, b) if a.token[:1] == b.token[:1] else 0.0 for b in other] for a in one],
        dtype=np.float64,
    )
    found = found.reshape(len(one), len(other))
    _initials(one, other, found)
    _initials(other, one, found.T)
    return found


def _initials(one: tuple[Word, ...], other: tuple[Word, ...], found: Floats) -> None:
    """Count a short word as the run of words it is the initials of; writes into ``found``."""
    long = [word.token for word in other]
    for row, word in enumerate(one):
        size = len(word.token)
        if 2 <= size <= 4 and word.token.isalpha():
            for start in range(len(long) - size + 1):
                if long[start][:1] == word.token[:1] and initials_match(
                    word.token, long[start : start + size]
                ):
                    found[row, start : start + size] = 1.0


def alike(one: Word, other: Word) -> float:
    """1 for one token; less for inflections and slips of the pen; never for two numbers."""
    a, b = one.token, other.token
    if a == b:
        return 1.0
    if one.number or other.number or a[:1] != b[:1]:
        return 0.0
    short, long = sorted((a, b), key=len)
    if len(short) >= 4 and long.startswith(short) and len(long) - len(short) <= 4:
        return 0.9
    if slipped(short, long):
        return 0.85
    return 0.7 if len(short) >= 6 and a[:5] == b[:5] else 0.0


def slipped(short: str, long: str) -> bool:
    """One letter wrong, missing or swapped with its neighbour, in words of five letters on."""
    if len(short) < 5 or len(long) - len(short) > 1 or not (short + long).isalpha():
        return False
    at = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or swapped


def _centred(states: Floats, mean: Floats) -> Floats:
    moved = states - mean
    lengths = np.maximum(_TINY, np.sqrt((moved * moved).sum(axis=1, keepdims=True)))
    return np.asarray(moved / lengths)


def _best(table: Floats, axis: int) -> Floats:
    return table.max(axis=axis, initial=0.0) if table.size else np.zeros(table.shape[1 - axis])


def _both(name: str, values: list[float]) -> Iterator[tuple[str, float]]:
    yield f"{name}_lo", min(values)
    yield f"{name}_hi", max(values)


def _top(values: Floats) -> float:
    return float(values.max(initial=0.0))


def _at_top(values: Floats, by: Floats) -> float:
    return float(values[by.argmax()]) if len(by) else 0.0


def _share(weights: Floats, of: Floats) -> float:
    return float(weights @ of / max(_TINY, weights.sum()))


def _counts(pair: _Pair) -> Iterator[tuple[str, float]]:
    yield from _both("words", [float(len(side.words)) for side in pair.sides])
    weighed = list(zip(pair.weights, pair.shared, strict=True))
    yield from _both("shared", [float(w @ s) for w, s in weighed])
    yield from _both("shared_part", [_share(w, s) for w, s in weighed])
    yield "shared_count", float(min((s >= SHARED_FROM).sum() for s in pair.shared))
    yield "shared_rarest", max(_top(w * s) for w, s in weighed)
    yield "shared_run", _longest_run(pair.letters >= SHARED_FROM)
    tokens = [{word.token for word in side.words} for side in pair.sides]
    yield "jaccard", len(tokens[0] & tokens[1]) / max(1, len(tokens[0] | tokens[1]))


def _longest_run(same: np.ndarray) -> float:
    run = np.zeros((same.shape[0] + 1, same.shape[1] + 1))
    for i, j in np.argwhere(same):
        run[i + 1, j + 1] = run[i, j] + 1
    return float(run.max())


def _by_role(pair: _Pair, name: str, role: int) -> Iterator[tuple[str, float]]:
    weights = [pair.role(side, role) * pair.weights[side] for side in (0, 1)]
    shared = list(zip(weights, pair.shared, strict=True))
    near = list(zip(weights, pair.near, strict=True))
    yield from _both(f"{name}_shared", [float(w @ s) for w, s in shared])
    yield from _both(f"{name}_part", [_share(w, s) for w, s in shared])
    yield from _both(f"{name}_near", [_share(w, s) for w, s in near])
    yield from _both(f"{name}_first", [_at_top(s, w) for w, s in shared])
    yield from _both(f"{name}_first_near", [_at_top(s, w) for w, s in near])
    yield from _both(f"{name}_left", [_top(w * (1 - s)) for w, s in shared])
    yield from _both(f"{name}_mass", [float(w.sum()) for w in weights])
    joint = pair.joint(*weights)
    yield f"{name}_joint", _top(joint.ravel())
    yield f"{name}_joint_sum", float(joint.sum())
    pooled = [
        pair.role(i, role) @ side.states - pair.mean * pair.role(i, role).sum()
        for i, side in enumerate(pair.sides)
    ]
    yield f"{name}_cosine", _cosine(*pooled)


def _cosine(one: Floats, other: Floats) -> float:
    return float(one @ other) / max(_TINY, float(np.linalg.norm(one) * np.linalg.norm(other)))


def _unweighted(pair: _Pair) -> Iterator[tuple[str, float]]:
    """The answers' words again, without regard to how rare they are."""
    answers = [pair.role(side, ANSWER) for side in (0, 1)]
    shared = list(zip(answers, pair.shared, strict=True))
    yield from _both("plain_left", [_top(a * (1 - s)) for a, s in shared])
    yield from _both("plain_part", [_share(a, s) for a, s in shared])
    yield from _both("plain_first", [_at_top(s, a) for a, s in shared])
    crossed = [
        pair.joint(
            pair.role(0, mine) * pair.weights[0],
            pair.role(1, TOPIC + ANSWER - mine) * pair.weights[1],
        )
        for mine in (ANSWER, TOPIC)
    ]
    yield "answer_as_topic", max(_top(table.ravel()) for table in crossed)


def _contact(pair: _Pair) -> Iterator[tuple[str, float]]:
    """Shared words beside which the two differ: "reported EBITDA", "cash EBITDA"."""
    beside = [_beside(side, i, pair) for i, side in enumerate(pair.sides)]
    same = pair.letters >= SHARED_FROM
    weighed = np.minimum.outer(beside[0][0], beside[1][0]) * same
    plain = np.minimum.outer(beside[0][1], beside[1][1]) * same
    answers = [pair.role(side, ANSWER) * pair.weights[side] for side in (0, 1)]
    joint = pair.joint(*answers)
    best = np.unravel_index(joint.argmax(), joint.shape) if joint.size else None
    yield "contact", _top(weighed.ravel())
    yield "contact_any", _top(plain.ravel())
    yield "contact_of_answer", float(weighed[best]) if best else 0.0
    yield "contact_any_of_answer", float(plain[best]) if best else 0.0
    yield "answer_without_contact", _top((joint * (1 - weighed)).ravel())


def _beside(side: Reading, index: int, pair: _Pair) -> tuple[Floats, Floats]:
    """For each word: how much of an answer an unshared neighbour is, and how near it stands."""
    answer, shared = pair.role(index, ANSWER), pair.shared[index]
    weighed, plain = np.zeros(len(side.words)), np.zeros(len(side.words))
    for at, word in enumerate(side.words):
        for next_to in (at - 1, at + 1):
            if not 0 <= next_to < len(side.words) or shared[next_to] >= SHARED_FROM:
                continue
            gap = abs(side.words[next_to].place - word.place)
            if gap <= _REACH:
                weighed[at] = max(weighed[at], answer[next_to])
                plain[at] = max(plain[at], 1.0 if gap <= 1 else 0.5)
    return weighed, plain


def _spans(pair: _Pair) -> Iterator[tuple[str, float]]:
    """The likeliest answer of each side as a run of words."""
    spans = [list(_answer_span(side)) for side in pair.sides]
    names = ("span_shared", "span_known", "span_left", "span_words", "span_unknown")
    if not (spans[0] and spans[1]):
        for name in names:
            yield from _both(name, [0.0, 0.0])
        yield "span_cosine", 0.0
        return
    table = pair.letters[np.ix_(spans[0], spans[1])]
    within = (table.max(axis=1), table.max(axis=0))
    known = [pair.shared[side][spans[side]] for side in (0, 1)]
    answers = [pair.role(side, ANSWER)[spans[side]] for side in (0, 1)]
    yield from _both(names[0], [float(each.mean()) for each in within])
    yield from _both(names[1], [float(each.mean()) for each in known])
    yield from _both(names[2], [_top(a * (1 - k)) for a, k in zip(answers, known, strict=True)])
    yield from _both(names[3], [float(len(span)) for span in spans])
    yield from _both(names[4], [float((1 - each).sum()) for each in known])
    pooled = [s.states[i].mean(axis=0) - pair.mean for s, i in zip(pair.sides, spans, strict=True)]
    yield "span_cosine", _cosine(*pooled)


@lru_cache(maxsize=8192)
def _answer_span(side: Reading) -> tuple[int, ...]:
    """The run of likely answer words with the most weight."""
    answer = side.roles[:, ANSWER]
    if not len(answer):
        return ()
    bar = max(0.35, 0.5 * float(answer.max()))
    best, run = [int(answer.argmax())], list[int]()
    for at in np.flatnonzero(answer >= bar):
        joined = run and side.words[at].place - side.words[run[-1]].place <= _REACH
        run = [*run, int(at)] if joined else [int(at)]
        if answer[run].sum() > answer[best].sum():
            best = run
    return tuple(best)


def _marks(one: Reading, other: Reading) -> Iterator[tuple[str, float]]:
    """Numbers, names, negations and opposites."""
    for name, wanted in (("numbers", True), ("names", False)):
        a, b = (
            {w.token for w in side.words if w.name and w.number is wanted} for side in (one, other)
        )
        yield f"{name}_shared", float(len(a & b))
        yield f"{name}_swapped", float(min(len(a - b), len(b - a)))
        yield f"{name}_differ", float(len(a ^ b))
    yield "negation_differs", float(one.negations % 2 != other.negations % 2)
    yield "negation", float(one.negations + other.negations > 0)
    a, b = {w.token for w in one.words}, {w.token for w in other.words}
    yield "opposites", float(align.opposed(frozenset(a - b), frozenset(b - a)))


def _slots(one: align.Reading, other: align.Reading) -> Iterator[tuple[str, float]]:
    """What closed patterns made of the two."""
    yield "aspect_same", float(bool(one.aspect) and one.aspect == other.aspect)
    yield "aspect_differs", float(bool(one.aspect and other.aspect) and one.aspect != other.aspect)
    hit = one.rejected & (other.tokens - one.tokens) or other.rejected & (one.tokens - other.tokens)
    yield "rejected_said", float(bool(hit))
    yield "rejected_shared", float(bool(one.rejected & other.rejected))
    for name, a, b in (("value", one.value, other.value), ("subject", one.subject, other.subject)):
        yield f"slot_{name}", len(a & b) / max(1, min(len(a), len(b)))
