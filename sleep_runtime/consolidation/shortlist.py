"""Shortlist: which claims an engine has to compare.

Cosine only short-lists. A contradiction is often nearer than a paraphrase, so nothing is decided on
a distance: it only bounds how many questions are asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sleep_runtime.consolidation.compare import (
    Slot,
    comparable,
    identical,
    name_of,
    pair_of,
    slot,
)
from sleep_runtime.consolidation.words import content
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ALIVE, Dossier, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, Observation
from sleep_runtime.core.policy import ReflectPolicy
from sleep_runtime.core.proposal import ClaimPair

_ROWS_AT_ONCE = 256
# A word of so many claims tells none of them from the others, and would cost much to follow.
_TOO_COMMON = 200

Vectors = npt.NDArray[np.float32]


def shortlist(
    observations: Sequence[Observation],
    dossiers: Sequence[Dossier],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> list[ClaimPair]:
    """Pairs of tonight's claims with each other and with the scope's notes, by key.

    ``vectors`` holds unit float32 vectors by statement; a claim without one is paired by its words
    and its slot only. A note is found by its own words and compared in all its wordings. One-offs,
    untrusted words and feedback are compared with nothing: they become no note.
    """
    fresh = _unique(item.claim for item in observations if _matters(item))
    notes = _wordings(dossiers)
    known = _unique(dossier.note.claim for dossier in dossiers)
    pairs = pairs_of(fresh, vectors, policy)
    for near in _nearest(fresh, known, vectors, policy):
        pairs += _in_all_words(near, notes, policy)
    return _ordered(pairs)


def near_notes(
    observations: Sequence[Observation],
    dossiers: Sequence[Dossier],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> frozenset[str]:
    """The names of the claims of the notes that something said tonight may have to do with."""
    fresh = _unique(item.claim for item in observations if _matters(item))
    known = _unique(dossier.note.claim for dossier in dossiers)
    return frozenset(name_of(near.other) for near in _nearest(fresh, known, vectors, policy))


def pairs_of(
    claims: Iterable[Claim], vectors: Mapping[str, bytes], policy: ReflectPolicy
) -> list[ClaimPair]:
    """Pairs among these claims, by key."""
    known = _unique(claims)
    near = _nearest(known, known, vectors, policy)
    return _ordered(pair_of(*found) for found in near if not identical(*found))


def fold_pairs(
    dossiers: Sequence[Dossier],
    above: Sequence[Dossier],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> list[ClaimPair]:
    """Pairs of a scope's own notes with those of the scopes above into which they may fold."""
    living = [dossier for dossier in dossiers if dossier.note.status in ALIVE]
    active = [dossier for dossier in above if dossier.note.status is NoteStatus.ACTIVE]
    notes = _wordings(active)
    own = _unique(dossier.note.claim for dossier in living)
    upper = _unique(dossier.note.claim for dossier in active)
    near = _nearest(own, upper, vectors, policy)
    return _ordered(pair for found in near for pair in _in_all_words(found, notes, policy))


def _wordings(dossiers: Iterable[Dossier]) -> dict[str, list[Claim]]:
    """Every wording of the lessons, by the name of the claim their note makes."""
    found: dict[str, list[Claim]] = defaultdict(list)
    for dossier in dossiers:
        found[name_of(dossier.note.claim)] += dossier.wordings
    return found


def _in_all_words(
    found: _Near, notes: Mapping[str, Sequence[Claim]], policy: ReflectPolicy
) -> Iterator[ClaimPair]:
    """The pair, and the same claim with the other wordings of the note it was paired with."""
    claim, note = found
    yield from _questions(claim, [note, *notes.get(name_of(note), ())], policy.wordings)


def _matters(item: Observation) -> bool:
    return not (
        item.feedback_on or item.durability is Durability.ONE_OFF or item.trust is Trust.UNTRUSTED
    )


def _unique(claims: Iterable[Claim]) -> list[Claim]:
    by_name = {name_of(claim): claim for claim in claims}
    return [by_name[name] for name in sorted(by_name)]


def _ordered(pairs: Iterable[ClaimPair]) -> list[ClaimPair]:
    by_key = {pair.key: pair for pair in pairs}
    return [by_key[key] for key in sorted(by_key)]


class _Near(NamedTuple):
    """A claim and one that may have to do with it."""

    claim: Claim
    other: Claim


def _nearest(
    left: Sequence[Claim],
    right: Sequence[Claim],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> Iterator[_Near]:
    """For each left claim: the nearest right ones, in meaning, in words, and in their slot."""
    by_slot: dict[Slot | None, list[Claim]] = defaultdict(list)
    by_words = _ByWords(right)
    for claim in right:
        by_slot[slot(claim)].append(claim)
    for claim, neighbours in _by_cosine(left, right, vectors, policy.min_cosine):
        yield from _some(claim, neighbours, policy.shortlist)
        yield from _some(claim, by_words.nearest(claim), policy.shortlist)
        if (question := slot(claim)) is not None:
            yield from _some(claim, by_slot[question], policy.shortlist)


def _some(claim: Claim, others: Iterable[Claim], most: int) -> Iterator[_Near]:
    """At most ``most`` others that may have to do with the claim."""
    found = (other for other in others if other is not claim and comparable(claim, other))
    return (_Near(claim, other) for other in islice(found, most))


def _questions(claim: Claim, others: Iterable[Claim], most: int) -> Iterator[ClaimPair]:
    """At most ``most`` pairs that only an engine can answer."""
    asked = 0
    for other in others:
        if asked == most:
            return
        if not comparable(claim, other) or identical(claim, other):
            continue
        asked += 1
        yield pair_of(claim, other)


class _ByWords:
    """Claims by the words that carry them, the rare ones first."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = claims
        self._homes: dict[str, list[int]] = defaultdict(list)
        for index, claim in enumerate(claims):
            for word in content(claim.statement):
                self._homes[word].append(index)

    def nearest(self, claim: Claim) -> Iterator[Claim]:
        """The claims that share words with this one, those that share more and rarer ones first."""
        shared: dict[int, float] = defaultdict(float)
        for word in content(claim.statement):
            homes = self._homes.get(word, ())
            if len(homes) <= _TOO_COMMON:
                for index in homes:
                    shared[index] += 1.0 / len(homes)
        ranked = sorted(shared, key=lambda index: (-shared[index], index))
        return (self._claims[index] for index in ranked)


def _by_cosine(
    left: Sequence[Claim],
    right: Sequence[Claim],
    vectors: Mapping[str, bytes],
    least: float,
) -> Iterator[tuple[Claim, Iterator[Claim]]]:
    """Each left claim with the right ones of cosine >= ``least``, nearest first."""
    placed = [claim for claim in right if claim.statement in vectors]
    columns = _matrix(placed, vectors)
    for start in range(0, len(left), _ROWS_AT_ONCE):
        block = left[start : start + _ROWS_AT_ONCE]
        rows = [claim for claim in block if claim.statement in vectors]
        cosines = dict(zip(map(name_of, rows), _matrix(rows, vectors) @ columns.T, strict=True))
        for claim in block:
            yield claim, _above(placed, cosines.get(name_of(claim)), least)


def _matrix(claims: Sequence[Claim], vectors: Mapping[str, bytes]) -> Vectors:
    """Vectors as rows; without claims a matrix that fits none and multiplies with none."""
    if not claims:
        dim = len(next(iter(vectors.values()), b"")) // 4
        return np.zeros((0, dim), dtype=np.float32)
    return np.stack([np.frombuffer(vectors[claim.statement], dtype="<f4") for claim in claims])


def _above(claims: Sequence[Claim], cosines: Vectors | None, least: float) -> Iterator[Claim]:
    if cosines is None:
        return
    for index in np.argsort(-cosines, kind="stable"):
        if cosines[index] < least:
            return
        yield claims[index]
